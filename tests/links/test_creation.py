"""Joined creations: many clients share a statement, and none of them suffers for another."""

import asyncio

import asyncpg
import pytest

from services.links.links.creation import Creator, NoFreeCode, insert_drawn, insert_generated
from services.links.links.rows import LinkDraft, LinkFields
from services.links.web.errors import Busy
from shared.postgres import UNAVAILABLE, Connection, Pool, open_pool
from tests.conftest import Database

URL = "https://www.example.com/"


def draft(url: str = URL, **fields: object) -> LinkDraft:
    return LinkDraft("sho.rt", "alice", LinkFields(url, **fields))  # type: ignore[arg-type]  # a test's own fields


async def statements(pool: Pool) -> int:
    """How many transactions have inserted links."""
    async with pool.acquire() as conn:
        count: int = await conn.fetchval("SELECT count(DISTINCT xmin::text) FROM links")
        return count


async def test_creations_of_one_moment_are_joined(database: Database) -> None:
    """A thousand creations at once take a few statements, and each gets its own link."""
    async with open_pool(database.links_url, size=4, application="test") as pool:
        creator = Creator(pool)
        rows = await asyncio.gather(*(creator.create(draft(f"{URL}{n}", tags=(str(n),))) for n in range(1000)))

        assert [(row.fields.url, row.fields.tags) for row in rows] == [(f"{URL}{n}", (str(n),)) for n in range(1000)]
        assert len({row.code for row in rows}) == 1000
        assert await statements(pool) <= 5


async def test_row_that_postgres_refuses_fails_alone(database: Database) -> None:
    """A batch with a link that cannot be stored is repeated one by one: only that one fails."""
    async with open_pool(database.links_url, size=4, application="test") as pool:
        creator = Creator(pool)
        drafts = [draft(f"{URL}{n}", status_code=999 if n == 7 else 302) for n in range(20)]
        results = await asyncio.gather(*map(creator.create, drafts), return_exceptions=True)

    assert [n for n, result in enumerate(results) if isinstance(result, BaseException)] == [7]
    assert isinstance(results[7], asyncpg.CheckViolationError)


async def test_taken_code_is_drawn_again(conn: Connection) -> None:
    """Where a drawn code is taken, also within the batch, another one is drawn."""
    codes = iter(["a", "b", "b", "a", "c"])
    first = await insert_drawn(conn, [draft()], draw=lambda: next(codes))
    second = await insert_drawn(conn, [draft(), draft(), draft()], draw=lambda: next(codes))

    assert [row and row.code for row in first] == ["a"]
    assert [row and row.code for row in second] == [None, "b", None]


async def test_endless_collisions_end(database: Database) -> None:
    """If every code that is drawn is taken, the creation fails instead of drawing for ever."""
    async with open_pool(database.links_url, size=4, application="test") as pool:
        creator = Creator(pool, draw=lambda: "always")
        assert (await creator.create(draft())).code == "always"
        with pytest.raises(NoFreeCode):
            await creator.create(draft())
        async with pool.acquire() as conn:
            with pytest.raises(NoFreeCode):
                await insert_generated(conn, [draft()], lambda: "always")


async def test_postgres_away_fails_the_waiting_and_not_the_later(database: Database) -> None:
    """When the connections break the creations under way fail; the next ones work."""
    async with open_pool(database.links_url, size=4, application="test") as pool:
        creator = Creator(pool)
        await creator.create(draft())
        admin = await asyncpg.connect(database.server.url("postgres", database.name))
        blocker = await asyncpg.connect(database.owner_url)
        await blocker.execute("BEGIN; LOCK TABLE links IN EXCLUSIVE MODE")
        waiting = [asyncio.create_task(creator.create(draft())) for _ in range(5)]
        async with asyncio.timeout(30):
            while not await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
                await asyncio.sleep(0.01)
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tinyurl_links'"
            )
            results = await asyncio.gather(*waiting, return_exceptions=True)
        await blocker.close()
        await admin.close()

        assert all(isinstance(result, UNAVAILABLE) for result in results)
        assert (await creator.create(draft())).version == 1


async def test_queue_is_bounded(database: Database) -> None:
    """More creations than can wait are turned away at once."""
    async with open_pool(database.links_url, size=4, application="test") as pool:
        creator = Creator(pool, waiting_limit=50)
        results = await asyncio.gather(*(creator.create(draft()) for _ in range(60)), return_exceptions=True)

    assert [type(result).__name__ for result in results[50:]] == [Busy.__name__] * 10
    assert all(not isinstance(result, BaseException) for result in results[:50])
