"""The limits of wrong passwords, at moments that the tests set: how much a network may guess, at nobody else's cost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.links.unlocks.rows import delete_old_tries
from services.links.unlocks.tries import (
    MOST_AT_A_LINK,
    MOST_OF_A_NETWORK,
    WATCHED_FROM,
    TooManyTries,
    begin_try,
    check_tries,
    end_wrong_try,
    network_of,
    try_keys,
)
from shared.postgres import Connection
from tests.conftest import Database

SECRET = b"a secret of the tests"
NOON = datetime(2031, 3, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOME = "192.0.2.1"
STRANGERS = ["192.0.2.7", "192.0.2.8", "2001:db8::1"]


async def is_refused(conn: Connection, link: int, address: str, now: datetime) -> bool:
    """Try a wrong password, and tell whether it was one too many."""
    keys = try_keys(SECRET, link, address)
    try:
        await check_tries(conn, keys, now)
        async with conn.transaction():
            await begin_try(conn, keys, now)
            await end_wrong_try(conn, keys, now)
    except TooManyTries as error:
        return error.until > now
    return False


async def try_right(conn: Connection, address: str, now: datetime) -> None:
    """Try a right password, which must not be one too many, at link 1."""
    transaction = conn.transaction()
    await transaction.start()
    await begin_try(conn, try_keys(SECRET, 1, address), now)
    await transaction.rollback()


async def refusals(conn: Connection, *tries: tuple[int, str, datetime]) -> list[bool]:
    return [await is_refused(conn, *each) for each in tries]


def strangers() -> list[str]:
    return [f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(WATCHED_FROM + 10)]


async def test_a_network_has_five_tries_at_a_link(conn: Connection) -> None:
    """The sixth within a minute is refused and does not count; other links and other networks are not concerned."""
    tries = [(1, HOME, NOON + timedelta(seconds=n)) for n in range(MOST_AT_A_LINK + 1)]
    last = tries[MOST_AT_A_LINK - 1][2]
    later = [(1, HOME, NOON + MINUTE - timedelta(seconds=1)), (1, HOME, NOON + MINUTE)]

    assert await refusals(conn, *tries) == [False] * MOST_AT_A_LINK + [True]
    assert await refusals(conn, (2, HOME, last), (1, "192.0.2.2", last), (1, "::1", last)) == [False] * 3
    assert await refusals(conn, *later) == [True, False]


async def test_a_minute_begins_with_the_first_try(conn: Connection) -> None:
    """Neither a right password nor a wrong one makes those before it count for longer: slow tries never add up."""
    assert await refusals(conn, *((1, HOME, NOON),) * 4) == [False] * 4
    await try_right(conn, HOME, NOON + timedelta(seconds=40))
    later = [(1, HOME, NOON + timedelta(seconds=75))] * (MOST_AT_A_LINK + 1)
    slow = [(2, HOME, NOON + timedelta(seconds=50 * n)) for n in range(12)]

    assert await refusals(conn, *later) == [False] * MOST_AT_A_LINK + [True]
    assert not any(await refusals(conn, *slow))


async def test_a_network_has_a_hundred_tries_a_day(conn: Connection) -> None:
    """They count over all links; the next UTC day has a hundred more."""
    tries = [(link, HOME, NOON) for link in range(20) for _ in range(MOST_AT_A_LINK)]
    midnight = NOON.replace(hour=0) + timedelta(days=1)

    assert await refusals(conn, *tries) == [False] * MOST_OF_A_NETWORK
    assert await refusals(conn, (99, HOME, NOON), (98, HOME, midnight - timedelta(seconds=1))) == [True, True]
    assert await refusals(conn, (99, HOME, midnight), (99, "192.0.2.2", NOON)) == [False, False]


async def test_a_link_that_many_try_gives_each_one_try(conn: Connection) -> None:
    """Past a thousand tries each network has one a minute, also the first one ever, so strangers shut nobody out."""
    seen = await refusals(conn, *((1, address, NOON) for address in strangers()))
    again = await refusals(
        conn, (1, HOME, NOON), (1, HOME, NOON), (1, HOME, NOON + MINUTE), (2, HOME, NOON), (2, HOME, NOON)
    )

    assert not any(seen)
    assert again == [False, True, False, False, False]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(1, 2), st.sampled_from(["192.0.2.7", "192.0.2.8", "2001:db8::1"]), st.integers(0, 90)),
        max_size=40,
    )
)
async def test_tries_of_others_refuse_no_first_one(conn: Connection, tries: list[tuple[int, str, int]]) -> None:
    """Whatever strangers do, a network's own first try is let through."""
    now = NOON
    for link, address, seconds in tries:
        now += timedelta(seconds=seconds)
        await is_refused(conn, link, address, now)
    is_first_refused = await is_refused(conn, 1, HOME, now)
    await conn.execute("DELETE FROM password_tries")

    assert not is_first_refused


