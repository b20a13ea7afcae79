"""Counts move out of the tables of rows into packed days: in steps, while clicks come in, and each exactly once."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.links.clicks.enrichment import Enricher
from services.links.clicks.packing import pack_clicks
from services.links.clicks.rows import insert_clicks
from services.links.clicks.upkeep import recount_noted
from services.links.packed import moving
from services.links.packed.moving import CountMover
from services.links.upkeep import move_counts
from shared.postgres import Connection, open_pool
from tests.conftest import Database
from tests.links.click_data import COUNTS, GOOGLEBOT, IPHONE, NOON, click, make_links, take
from tests.links.conftest import ClientOf
from tests.links.packed_data import check_stored, select_counts
from tests.links.stats_data import DAYS, FIRST, STORES, store_clicks


async def rows_left(conn: Connection) -> int:
    return sum([await conn.fetchval(f"SELECT count(*) FROM {table}") for table in COUNTS])


@given(batches=st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=12))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_each_count_moves_once(
    conn: Connection, enricher: Enricher, batches: list[tuple[bool, int, int]]
) -> None:
    """However batches of either kind and steps of any size alternate, every count is that of the raw clicks throughout."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        ids = [*await make_links(conn, 2), *await make_links(conn, 2, owner="bob")]
        for is_packed, number, steps in batches:
            agents = [IPHONE, GOOGLEBOT][: number % 2 + 1]
            clicks = [
                click(link, agent=agent, at=NOON + hour * 3600, address=b"192.0.2.%d" % (number + hour))
                for link in ids[: number + 1]
                for agent in agents
                for hour in (0, 5, 20)
            ]
            await take(conn, enricher, clicks, store=pack_clicks if is_packed else insert_clicks)
            for _ in range(steps):
                await CountMover().move_some(conn)
            await check_stored(conn)
        mover = CountMover()
        while await mover.move_some(conn):
            pass

        await check_stored(conn)
        assert await rows_left(conn) == 0
    finally:
        await transaction.rollback()


async def test_answers_stay_while_counts_move(client_with: ClientOf, database: Database, monkeypatch: Any) -> None:
    """Statistics and raw clicks are the same before, in the middle and after, bytes and all."""
    monkeypatch.setattr(moving, "STEP_ROWS", 40)
    await store_clicks(database, STORES["both"])
    reader = await client_with("alice", "stats:read")
    between = {"from": (FIRST + timedelta(hours=7)).isoformat(), "to": (FIRST + timedelta(days=DAYS - 1)).isoformat()}
    zone = {"interval": "hour", "time_zone": "Asia/Kathmandu", "bots": "exclude"}

    async def answers() -> list[bytes]:
        questions: list[tuple[str, dict[str, str]]] = [
            *((path, between | zone) for path in ("/api/v1/links/alice1/stats", "/api/v1/stats")),
            ("/api/v1/links/alice1/clicks", {"limit": "500"}),
            ("/api/v1/stats/recent", {"link": "alice1", "days": "90", "time_zone": "Asia/Kathmandu"}),
        ]
        return [(await reader.get(path, params=params)).content for path, params in questions]

    before, steps = await answers(), 0
    conn = await asyncpg.connect(database.links_url)
    left = await rows_left(conn)
    mover = CountMover()
    while await mover.move_some(conn):
        steps += 1
        if steps % 7 == 0:
            assert await answers() == before
    assert await answers() == before
    assert await rows_left(conn) == 0
    await conn.close()

    assert steps > left // 40


async def test_step_that_is_interrupted_moves_nothing(database: Database) -> None:
    """A process that dies in the middle of a step leaves everything as it was, and the next one moves all of it."""
    await store_clicks(database)
    conn, other = [await asyncpg.connect(database.links_url) for _ in range(2)]
    before, rows = await select_counts(conn), await rows_left(conn)
    # The step has taken its rows out of the table when it waits for the packed days.
    blocker = await asyncpg.connect(database.owner_url)
    await blocker.execute("BEGIN; LOCK TABLE click_days")
    step = asyncio.create_task(CountMover().move_some(other))
    async with asyncio.timeout(20):
        while not await blocker.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
    other.terminate()
    await asyncio.wait([step])
    await blocker.execute("ROLLBACK")
    after, left = await select_counts(conn), await rows_left(conn)
    async with open_pool(database.links_url, size=1, application="tests") as pool:
        await move_counts(pool)

    assert (after, left) == (before, rows)
    assert await rows_left(conn) == 0
    assert await select_counts(conn) == before
    for each in (conn, blocker):
        await each.close()


async def test_everything_at_once_does_not_deadlock(database: Database, enricher: Enricher, monkeypatch: Any) -> None:
    """Batches of both kinds and several movers on the same links and days at once: nobody waits in a circle, all add up."""
    monkeypatch.setattr(moving, "STEP_ROWS", 30)
    async with open_pool(database.links_url, size=8, application="tests") as pool:
        ids = await make_links(pool, 20)  # type: ignore[arg-type]  # it has `fetch`
        done = asyncio.Event()

        async def store(number: int) -> None:
            order = ids[::-1] if number % 2 else ids
            async with pool.acquire() as conn:
                for n in range(8):
                    clicks = [click(link, agent=[IPHONE, GOOGLEBOT][n % 2], at=NOON + n * 3e4) for link in order]
                    await take(conn, enricher, clicks, store=pack_clicks if number < 3 else insert_clicks)

        async def move() -> None:
            while not done.is_set():
                async with pool.acquire() as conn:
                    await CountMover().move_some(conn)

        movers = [asyncio.create_task(move()) for _ in range(2)]
        await asyncio.gather(*(store(n) for n in range(6)))
        done.set()
        await asyncio.gather(*movers)
        async with pool.acquire() as conn:
            assert await check_stored(conn) == 6 * 8 * 20
            deadlocks = await conn.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = $1", database.name)

    assert deadlocks == 0


async def test_humans_are_recounted_from_moved_counts(links: Connection, enricher: Enricher) -> None:
    """A link that is noted for a recount has its humans also when its counts moved before."""
    (link,) = await make_links(links, 1)
    await take(links, enricher, [click(link, agent=IPHONE), click(link, agent=GOOGLEBOT)])
    await take(links, enricher, [click(link, agent=IPHONE)], store=pack_clicks)
    mover = CountMover()
    while await mover.move_some(links):
        pass
    await links.execute("UPDATE links SET clicks = 3, humans = 0, bots = 0")
    await recount_noted(links)

    assert [tuple(row) for row in await links.fetch("SELECT clicks, humans, bots FROM links")] == [(3, 2, 1)]


async def test_counts_of_a_dimension_of_a_newer_release_stay(links: Connection, enricher: Enricher) -> None:
    """A dimension that is not known here is not moved, and nothing is lost of it."""
    (link,) = await make_links(links, 1)
    await take(links, enricher, [click(link, at=NOON)])
    await links.execute(
        "INSERT INTO click_dimensions_by_link VALUES ($1, '2026-11-24', 'city', 'Graz', false, 1)", link
    )
    mover = CountMover()
    while await mover.move_some(links):
        pass

    assert [tuple(row) for row in await links.fetch("SELECT dimension, value FROM click_dimensions_by_link")] == [
        ("city", "Graz")
    ]
