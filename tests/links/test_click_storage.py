"""What is stored of clicks: counts that add up, refusals that block nothing, partitions, upkeep and retention."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from deploy.cli import app
from deploy.retention_command import drop_old_clicks
from services.links.click_batches import TRIES_LIMIT, take_batch
from services.links.click_pipe import Taken
from services.links.click_rows import select_keys
from services.links.click_upkeep import create_partitions, delete_old_visitors, select_partitions
from services.links.enrichment import UNKNOWN, Enricher
from services.links.link_rows import LinkFields, lock_link, update_link
from shared.clicks import Click
from shared.postgres import Connection, open_pool
from tests.conftest import Database
from tests.links.click_data import (
    CHROME,
    COUNTS,
    FIRST_OFFSET,
    GOOGLEBOT,
    IPHONE,
    check_sums,
    click,
    make_links,
    records,
)

DAY_S = 86_400
MISSING = 2**62
"""The id of no link."""

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()


@pytest.fixture(scope="session")
def enricher() -> Enricher:
    return Enricher()


@pytest.fixture
async def links(database: Database) -> AsyncIterator[Connection]:
    """A connection as the write service's role to a database of its own."""
    connection = await asyncpg.connect(database.links_url, server_settings={"timezone": "Asia/Tokyo"})
    yield connection
    await connection.close()


async def take(conn: Connection, enricher: Enricher, *ticks: list[Click]) -> Taken:
    """Take clicks as one batch of a new segment."""
    return await take_batch(conn, enricher, uuid4(), FIRST_OFFSET, records(*ticks))


# Times around the borders of slots and days, down to what a float can say of them.
_times = st.one_of(
    st.floats(NOON - 2 * DAY_S, NOON + 2 * DAY_S),
    st.builds(
        lambda slot, off: slot * 900 + off, st.integers(1_960_000, 1_960_200), st.sampled_from([0, -1e-7, 1e-7, -1e-6])
    ),
    st.floats(-62_104_060_800, 253_370_764_799),
)
_texts = st.one_of(st.none(), st.sampled_from([CHROME, IPHONE, GOOGLEBOT, b"a\x00b\xff"]), st.binary(max_size=60))
_clicks = st.builds(
    click,
    st.integers(0, 4),
    at=_times,
    address=st.sampled_from([None, b"203.0.113.7", b"2001:db8::1", b"\xff"]),
    agent=_texts,
    referrer=st.one_of(_texts, st.sampled_from([b"https://www.example.co.uk/x"])),
    language=_texts,
)