async def test_right_passwords_do_not_count(conn: Connection) -> None:
    """A try that turns out right is rolled back: a house full of people with the password is never refused."""
    for _ in range(MOST_OF_A_NETWORK + 1):
        await try_right(conn, HOME, NOON)
    wrong = await refusals(conn, *((1, HOME, NOON),) * (MOST_AT_A_LINK + 1))

    assert wrong == [False] * MOST_AT_A_LINK + [True]


@pytest.fixture
async def connections(database: Database) -> AsyncIterator[Sequence[Connection]]:
    opened = [await asyncpg.connect(database.links_url) for _ in range(12)]
    yield opened
    for conn in opened:
        await conn.close()


async def test_tries_at_once_are_no_more_than_in_turn(connections: Sequence[Connection]) -> None:
    """Of many tries at one moment, over several processes, as many count as one after the other, and none waits for ever.

    The control: to look before each and to count later lets all of them through.
    """
    await asyncio.gather(*(check_tries(conn, try_keys(SECRET, 1, HOME), NOON) for conn in connections))
    refused = await asyncio.gather(*(is_refused(conn, 1, HOME, NOON) for conn in connections))
    others = await asyncio.gather(
        *(is_refused(conn, n % 3, f"198.51.100.{n}", NOON) for n, conn in enumerate(connections))
    )

    assert (refused.count(False), any(others)) == (MOST_AT_A_LINK, False)


async def test_no_network_waits_for_another(connections: Sequence[Connection]) -> None:
    """While a password of one network is looked at, others try at the same link, and its own next one waits for the verdict."""
    own, next_one, *others = connections
    transaction = own.transaction()
    await transaction.start()
    await refusals(next_one, *((1, HOME, NOON),) * (MOST_AT_A_LINK - 1))
    await begin_try(own, try_keys(SECRET, 1, HOME), NOON)
    waiting = asyncio.create_task(is_refused(next_one, 1, HOME, NOON))
    refused = await asyncio.gather(*(is_refused(conn, 1, f"198.51.100.{n}", NOON) for n, conn in enumerate(others)))
    has_waited = not waiting.done()
    await transaction.rollback()

    assert (any(refused), has_waited, await waiting) == (False, True, False)


def test_networks_are_those_of_nginx() -> None:
    """An IPv4 address is one network, also inside an IPv6 address, and a /64 of IPv6 is one."""
    assert (
        network_of("192.0.2.1")
        == network_of("::ffff:192.0.2.1")
        == network_of("64:ff9b::c000:201")
        == b"\xc0\x00\x02\x01"
    )
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("nonsense") == b""


async def test_no_address_is_stored(conn: Connection) -> None:
    """A row has a keyed digest, which nobody finds an address from who lacks the secret."""
    await refusals(conn, (1, HOME, NOON))
    rows = await conn.fetch("SELECT * FROM password_tries")

    assert {row["key"] for row in rows} == set(try_keys(SECRET, 1, HOME))
    assert set(try_keys(SECRET, 1, HOME)).isdisjoint(try_keys(b"another secret", 1, HOME))
    assert not any(network_of(HOME) in row["key"] for row in rows)


async def test_refused_tries_write_nothing(conn: Connection) -> None:
    """A flood beyond the limits costs a look, and does not make the wait longer."""
    await refusals(conn, *((1, HOME, NOON),) * MOST_AT_A_LINK)
    before = await conn.fetch("SELECT *, xmin FROM password_tries ORDER BY key")
    await refusals(conn, *((1, HOME, NOON + timedelta(seconds=9)),) * 10)

    assert await conn.fetch("SELECT *, xmin FROM password_tries ORDER BY key") == before


async def test_counts_that_are_over_go(conn: Connection) -> None:
    """Upkeep deletes what counts no longer, in parts: a network at a link after a minute, the rest after the day."""
    await refusals(conn, (1, HOME, NOON), (1, "192.0.2.2", NOON))
    left = []
    for now in (NOON, NOON + 2 * MINUTE, NOON + timedelta(days=1)):
        while await delete_old_tries(conn, now, at_once=1):
            pass
        left.append(await conn.fetchval("SELECT count(*) FROM password_tries"))

    assert left == [5, 3, 0]
