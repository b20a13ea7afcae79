"""Clicks that cannot be stored are set aside, and block nothing."""

import asyncpg

from services.links.clicks.batches import TRIES_LIMIT
from services.links.clicks.enrichment import Enricher
from shared.postgres import Connection
from tests.conftest import Database
from tests.links.click_data import NOON, check_sums, click, make_links, take


async def test_what_no_click_can_be_is_set_aside(links: Connection, enricher: Enricher) -> None:
    """A whole record with a defect inside stops nothing: what is wrong is counted, what is right is stored."""
    (link,) = await make_links(links, 1)
    good = click(link)
    parts = good[2]
    wrong: list[object] = [(at, link, parts) for at in (float("nan"), float("inf"), 1e15, -1e15, None, b"1")]
    wrong += [(1.0, link_id, parts) for link_id in (0, -1, 2**63, None, True, 1.5)]
    wrong += [(1.0, link, (*parts[:place], 7, *parts[place + 1 :])) for place in (1, 3, 4, 5)]
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