@given(batches=st.lists(st.lists(st.lists(_clicks, min_size=1, max_size=6), min_size=1, max_size=5), max_size=4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_count_adds_up_to_the_clicks(
    conn: Connection, enricher: Enricher, batches: list[list[list[Click]]]
) -> None:
    """Whatever is clicked, for each link and day and owner and day every count is that of the raw clicks."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        ids = [*await make_links(conn, 2), *await make_links(conn, 2, owner="bob"), MISSING]
        expected = 0
        for batch in batches:
            ticks = [[(at, ids[n], request) for at, n, request in tick] for tick in batch]
            all_clicks = [each for tick in ticks for each in tick]
            taken = await take(conn, enricher, *ticks)
            assert taken.refused == sum(link_id == MISSING for _, link_id, _ in all_clicks)
            assert taken.clicks == len(all_clicks) - taken.refused
            expected += taken.clicks

        assert await check_sums(conn) == expected
    finally:
        await transaction.rollback()


async def test_a_click_is_stored_as_it_was(links: Connection, enricher: Enricher) -> None:
    """The columns of a click; its address is in none of them."""
    (link,) = await make_links(links, 1)
    one = click(
        link, at=NOON + 0.123456, agent=IPHONE, referrer=b"https://m.news.example.co.uk/a", language=b"pt-BR,pt"
    )
    await take(links, enricher, [one])
    row = await links.fetchrow("SELECT * FROM clicks")
    assert row is not None
    found = dict(row)
    visitor = found.pop("visitor")

    assert found == {
        "id": 1,
        "clicked_at": datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC),
        "link_id": link,
        "owner": "alice",
        "is_bot": False,
        "country": UNKNOWN,
        "browser": "Mobile Safari",
        "os": "iOS",
        "device": "mobile",
        "referrer": "example.co.uk",
        "language": "pt",
    }
    assert len(visitor) == 16
    assert b"203.0.113.7" not in visitor


async def test_visitors_are_counted_once_a_day(links: Connection, enricher: Enricher) -> None:
    """An address with a user agent is one visitor of a link on a day, another one on the next, and of its owner one."""
    one, two = await make_links(links, 2)
    ticks = [click(one, at=NOON), click(one, at=NOON + 1), click(two, at=NOON), click(one, at=NOON, agent=GOOGLEBOT)]
    await take(links, enricher, ticks, [click(one, at=NOON + DAY_S), click(one, at=NOON, address=b"203.0.113.8")])
    await take(links, enricher, ticks)
    by_link = await links.fetch(
        "SELECT link_id, day::text, is_bot, visitors FROM click_uniques_by_link ORDER BY link_id, day, is_bot"
    )
    by_owner = await links.fetch("SELECT day::text, is_bot, visitors FROM click_uniques_by_owner ORDER BY day, is_bot")

    assert [tuple(row) for row in by_link] == [
        (one, "2026-11-24", False, 2),
        (one, "2026-11-24", True, 1),
        (one, "2026-11-25", False, 1),
        (two, "2026-11-24", False, 1),
    ]
    assert [tuple(row) for row in by_owner] == [
        ("2026-11-24", False, 2),
        ("2026-11-24", True, 1),
        ("2026-11-25", False, 1),
    ]
    visitors = await links.fetch("SELECT DISTINCT visitor FROM clicks WHERE NOT is_bot")
    assert len(visitors) == 3, "the same visitor is another one on another day"


async def test_a_link_is_not_edited_by_its_clicks(links: Connection, enricher: Enricher) -> None:
    """The number in lists goes up; version and time of the last edit stay, and so does the change feed."""
    (link,) = await make_links(links, 1)
    before = await links.fetchrow("SELECT version, updated_at FROM links WHERE id = $1", link)
    await take(links, enricher, [click(link)] * 3)

    assert await links.fetchval("SELECT clicks FROM links WHERE id = $1", link) == 3
    assert await links.fetchrow("SELECT version, updated_at FROM links WHERE id = $1", link) == before
    assert await links.fetchval("SELECT count(*) FROM link_changes") == 0


async def test_what_no_click_can_be_is_set_aside(links: Connection, enricher: Enricher) -> None:
    """A whole record with a defect inside stops nothing: what is wrong is counted, what is right is stored."""
    (link,) = await make_links(links, 1)
    good = click(link)
    request = good[2]
    wrong: list[object] = [(at, link, request) for at in (float("nan"), float("inf"), 1e15, -1e15, None, b"1")]
    wrong += [(1.0, link_id, request) for link_id in (0, -1, 2**63, None, True, 1.5)]
    wrong += [(1.0, link, rest) for rest in ((), request[:3], (*request[:3], 7, *request[4:]))]
    taken = await take(links, enricher, [good], wrong, [good])  # type: ignore[arg-type]  # wrong on purpose
    no_clicks = await take(links, enricher, [good], [1, 2], [(1, 2)], [good])  # type: ignore[list-item]  # wrong on purpose

    assert (taken.clicks, taken.refused) == (2, len(wrong))
    assert (no_clicks.clicks, no_clicks.refused) == (2, 2)
    assert await check_sums(links) == 4


async def test_what_postgres_refuses_is_found_by_halving(
    links: Connection, database: Database, enricher: Enricher
) -> None:
    """Rows that a constraint refuses are set aside one by one; all others of the batch are stored and counted."""
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute("ALTER TABLE clicks ADD CONSTRAINT no_french CHECK (language <> 'fr')")
    await owner.close()
    (link,) = await make_links(links, 1)
    ticks = [[click(link, language=b"fr" if n % 40 == 7 else b"de")] for n in range(120)]
    taken = await take(links, enricher, *ticks)
    all_wrong = await take(links, enricher, [click(link, language=b"fr")] * (TRIES_LIMIT * 3))

    assert (taken.clicks, taken.refused) == (117, 3)
    assert (all_wrong.clicks, all_wrong.refused) == (0, TRIES_LIMIT * 3)
    assert await check_sums(links) == 117
    assert await links.fetchval("SELECT sum(refused) FROM click_segments") == 3 + TRIES_LIMIT * 3


async def test_any_day_is_taken(links: Connection, enricher: Enricher) -> None:
    """A clock that is wrong by centuries loses no click."""
    (link,) = await make_links(links, 1)
    times = [-62_104_060_800.0, 0.0, NOON, 253_370_764_799.0]
    await take(links, enricher, [click(link, at=at) for at in times])

    assert await check_sums(links) == len(times)
    assert await links.fetchval("SELECT count(*) FROM clicks_default") == len(times)


async def test_partitions_are_created_ahead(links: Connection, enricher: Enricher) -> None:
    """Today's and those of three days to come, by several at once; clicks of a day that came too early move into its own."""
    (link,) = await make_links(links, 1)
    today = datetime.fromtimestamp(NOON, UTC).date()
    await take(links, enricher, [click(link, at=NOON + days * DAY_S) for days in range(-1, 6)])
    for _ in range(2):
        await create_partitions(links, today)
    await take(links, enricher, [click(link, at=NOON), click(link, at=NOON + 4 * DAY_S)])

    assert await select_partitions(links) == [today + timedelta(days=days) for days in range(4)]
    assert await links.fetchval("SELECT count(*) FROM clicks_default") == 4
    assert await links.fetchval("SELECT count(*) FROM clicks WHERE tableoid = 'clicks_20261124'::regclass") == 2
    assert await check_sums(links) == 9
    assert await links.fetchval("SELECT count(DISTINCT id) FROM clicks") == 9


async def test_partitions_are_created_while_clicks_are_stored(database: Database, enricher: Enricher) -> None:
    """Several services that create the same partitions at once, and batches meanwhile: nobody fails."""
    today = datetime.fromtimestamp(NOON, UTC).date()
    async with open_pool(database.links_url, size=8, application="tests") as pool:
        (link,) = await make_links(pool, 1)  # type: ignore[arg-type]  # it has `fetch`

        async def create() -> None:
            async with pool.acquire() as conn:
                await create_partitions(conn, today)

        async def store() -> int:
            async with pool.acquire() as conn:
                return sum([(await take(conn, enricher, [click(link, at=NOON)] * 50)).clicks for _ in range(10)])

        *_, one, two = await asyncio.gather(create(), create(), create(), store(), store())
        async with pool.acquire() as conn:
            assert await check_sums(conn) == one + two == 1000


async def test_keys_and_visitors_are_deleted(links: Connection, enricher: Enricher) -> None:
    """After 48 hours nothing tells a day's visitors apart any more; how many they were stays."""
    (link,) = await make_links(links, 1)
    today = datetime.fromtimestamp(NOON, UTC).date()
    await take(links, enricher, [click(link, at=NOON - days * DAY_S) for days in range(4)])
    deleted = await delete_old_visitors(links, today)

    assert deleted == 6
    assert await delete_old_visitors(links, today) == 0
    for table in ("click_keys", "click_visitors", "click_visitors_of_owners"):
        days = await links.fetch(f"SELECT day FROM {table} ORDER BY day")
        assert [row["day"] for row in days] == [today - timedelta(days=1), today]
    assert await links.fetchval("SELECT count(*) FROM click_uniques_by_link") == 4


async def test_a_day_has_one_key(database: Database) -> None:
    """Two that need a day's key at once get the same, and it is random."""
    async with open_pool(database.links_url, size=4, application="tests") as pool:

        async def read() -> dict[int, bytes]:
            async with pool.acquire() as conn, conn.transaction():
                return await select_keys(conn, [20_000, 20_001, 20_000])

        first, *others = await asyncio.gather(*(read() for _ in range(4)))

    assert all(other == first for other in others)
    assert first[20_000] != first[20_001]
    assert {len(key) for key in first.values()} == {32}


async def test_batches_and_edits_of_the_same_links_do_not_deadlock(database: Database, enricher: Enricher) -> None:
    """Batches that name the same links in any order, and edits of these links meanwhile: all are done, nothing is lost."""
    async with open_pool(database.links_url, size=12, application="tests") as pool:
        ids = await make_links(pool, 30)  # type: ignore[arg-type]  # it has `fetch`

        async def store(number: int) -> None:
            order = ids[::-1] if number % 2 else ids
            async with pool.acquire() as conn:
                for n in range(8):
                    agents = [CHROME, IPHONE, GOOGLEBOT][n % 3 :: -1]
                    await take(conn, enricher, *([click(link, agent=agent) for link in order] for agent in agents))

        async def edit(number: int) -> None:
            for n in range(40):
                key = ("sho.rt", f"alice{(n * 7 + number) % 30 + 1}")
                async with pool.acquire() as conn, conn.transaction():
                    assert await lock_link(conn, key) is not None
                    await update_link(conn, key, LinkFields(f"https://www.example.com/{n}"))

        await asyncio.gather(*(store(n) for n in range(6)), *(edit(n) for n in range(4)))
        async with pool.acquire() as conn:
            stored = await check_sums(conn)
            edits = await conn.fetchval("SELECT sum(version - 1) FROM links")
            deadlocks = await conn.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = $1", database.name)

    assert stored == 6 * 30 * sum(len([0, 1, 2][n % 3 :: -1]) for n in range(8))
    assert edits == 160
    assert deadlocks == 0


async def test_retention_drops_raw_clicks_and_keeps_counts(
    links: Connection, database: Database, enricher: Enricher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole days before the last N go, with and without a partition; counts stay; doing it again does nothing."""
    (link,) = await make_links(links, 1)
    now = datetime.now(UTC)
    today = now.date()
    for days in (40, 31, 30, 1):
        await links.execute("SELECT create_click_partition($1)", today - timedelta(days=days))
    ages = [60, 60, 40, 31, 30, 29, 1, 0]
    await take(links, enricher, [click(link, at=now.timestamp() - days * DAY_S) for days in ages])
    before = {table: await links.fetch(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4") for table in COUNTS}
    monkeypatch.setenv("LINKS_DATABASE_URL", database.links_url)
    runner, here = CliRunner(), ["--data", str(tmp_path)]

    kept_all = await asyncio.to_thread(runner.invoke, app, ["retention", "--days", "0", *here])
    dropped = await asyncio.to_thread(runner.invoke, app, ["retention", "--days", "30", *here])
    again = await asyncio.to_thread(runner.invoke, app, ["retention", "--days", "30", *here])

    assert (kept_all.exit_code, kept_all.output) == (0, "raw clicks are kept for ever\n")
    assert dropped.exit_code == 0
    assert "of 2 days" in dropped.output
    assert "and 2 of days without" in dropped.output
    assert again.output == "nothing to do: no raw clicks are older than 30 days\n"
    assert await links.fetchval("SELECT count(*) FROM clicks") == 4
    assert {table: await links.fetch(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4") for table in COUNTS} == before
    assert await links.fetchval("SELECT clicks FROM links") == len(ages)
    assert await drop_old_clicks(database.links_url, 0) == ([], 0)
