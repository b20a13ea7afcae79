"""The packed clicks that `tinyurl bench --clicks --packed` asks for are counted and listed as others are."""

import asyncio
from datetime import date, timedelta

import asyncpg

from services.links.packed.chunks import ChunkLinks
from services.links.packed.days import DAY_US
from services.links.packed.rows import select_chunk_spans, select_chunks, select_days_of_link, select_days_of_owners
from tests.bench.packed_days import BATCH, fill_day
from tests.conftest import Database

DAY = date(2026, 10, 20)
NUMBER = (DAY - date(1970, 1, 1)).days

CLICKS = f"""
    SELECT {NUMBER * DAY_US} + n * 1000000::bigint, 1 + n % 3, 'bench', int8send(n % 30) || int8send(0), n % 10 = 0,
           'DE', 'Firefox', 'Linux', 'desktop', 'site-' || n % 2, 'de'
    FROM generate_series(0, {2 * BATCH - 1}) AS n
"""


async def test_day_is_counted_and_in_chunks(database: Database) -> None:
    """Two chunks of 5,000 clicks in the order of links; a tenth are of bots, each link has 9 people and 1 bot as visitors."""
    await asyncio.to_thread(fill_day, database.owner_url, CLICKS, DAY)

    conn = await asyncpg.connect(database.links_url)
    end = DAY + timedelta(days=1)
    async with conn.transaction():
        days = [*(await select_days_of_link(conn, 1, DAY, end)).values()]
        days += (await select_days_of_owners(conn, "bench", DAY, end)).values()
        counts = [(day.clicks(False), day.clicks(True), day.visitors(False), day.visitors(True)) for day in days]
        assert counts == [(3000, 334, 9, 1), (9000, 1000, 27, 3)]
        assert days[0].values("referrer", True) == {"site-0": 334}

        spans = await select_chunk_spans(conn, NUMBER, list(days[0].chunks()), 0, (NUMBER + 1) * DAY_US)
        (chunk,) = await select_chunks(conn, NUMBER, [span.number for span in spans])
        assert list(ChunkLinks(chunk[1].links).links) == [1, 2]
        assert await conn.fetchval("SELECT count(*) FROM click_chunks") == 2
    await conn.close()
