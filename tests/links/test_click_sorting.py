"""The counts of days that are over: written anew in the order of the links, once, with nothing lost and nothing twice."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import date, timedelta

import asyncpg
import pytest

from services.links.clicks.counts import EnrichedClick
from services.links.clicks.rows import EPOCH, insert_clicks
from services.links.clicks.upkeep import SORTED_AFTER_DAYS, SORTED_BACK_DAYS, sort_counts
from shared.api import Dimensions
from shared.postgres import Connection
from tests.conftest import Database
from tests.links.click_data import COUNTS, check_sums, make_links

DAY = date(2026, 11, 20)
TODAY = DAY + timedelta(days=SORTED_AFTER_DAYS)

LINKS = 20


@pytest.fixture
async def conn(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.links_url)
    yield connection
    await connection.close()


async def store(conn: Connection, links: list[int], day: date, choose: random.Random) -> None:
    """Store some clicks in a transaction of their own, as a batch would be."""
    midnight = (day - EPOCH.date()).days * 86_400
    clicks = [
        EnrichedClick(
            (midnight + choose.randrange(86_400)) * 1_000_000,
            choose.choice(links),
            "alice",
            visitor,
            is_bot=visitor < b"\x20",
            dimensions=Dimensions(*(choose.choice("abcdef") for _ in Dimensions._fields)),
        )
        for visitor in (choose.randbytes(2) for _ in range(30))
    ]
    async with conn.transaction():
        await insert_clicks(conn, clicks)


async def contents(conn: Connection) -> list[set[tuple[object, ...]]]:
    """What each table of counts says."""
    return [{tuple(row) for row in await conn.fetch(f"SELECT * FROM {table}")} for table in COUNTS]


async def links_on_disk(conn: Connection, day: date) -> list[int]:
    """The links of a day's counts, in the order in which they are stored."""
    rows = await conn.fetch("SELECT link_id FROM click_dimensions_by_link WHERE day = $1 ORDER BY ctid", day)
    return [row["link_id"] for row in rows]


async def test_days_that_are_over_are_sorted_once(conn: Connection) -> None:
    """Afterwards a link's counts lie together, each is what it was, and later days are left alone."""
    choose = random.Random(1)
    links = await make_links(conn, LINKS)
    for day in (DAY, DAY + timedelta(days=1)):
        for _ in range(6):
            await store(conn, links, day, choose)
    before = await contents(conn)
    unsorted = await links_on_disk(conn, DAY)
    days = await sort_counts(conn, TODAY)

    assert days == [DAY - timedelta(days=ago) for ago in range(SORTED_BACK_DAYS, -1, -1)]
    assert unsorted != sorted(unsorted)
    assert await links_on_disk(conn, DAY) == sorted(unsorted)
    tomorrow = await links_on_disk(conn, DAY + timedelta(days=1))
    assert tomorrow != sorted(tomorrow)
    assert await contents(conn) == before
    assert await sort_counts(conn, TODAY) == []


async def test_late_clicks_are_counted_while_a_day_is_sorted(conn: Connection, database: Database) -> None:
    """Clicks of a day that come while its counts move are neither lost nor counted twice."""
    choose = random.Random(2)
    links = await make_links(conn, LINKS)
    for _ in range(6):
        await store(conn, links, DAY, choose)
    others = [await asyncpg.connect(database.links_url) for _ in range(3)]

    async def come_late(late: Connection) -> None:
        for _ in range(10):
            await store(late, links, DAY, choose)

    async with asyncio.TaskGroup() as group:
        for late in others[:2]:
            group.create_task(come_late(late))
        sorters = [group.create_task(sort_counts(each, TODAY)) for each in (conn, others[2])]
    for late in others:
        await late.close()
    # One leaves to the next minute what it finds the other at.
    days = [*sorters[0].result(), *sorters[1].result(), *await sort_counts(conn, TODAY)]

    assert sorted(days) == [DAY - timedelta(days=ago) for ago in range(SORTED_BACK_DAYS, -1, -1)]
    assert await check_sums(conn) == 30 * (6 + 20)


async def test_day_that_takes_too_long_is_not_tried_for_ever(conn: Connection, database: Database) -> None:
    """A day whose counts cannot be sorted in time stays as it is; the others are sorted, and it is not begun again."""
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute(
        f"""
        CREATE OR REPLACE FUNCTION sort_click_counts(wanted date) RETURNS boolean LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(CASE wanted WHEN '{DAY}' THEN 60 ELSE 0 END); RETURN true; END $$
        """
    )
    await owner.close()
    days = await sort_counts(conn, TODAY, statement_timeout="100ms")

    assert days == [DAY - timedelta(days=ago) for ago in range(SORTED_BACK_DAYS, 0, -1)]
    assert await conn.fetchval("SELECT day FROM click_sorted_days") == DAY
