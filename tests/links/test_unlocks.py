"""`POST /internal/unlocks`: redirect alone may ask, and learns whether a password is right and nothing more."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest

from services.links.unlocks.tries import TooManyTries
from services.links.unlocks.unlocking import Unlocker, WrongPassword
from services.links.web.errors import NotFound, TooManyRequests
from services.links.web.hashing import VISITOR_SLOTS, HashGate, hash_password
from shared.postgres import Pool, open_pool
from shared.settings import LinksSettings
from shared.unlocks import COOKIE, is_unlocked, password_tag
from tests.conftest import Database
from tests.links.intake_client import PREVIOUS, TOKEN

PATH = "/internal/unlocks"
KEY = ("sho.rt", "mine")
PASSWORD = "s3cret"  # noqa: S105
HASH = hash_password(PASSWORD)
ASKED = {"domain": "sho.rt", "code": "mine", "password": PASSWORD, "address": "192.0.2.1"}


@pytest.fixture(autouse=True)
async def links_with_passwords(database: Database) -> None:
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute(
        """
        INSERT INTO links (domain, code, owner, url, password_hash, deleted_at)
        VALUES ('sho.rt', 'mine', 'o', 'https://a.example/', $1, NULL),
               ('sho.rt', 'gone', 'o', '', $1, now()),
               ('sho.rt', 'free', 'o', 'https://a.example/', NULL, NULL),
               ('sho.rt', 'odd', 'o', 'https://a.example/', '', NULL)
        """,
        HASH,
    )
    await conn.close()


async def test_redirect_learns_whether_it_is_right(intake: httpx.AsyncClient) -> None:
    """The right password is answered with a cookie for the token that asked, a wrong one 403, no password 404."""
    right = await intake.post(PATH, json=ASKED)
    previous = await intake.post(PATH, json=ASKED, headers={"Authorization": f"Bearer {PREVIOUS}"})
    now = datetime.now(UTC).timestamp()

    assert right.status_code == previous.status_code == 200
    for answer, token in ((right, TOKEN), (previous, PREVIOUS)):
        name, value = answer.json()["set_cookie"].partition(";")[0].split("=")
        assert name == COOKIE
        assert is_unlocked(value, token, KEY, password_tag(HASH), now)
        assert "Secure" in answer.json()["set_cookie"]
    for change, status in (
        ({"password": "S3cret"}, 403),
        ({"password": ""}, 403),
        ({"code": "odd"}, 403),
        ({"code": "free"}, 404),
        ({"code": "gone"}, 404),
        ({"code": "none"}, 404),
        ({"domain": "go.example.org"}, 404),
    ):
        assert (await intake.post(PATH, json=ASKED | change)).status_code == status, change


async def test_hash_of_bcrypt_opens_and_stays(intake: httpx.AsyncClient, database: Database) -> None:
    """A link that was imported with its hash opens with its old password, again and again, and the cookie is for that hash."""
    hashed = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute("UPDATE links SET password_hash = $1 WHERE code = 'mine'", hashed)
    await conn.close()
    right = [await intake.post(PATH, json=ASKED | {"password": "U*U"}) for _ in range(2)]
    wrong = await intake.post(PATH, json=ASKED)
    now = datetime.now(UTC).timestamp()

    assert ([answer.status_code for answer in right], wrong.status_code) == ([200, 200], 403)
    for answer in right:
        _, value = answer.json()["set_cookie"].partition(";")[0].split("=")
        assert is_unlocked(value, TOKEN, KEY, password_tag(hashed), now)


async def test_only_redirect_may_ask(intake: httpx.AsyncClient) -> None:
    """Without the token it is 401, and a body that is none is refused without repeating it."""
    for token in ("", "Bearer x", f"Basic {TOKEN}"):
        assert (await intake.post(PATH, json=ASKED, headers={"Authorization": token})).status_code == 401
    for body, status in ((b"", 400), (b"s3cret", 400), (b'{"password": "s3cret"}', 400), (b"s3cret" * 2000, 413)):
        answer = await intake.post(PATH, content=body)
        assert answer.status_code == status
        assert "s3cret" not in answer.text


async def test_too_many_tries_have_to_wait(intake: httpx.AsyncClient) -> None:
    """The sixth wrong password is 429 with the seconds to wait, also if it is right; another address is let through."""
    wrong = [await intake.post(PATH, json=ASKED | {"password": "x"}) for _ in range(5)]
    refused = await intake.post(PATH, json=ASKED)
    other = await intake.post(PATH, json=ASKED | {"address": "192.0.2.2"})

    assert [each.status_code for each in wrong] == [403] * 5
    assert (refused.status_code, other.status_code) == (429, 200)
    assert 1 <= int(refused.headers["retry-after"]) <= 60


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with open_pool(database.links_url, size=4, application="tests") as opened:
        yield opened


async def test_a_minute_later_it_opens(links_settings: LinksSettings, pool: Pool) -> None:
    """Who has tried five wrong ones gets in a minute later."""
    now = datetime(2031, 3, 4, 12, tzinfo=UTC)
    unlocker = Unlocker(links_settings, pool, clock=lambda: now)
    for _ in range(5):
        with pytest.raises(WrongPassword):
            await unlocker.check(KEY, "x", "192.0.2.1")
    now += timedelta(minutes=1)

    assert await unlocker.check(KEY, PASSWORD, "192.0.2.1") == password_tag(HASH)
    unlocker.close()


async def outcome(unlocker: Unlocker, password: str, address: str = "192.0.2.1") -> str:
    try:
        return await unlocker.check(KEY, password, address)
    except (WrongPassword, TooManyTries) as error:
        return type(error).__name__


async def test_right_ones_at_once_never_refuse_each_other(
    links_settings: LinksSettings, pool: Pool, database: Database
) -> None:
    """Six right passwords of one network at one moment, over two processes, open after four wrong ones, and at a watched link.

    Wrong ones at one moment stay bounded: of twelve, one is looked at there, and five at any other link.
    """
    now = datetime(2031, 3, 4, 12, tzinfo=UTC)
    gates = [HashGate(VISITOR_SLOTS, wait_s=60) for _ in range(2)]
    processes = [Unlocker(links_settings, pool, gate, clock=lambda: now) for gate in gates]

    async def at_once(password: str, count: int) -> list[str]:
        return sorted(await asyncio.gather(*(outcome(processes[n % 2], password) for n in range(count))))

    wrong = [await outcome(processes[0], "x") for _ in range(4)]
    right = await at_once(PASSWORD, 6)
    now += timedelta(minutes=1)
    many = await at_once("x", 12)
    now += timedelta(minutes=1)
    # With this one the link alone has ten.
    await outcome(processes[0], "x", "192.0.2.2")
    conn = await asyncpg.connect(database.owner_url)
    watched = await conn.execute("UPDATE password_tries SET tries = 1000 WHERE tries = 10")
    await conn.close()
    first = await at_once(PASSWORD, 6)
    few = await at_once("x", 12)
    for unlocker in processes:
        unlocker.close()

    assert (wrong, right) == (["WrongPassword"] * 4, [password_tag(HASH)] * 6)
    assert many == ["TooManyTries"] * 7 + ["WrongPassword"] * 5
    assert (watched, first) == ("UPDATE 1", [password_tag(HASH)] * 6)
    assert few == ["TooManyTries"] * 11 + ["WrongPassword"]


async def test_a_full_queue_counts_no_try(links_settings: LinksSettings, pool: Pool) -> None:
    """Where too many passwords wait, the next is refused before it is counted; a link without one is not found at once."""
    gate = HashGate(1, waiting=0)
    unlocker = Unlocker(links_settings, pool, gate)
    async with gate.slot():
        for _ in range(6):
            with pytest.raises(TooManyRequests):
                await unlocker.check(KEY, "x", "192.0.2.1")
        with pytest.raises(NotFound):
            await unlocker.check(("sho.rt", "free"), "x", "192.0.2.1")

    assert await unlocker.check(KEY, PASSWORD, "192.0.2.1") == password_tag(HASH)
    unlocker.close()
