"""Visitors are told apart for a day, and by nobody after two."""

import asyncio
from datetime import UTC, datetime, timedelta

from services.links.clicks.enrichment import Enricher
from services.links.clicks.rows import select_keys
from services.links.clicks.upkeep import delete_old_visitors
from services.links.stats.rows import select_raw_counts
from services.links.stats.scopes import Count, Period, StatsScope
from shared.postgres import Connection, open_pool
from tests.conftest import Database
from tests.links.click_data import DAY_S, GOOGLEBOT, NOON, check_sums, click, make_links, take


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


async def test_late_clicks_make_no_visitors(links: Connection, enricher: Enricher) -> None:
    """Clicks of a day whose key is gone are counted as clicks; the visitors of that day stay as many as they were."""
    (link,) = await make_links(links, 1)
    day = datetime.fromtimestamp(NOON, UTC).date()
    await take(links, enricher, [click(link, at=NOON), click(link, at=NOON - DAY_S)])
    before = [
        await links.fetch(f"SELECT * FROM {table}") for table in ("click_uniques_by_link", "click_uniques_by_owner")
    ]
    await delete_old_visitors(links, day + timedelta(days=2))
    late = [click(link, at=NOON), click(link, at=NOON, address=b"203.0.113.8"), click(link, at=NOON - 5 * DAY_S)]
    taken = await take(links, enricher, late, [click(link, at=NOON + DAY_S)])
    after = [
        await links.fetch(f"SELECT * FROM {table} WHERE day <= $1", day)
        for table in ("click_uniques_by_link", "click_uniques_by_owner")
    ]
    noon = datetime.fromtimestamp(NOON, UTC)
    part = Period(noon, noon + timedelta(hours=1))
    counted, visitors = await select_raw_counts(links, StatsScope(link_id=link), part)

    assert (taken.clicks, taken.refused) == (4, 0)
    assert after == before
    assert (counted, visitors) == (Count(humans=3), Count(humans=1))
    assert [row["day"] for row in await links.fetch("SELECT day FROM click_keys")] == [day + timedelta(days=1)]
    assert await links.fetchval("SELECT clicks FROM links") == await check_sums(links) == 6


async def test_clock_that_was_ahead_stops_no_visitors(links: Connection, enricher: Enricher) -> None:
    """Keys deleted by a clock that was a year ahead are drawn again once it is right."""
    (link,) = await make_links(links, 1)
    today = datetime.fromtimestamp(NOON, UTC).date()
    await delete_old_visitors(links, today + timedelta(days=365))
    await take(links, enricher, [click(link, at=NOON)])
    await delete_old_visitors(links, today)
    await take(links, enricher, [click(link, at=NOON)])

    assert await links.fetchval("SELECT count(*) FROM clicks WHERE visitor IS NULL") == 1
    assert await links.fetchval("SELECT visitors FROM click_uniques_by_link") == 1
    assert await check_sums(links) == 2


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
