"""One owner does its worst; the others do not notice, and it is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack

import asyncpg
import httpx
import pytest

from services.links.links.exports import ExportGate
from services.links.web.errors import Unavailable
from services.links.web.pace import Pace
from services.links.web.shares import Share, Shares
from shared.postgres import Connection
from tests.conftest import Database
from tests.links.conftest import ClientOf
from tests.links.test_exports import EXPORTS, NDJSON, fill, lines_of

LINKS = "/api/v1/links"
BATCH = f"{LINKS}/batch"
URL = "https://www.example.com/"
DEADLINE_S = 20
MOST_OF_AN_OWNER = 33
"""Passwords: one is hashed, and 32 more wait."""

SLOW_FOR_ALICE = """
    CREATE FUNCTION wait_for(whose text) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
        IF whose = 'alice' THEN
            PERFORM pg_advisory_xact_lock_shared(7);
        END IF;
        RETURN true;
    END $$;
    GRANT EXECUTE ON FUNCTION wait_for(text) TO tinyurl_links;
    CREATE POLICY reads ON links FOR SELECT TO tinyurl_links USING (wait_for(owner));
    CREATE POLICY inserts ON links FOR INSERT TO tinyurl_links WITH CHECK (true);
    CREATE POLICY edits ON links FOR UPDATE TO tinyurl_links USING (true);
    ALTER TABLE links ENABLE ROW LEVEL SECURITY;
    SELECT pg_advisory_lock(7);
"""
"""Whoever reads a link of alice waits for a lock, which the session that runs this holds."""


@pytest.fixture
async def blocker(database: Database) -> AsyncIterator[Connection]:
    """A session of the database's owner that holds locks until the test ends."""
    conn = await asyncpg.connect(database.owner_url)
    yield conn
    conn.terminate()


