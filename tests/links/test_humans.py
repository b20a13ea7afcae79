"""Clicks of people beside all clicks: in links, lists and exports, whoever counted them."""

import httpx

from services.links.clicks.enrichment import Enricher
from services.links.clicks.upkeep import recount_noted, recount_old, sort_clicked
from services.links.upkeep import recount_humans, sort_clicks
from shared.postgres import Connection, open_pool
from tests.conftest import Database
from tests.links.click_data import GOOGLEBOT, IPHONE, click, make_links, take

LINKS = "/api/v1/links"


async def counts(conn: Connection) -> dict[int, tuple[int, int]]:
    rows = await conn.fetch("SELECT id, clicks, humans FROM links")
    return {row["id"]: (row["clicks"], row["humans"]) for row in rows}


async def test_humans_are_in_links_lists_and_exports(
    alice: httpx.AsyncClient, links: Connection, enricher: Enricher, database: Database
) -> None:
    """A link has its clicks and those of people beside them; lists are sorted by either, exports have both."""
    few, many = await make_links(links, 2)
    await take(links, enricher, [click(few, agent=IPHONE), click(few, agent=IPHONE)])
    await take(links, enricher, [click(many, agent=GOOGLEBOT) for _ in range(3)])
    async with open_pool(database.links_url, size=1, application="test") as pool:
        await sort_clicks(pool)

    link = (await alice.get(f"{LINKS}/alice1")).json()
    assert (link["clicks"], link["humans"]) == (2, 2)
    by_clicks = (await alice.get(LINKS, params={"sort": "-clicks"})).json()["items"]
    by_humans = (await alice.get(LINKS, params={"sort": "-humans"})).json()["items"]
    assert [(item["code"], item["clicks"]) for item in by_clicks] == [("alice2", 3), ("alice1", 2)]
    assert [(item["code"], item["humans"]) for item in by_humans] == [("alice1", 2), ("alice2", 0)]
    header, first, _ = (await alice.get("/api/v1/exports")).text.splitlines()
    column = header.split(",").index("humans")
    assert first.split(",")[column] == "0"


async def test_clicks_of_the_release_before_are_told_apart_later(links: Connection, enricher: Enricher) -> None:
    """Clicks that were counted without humans are noted, and the next recount tells them apart."""
    link, other = await make_links(links, 2)
    await take(links, enricher, [click(link, agent=IPHONE), click(link, agent=GOOGLEBOT), click(other)])
    # What a worker of the release before does: quarter-hours with bots apart, and the link's clicks.
    await links.execute("UPDATE click_totals_by_link SET clicks = clicks + 5 WHERE link_id = $1 AND NOT is_bot", link)
    await links.execute("UPDATE click_totals_by_link SET clicks = clicks + 2 WHERE link_id = $1 AND is_bot", link)
    await links.execute("UPDATE links SET clicks = clicks + 7 WHERE id = $1", link)
    await take(links, enricher, [click(link, agent=IPHONE)])

    assert (await counts(links))[link] == (10, 2)
    assert await recount_noted(links) == 1
    assert await counts(links) == {link: (10, 7), other: (1, 1)}
    assert await recount_noted(links) == 0
    await take(links, enricher, [click(link, agent=IPHONE), click(link, agent=GOOGLEBOT)])
    assert (await counts(links))[link] == (12, 8)
    assert await recount_noted(links) == 0


async def test_links_from_before_get_their_humans_in_steps(
    links: Connection, owner: Connection, enricher: Enricher, database: Database
) -> None:
    """Links that had clicks before the column get their humans step by step; one that is broken off goes on where it was."""
    ids = await make_links(links, 10)
    await take(links, enricher, [click(each, agent=agent) for each in ids for agent in (IPHONE, IPHONE, GOOGLEBOT)])
    await owner.execute("UPDATE links SET humans = 0, bots = 0; DELETE FROM links_to_recount")
    await owner.execute("UPDATE links_recounted SET last = $1", ids[-1])
    assert await recount_old(links, 3)
    transaction = links.transaction()
    await transaction.start()
    await recount_old(links, 3)
    await transaction.rollback()
    done = [each for each, (_, humans) in (await counts(links)).items() if humans]
    assert 0 < len(done) < 10

    async with open_pool(database.links_url, size=1, application="test") as pool:
        await recount_humans(pool, 3)
    assert set((await counts(links)).values()) == {(3, 2)}
    assert not await recount_old(links)


async def test_counters_are_in_no_index(owner: Connection, links: Connection, enricher: Enricher) -> None:
    """A click writes no index of the links, and the order by clicks follows with the next upkeep, once for many."""
    (link,) = await make_links(links, 1)
    for _ in range(3):
        await take(links, enricher, [click(link), click(link, agent=GOOGLEBOT)])
    indexed = await owner.fetch(
        """
        SELECT DISTINCT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
        WHERE indrelid = 'links'::regclass
        """
    )

    assert not {row["attname"] for row in indexed} & {"clicks", "humans", "bots"}
    assert await owner.fetchval("SELECT clicks_sorted FROM links") == 0
    assert await sort_clicked(links) == 3
    assert tuple(await owner.fetchrow("SELECT clicks_sorted, humans_sorted FROM links") or ()) == (6, 3)
    assert await sort_clicked(links) == 0
