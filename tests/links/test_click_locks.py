"""Clicks and edits of the same links at once."""

import asyncio

from services.links.clicks.batches import Store
from services.links.clicks.enrichment import Enricher
from services.links.links.rows import LinkFields, lock_link, update_link
from shared.postgres import open_pool
from tests.conftest import Database
from tests.links.click_data import CHROME, GOOGLEBOT, IPHONE, click, make_links, take
from tests.links.packed_data import check_stored


async def test_batches_and_edits_of_the_same_links_do_not_deadlock(
    database: Database, enricher: Enricher, store: Store
) -> None:
    """Batches that name the same links in any order, and edits of these links meanwhile: all are done, nothing is lost."""
    async with open_pool(database.links_url, size=12, application="tests") as pool:
        ids = await make_links(pool, 30)  # type: ignore[arg-type]  # it has `fetch`

        async def send(number: int) -> None:
            order = ids[::-1] if number % 2 else ids
            async with pool.acquire() as conn:
                for n in range(8):
                    agents = [CHROME, IPHONE, GOOGLEBOT][n % 3 :: -1]
                    await take(
                        conn, enricher, *([click(link, agent=agent) for link in order] for agent in agents), store=store
                    )

        async def edit(number: int) -> None:
            for n in range(40):
                key = ("sho.rt", f"alice{(n * 7 + number) % 30 + 1}")
                async with pool.acquire() as conn, conn.transaction():
                    assert await lock_link(conn, key) is not None
                    await update_link(conn, key, LinkFields(f"https://www.example.com/{n}"))

        await asyncio.gather(*(send(n) for n in range(6)), *(edit(n) for n in range(4)))
        async with pool.acquire() as conn:
            stored = await check_stored(conn)
            edits = await conn.fetchval("SELECT sum(version - 1) FROM links")
            deadlocks = await conn.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = $1", database.name)

    assert stored == 6 * 30 * sum(len([0, 1, 2][n % 3 :: -1]) for n in range(8))
    assert edits == 160
    assert deadlocks == 0