async def until(fact: Awaitable[object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await fact


def kind(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["type"].rpartition(":")[2]


@pytest.mark.parametrize("path", [LINKS, f"{LINKS}?q=none", "/api/v1/tags", f"{LINKS}?sort=-clicks"])
async def test_slow_lists_of_one_owner_stop_nobody_else(
    alice: httpx.AsyncClient, client_with: ClientOf, blocker: Connection, database: Database, path: str
) -> None:
    """An owner's lists that hang hold its own slots; its next is 429, while others list, count, create and verify keys."""
    await fill(database, links=20, url_bytes=10)
    bob = await client_with("bob")
    await blocker.execute(SLOW_FOR_ALICE)
    hanging = [asyncio.create_task(alice.get(path)) for _ in range(11)]
    done, pending = await asyncio.wait(hanging, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
    (refused,) = [task.result() for task in done]
    created = await bob.post(LINKS, json={"url": URL, "tags": ["x"]})
    listed, tags = await bob.get(LINKS), await bob.get("/api/v1/tags")
    carol = await client_with("carol")

    assert kind(refused) == (429, "too-many-requests")
    assert refused.headers["retry-after"] == "1"
    assert created.status_code == 201
    assert len(listed.json()["items"]) == len(tags.json()["items"]) == 1
    assert (await carol.post(LINKS, json={"url": URL, "code": "carol"})).status_code == 201
    assert len(pending) == 10
    await blocker.execute("SELECT pg_advisory_unlock(7)")
    await asyncio.gather(*hanging)
    assert (await alice.get(path)).status_code == 200


async def test_edits_that_wait_hold_few_connections(
    alice: httpx.AsyncClient, client_with: ClientOf, blocker: Connection
) -> None:
    """Edits, repeats and searches that wait for a lock leave connections to the others."""
    bob = await client_with("bob")
    await alice.post(LINKS, json={"url": URL, "code": "busy"})
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("UPDATE links SET title = 'held' WHERE code = 'busy'")
    edits = [asyncio.create_task(alice.patch(f"{LINKS}/busy", json={"title": f"{n}"})) for n in range(20)]
    created = await bob.post(LINKS, json={"url": URL, "code": "bob", "find_existing": True})
    read = await bob.get(f"{LINKS}/bob")

    assert (created.status_code, read.status_code) == (201, 200)
    assert not any(edit.done() for edit in edits)
    await transaction.rollback()
    assert {edit.status_code for edit in await asyncio.gather(*edits)} == {200}


async def test_passwords_of_one_owner_wait_for_each_other(
    alice: httpx.AsyncClient, client_with: ClientOf, shares: Shares
) -> None:
    """An owner has one password hashed at a time and some that wait; beyond these it is 429, and others' are hashed."""
    bob = await client_with("bob")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(shares.passwords.turn("alice"))
        waiting = [
            asyncio.create_task(alice.post(LINKS, json={"url": URL, "password": "x"})) for _ in range(MOST_OF_AN_OWNER)
        ]
        done, _ = await asyncio.wait(waiting, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
        refused = [task.result() for task in done]
        others = await bob.post(LINKS, json={"url": URL, "password": "x"})
        plain = await alice.post(LINKS, json={"url": URL})

        assert {kind(each) for each in refused} == {(429, "too-many-requests")}
        assert (others.status_code, plain.status_code) == (201, 201)
    assert {task.status_code for task in await asyncio.gather(*waiting)} <= {201, 429}


async def test_exports_of_one_owner_are_bounded(
    alice: httpx.AsyncClient, client_with: ClientOf, database: Database
) -> None:
    """An owner has four exports at once, however slowly they are read; a fifth is 429, others' begin."""
    await fill(database, links=4000, url_bytes=8000)
    bob = await client_with("bob")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(alice.stream("GET", EXPORTS, headers=NDJSON))
        for _ in range(3):
            await stack.enter_async_context(alice.stream("GET", EXPORTS, headers=NDJSON))
        refused = await alice.get(EXPORTS)

        assert kind(refused) == (429, "too-many-requests")
        assert (await bob.get(EXPORTS)).status_code == 200
        assert len(await lines_of(first)) == 4000
        await until(begins(alice))


async def test_all_exports_are_bounded() -> None:
    """The exports of all owners together have a bound, past which one is told to come again; an end frees a place."""
    gate = ExportGate(at_once=2)
    async with gate.turn(), gate.turn():
        with pytest.raises(Unavailable):
            await gate.turn().__aenter__()

    async with gate.turn():
        pass


async def test_export_ends_with_its_key(client_with: ClientOf, blocker: Connection, database: Database) -> None:
    """The export of a key that is revoked breaks off, also while nothing of it is read, and its place is free."""
    await fill(database, links=4000, url_bytes=8000)
    revoked = await client_with("alice")
    other = await client_with("alice")
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(revoked.stream("GET", EXPORTS, headers=NDJSON)) for _ in range(4)]
        assert (await other.get(EXPORTS)).status_code == 429
        await blocker.execute("UPDATE api_keys SET revoked_at = now() WHERE id = $1", key_id(revoked))
        await until(begins(other))
        with pytest.raises(httpx.RemoteProtocolError):
            await lines_of(streams[0])


async def test_batch_ends_with_its_key(client_with: ClientOf, blocker: Connection, database: Database) -> None:
    """A batch that is being stored ends when its key is revoked, and nothing of it is stored."""
    alice = await client_with("alice")
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute(
        "INSERT INTO links (domain, code, owner, url) VALUES ('sho.rt', 'held', 'bob', 'https://b.example/')"
    )
    rows = [{"url": URL, "code": "aaa"}, {"url": URL, "code": "held"}]
    sending = asyncio.create_task(alice.post(BATCH, json={"links": rows}, timeout=DEADLINE_S))
    watcher = await asyncpg.connect(database.owner_url)
    async with asyncio.timeout(DEADLINE_S):
        while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
    await watcher.execute("UPDATE api_keys SET revoked_at = now() WHERE id = $1", key_id(alice))
    answer = await sending
    await transaction.rollback()

    assert kind(answer) == (401, "unauthenticated")
    assert await watcher.fetchval("SELECT count(*) FROM links") == 0
    await watcher.close()


async def test_share_runs_some_makes_some_wait_and_refuses_the_rest() -> None:
    """Of an owner's requests so many run and so many wait; owners do not count for each other, and a place comes back."""
    share = Share("lists", Pace(), at_once=1, waiting=1, wait_s=0.05)
    async with share.turn("alice"), share.turn("bob"):
        waits, refused = await asyncio.gather(
            *(share.turn("alice").__aenter__() for _ in range(2)), return_exceptions=True
        )

        assert "take too long" in str(waits)
        assert "too many lists" in str(refused)
    async with share.turn("alice"):
        pass
    assert share._lines == {}


async def begins(client: httpx.AsyncClient) -> None:
    """Wait until an export is let in."""
    while True:
        async with client.stream("GET", EXPORTS, headers=NDJSON) as response:
            if response.status_code == 200:
                return
            assert response.status_code == 429


def key_id(client: httpx.AsyncClient) -> str:
    return client.headers["authorization"].split("_")[1]
