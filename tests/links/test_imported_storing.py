"""What links bring along: totals that stand, visitors without addresses, limits, erasing, and other work at the same time."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from deploy.command.retention import drop_old_clicks
from services.links.clicks.enrichment import Enricher
from services.links.clicks.packing import pack_clicks
from services.links.clicks.rows import insert_clicks
from services.links.clicks.upkeep import recount_noted
from services.links.imported.batches import ImportedBatch, ImportedTotal, total_columns
from services.links.imported.keys import VisitorKey, close_visitor_key, open_visitor_key
from services.links.imported.storing import store_imported
from services.links.imported.visits import VisitReader
from services.links.packed.erasing import erase_some
from services.links.packed.merging import merge_some
from services.links.packed.taking import take_imported
from services.links.sources.found import FoundCounts, FoundVisit
from services.links.upkeep import erase_clicks, forget_visitors
from shared.api import UNKNOWN, Dimensions
from shared.postgres import Connection, open_pool
from tests.conftest import Database
from tests.links.click_data import CHROME, GOOGLEBOT, IPHONE, click, make_links, take
from tests.links.conftest import ClientOf
from tests.links.imported_data import TODAY, UNKNOWN_VALUES, Moved, check_numbers, move_in
from tests.links.packed_data import select_raw
from tests.links.stats_data import FIRST, Known

ADDRESS = "198.51.100.77"
KEY = VisitorKey(1, b"k" * 32)
BETWEEN = {"from": FIRST.isoformat(), "to": (FIRST + timedelta(days=2)).isoformat()}


@pytest.fixture
async def admin(client_with: ClientOf) -> httpx.AsyncClient:
    return await client_with("root", "admin")


@pytest.fixture
async def moved(links: Connection) -> Moved:
    """An owner with three links."""
    return await move_in(links)


def visit(link: str, *, day: int = 0, hour: int = 12, is_bot: bool = False, visitor: int | None = None) -> Known:
    at = FIRST + timedelta(days=day, hours=hour)
    return Known(at, link, "", visitor, is_bot, UNKNOWN_VALUES, imported=True)


def found(**known: object) -> FoundVisit:
    return FoundVisit(**{"line": 1, "code": "a", "at": FIRST, **known})  # type: ignore[arg-type]


async def test_total_of_the_source_stands(admin: httpx.AsyncClient, moved: Moved) -> None:
    """Of more visits than the total the last ones are left out; of fewer, the rest is without a date, and shown as that."""
    await moved.bring({"1": (3, None), "2": (3, None)})
    stored = await moved.bring(visits=[visit("1", hour=hour) for hour in range(5)] + [visit("2")])
    again = await moved.bring(visits=[visit("1"), visit("2")])
    stats = [(await admin.get(moved.path(name, "stats"), params=BETWEEN)).json() for name in ("1", "2", "3")]
    of_all = (await admin.get("/api/v1/stats", params={"owner": moved.owner, **BETWEEN})).json()

    assert (stored.dated, stored.surplus, stored.undated) == (4, 2, 0)
    assert (again.dated, again.surplus) == (1, 1)
    assert [(each["totals"]["clicks"], each["totals"]["imported"]) for each in stats] == [(3, 3), (2, 2), (0, 0)]
    assert [each["undated"]["clicks"] for each in [*stats, of_all]] == [0, 1, 0, 1]
    assert [each["start"] for each in stats[0]["series"] if each["clicks"]] == ["2026-10-20T00:00:00Z"]
    await check_numbers(moved)


async def test_total_is_in_the_link_and_told_apart(client_with: ClientOf, moved: Moved) -> None:
    """`clicks` are own and imported ones, `imported_clicks` the second; lists are sorted by both, and exports have them."""
    await moved.bring({"1": (10, 4), "2": (0, None)})
    await moved.click([replace(visit("1"), imported=False)], pack_clicks)
    client = await client_with(moved.owner)
    of_link = (await client.get(moved.path("1", "").rstrip("/"))).json()
    lines = (await client.get("/api/v1/exports")).text.splitlines()

    assert {name: of_link[name] for name in ("clicks", "humans", "imported_clicks")} == {
        "clicks": 11,
        "humans": 7,
        "imported_clicks": 10,
    }
    assert lines[0].count("imported_clicks") == 1
    assert len(lines) == 4


async def test_links_may_be_inserted_with_their_totals(admin: httpx.AsyncClient, moved: Moved) -> None:
    """A link whose row has its total already gets nothing more, its owner does, and its visits find room."""
    total = ImportedTotal(0, moved.owner, 5, bots=2, in_row=True)
    columns = total_columns(total)
    async with moved.conn.transaction():
        link = await moved.conn.fetchval(
            f"INSERT INTO links (domain, code, owner, url, {', '.join(columns)}) "
            f"VALUES ('sho.rt', $1 || '4', $1, 'https://www.example.com/', {', '.join(map(str, columns.values()))}) "
            "RETURNING id",
            moved.owner,
        )
        batch = ImportedBatch([replace(total, link_id=link)])
        await store_imported(moved.conn, batch, today=TODAY, kept_days=0)
    moved.links["4"], moved.left["4"] = link, 5
    await moved.bring(visits=[visit("4"), visit("4", is_bot=True)])
    stats = (await admin.get(moved.path("4", "stats"), params=BETWEEN)).json()

    assert (stats["totals"]["clicks"], stats["undated"]) == (2, {"clicks": 3, "humans": 2, "bots": 1})
    await check_numbers(moved)


async def test_visits_know_better_who_came(moved: Moved) -> None:
    """Where the source tells fewer bots, or people, than its visits are, the visits count, and the total stays."""
    await moved.bring({"1": (4, None), "2": (4, 4)})
    await moved.bring(visits=[visit("1", is_bot=True)] * 3 + [visit("2")] * 3)
    rows = await moved.conn.fetch(
        "SELECT clicks, humans, bots, imported_humans FROM links WHERE owner = $1 ORDER BY id LIMIT 2", moved.owner
    )

    assert [tuple(row) for row in rows] == [(4, 1, 3, 1), (4, 3, 1, 3)]
    await check_numbers(moved)


async def test_clicks_of_a_date_that_cannot_be_stay_without_one(moved: Moved) -> None:
    """What a database writes for no date, and what is not yet, is no day of statistics."""
    await moved.bring({"1": (9, None)})
    strange = [datetime(1970, 1, 1, tzinfo=UTC), datetime(1999, 12, 31, tzinfo=UTC), FIRST + timedelta(days=100)]
    batch = ImportedBatch(
        visits=[VisitReader(Enricher(), None).read(moved.links["1"], moved.owner, found(at=at)) for at in strange]
    )
    async with moved.conn.transaction():
        stored = await store_imported(moved.conn, batch, today=TODAY, kept_days=0)

    assert (stored.dated, stored.undated, stored.surplus) == (0, 3, 0)
    await check_numbers(moved)


async def test_visitors_are_null_without_addresses_and_once_with(admin: httpx.AsyncClient, moved: Moved) -> None:
    """A visitor counts once a day for a link and for its owner, however batches are cut; without addresses nobody knows."""
    await moved.bring({"1": (9, None), "2": (9, None), "3": (9, None)})
    await moved.bring(visits=[visit("1", visitor=1), visit("2", visitor=1), visit("1", visitor=2, hour=13), visit("3")])
    await moved.bring(visits=[visit("1", visitor=1, hour=23), visit("1", visitor=1, day=1), visit("1")])
    stats = [(await admin.get(moved.path(name, "stats"), params=BETWEEN)).json()["totals"] for name in "123"]
    of_all = (await admin.get("/api/v1/stats", params={"owner": moved.owner, **BETWEEN})).json()["totals"]

    assert [each["unique_visitors"] for each in stats] == [3, 1, None]
    assert of_all["unique_visitors"] == 3
    await moved.click([replace(visit("3", visitor=7), imported=False)], pack_clicks)
    mixed = (await admin.get(moved.path("3", "stats"), params=BETWEEN)).json()["totals"]
    alone = (await admin.get(moved.path("3", "stats"), params={**BETWEEN, "imported": "only"})).json()["totals"]
    assert (mixed["unique_visitors"], alone["unique_visitors"]) == (1, None)


async def test_nothing_of_an_address_is_left(
    moved: Moved, owner: Connection, database: Database, enricher: Enricher
) -> None:
    """No table ever has an address; with the import's end its key goes, and upkeep deletes who was seen."""
    import_id = uuid4()
    key = await open_visitor_key(moved.conn, import_id)
    again = await open_visitor_key(moved.conn, import_id)
    reader = VisitReader(enricher, key)
    visits = [reader.read(moved.links["1"], moved.owner, found(address=ADDRESS, user_agent=CHROME.decode()))]
    await moved.bring({"1": (9, None)})
    async with moved.conn.transaction():
        await store_imported(moved.conn, ImportedBatch(visits=visits, key=key), today=TODAY, kept_days=0)
    tables = [row[0] for row in await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    texts = [str([dict(row) for row in await owner.fetch(f"SELECT * FROM {table}")]) for table in tables]

    assert again == key
    assert visits[0].visitor is not None
    assert not [text for text in texts if ADDRESS in text]
    assert await owner.fetchval("SELECT count(*) FROM imported_visitors") == 2
    await close_visitor_key(moved.conn, import_id)
    async with open_pool(database.links_url, size=1, application="tests") as pool:
        await forget_visitors(pool)
    assert await owner.fetchval("SELECT count(*) FROM imported_visitors") == 0
    assert [
        tuple(row) for row in await owner.fetch("SELECT import_id FROM imported_keys WHERE number = $1", key.number)
    ] == []
    assert await owner.fetchval("SELECT count(*) FROM imported_keys") == 1


def test_visits_are_read_as_own_clicks_are(enricher: Enricher) -> None:
    """Agent, referrer and address tell the same as of a click; what the source tells instead is taken, the rest is unknown."""
    reader = VisitReader(enricher, KEY)
    rows = {
        "agent": found(user_agent=IPHONE.decode(), referrer="https://www.news.example/a?b", country="fr"),
        "bot": found(user_agent=GOOGLEBOT.decode(), referrer="direct", country="France"),
        "families": found(browser="Firefox\x00", os="Linux", referrer="news.example", is_bot=False),
        "no bot": found(user_agent=GOOGLEBOT.decode(), is_bot=False),
        "empty agent": found(user_agent=""),
        "nothing": found(),
    }
    clicks = {name: reader.read(1, "alice", row) for name, row in rows.items()}

    assert {name: each.is_bot for name, each in clicks.items()} == {
        "agent": False,
        "bot": True,
        "families": False,
        "no bot": False,
        "empty agent": True,
        "nothing": False,
    }
    assert clicks["agent"].dimensions == Dimensions("FR", "Mobile Safari", "iOS", "mobile", "news.example", UNKNOWN)
    assert clicks["bot"].dimensions[0] == clicks["bot"].dimensions[4] == UNKNOWN
    assert clicks["families"].dimensions == UNKNOWN_VALUES._replace(
        browser="Firefox", os="Linux", referrer="news.example"
    )
    assert clicks["nothing"].dimensions == UNKNOWN_VALUES
    assert {each.visitor for each in clicks.values()} == {None}


def test_visitors_of_two_days_are_not_told_to_be_one(enricher: Enricher) -> None:
    """The same address and agent is one visitor on a day, another one on the next, and yet another of another import."""
    some = [found(address=ADDRESS, user_agent="a", at=FIRST + timedelta(hours=hours)) for hours in (0, 23, 24)]
    one, same, next_day = [VisitReader(enricher, KEY).read(1, "alice", each).visitor for each in some]
    other = VisitReader(enricher, VisitorKey(2, b"x" * 32)).read(1, "alice", some[0]).visitor

    assert one == same
    assert len({one, next_day, other}) == 3


async def test_counts_of_an_hour_and_of_a_day_stand_in_them(admin: httpx.AsyncClient, moved: Moved) -> None:
    """An hour's clicks are at its beginning, a day's at noon: on the same date in Honolulu and in Tokyo."""
    await moved.bring({"1": (9, None)})
    counts = [
        ("1", FoundCounts(1, "a", FIRST + timedelta(hours=7), 2, is_hour=True)),
        ("1", FoundCounts(2, "a", FIRST + timedelta(days=1), 3, values={"browser": {"Chrome": 2}, "region": {"x": 1}})),
    ]
    await moved.bring(counts=counts)
    hours = (await admin.get(moved.path("1", "stats"), params={**BETWEEN, "interval": "hour"})).json()
    days = []
    for zone in ("Pacific/Honolulu", "UTC", "Asia/Tokyo"):
        params = {"from": (FIRST - timedelta(days=1)).isoformat(), "to": (FIRST + timedelta(days=3)).isoformat()}
        stats = (await admin.get(moved.path("1", "stats"), params=params | {"time_zone": zone})).json()
        days.append([each["start"][:10] for each in stats["series"] if each["clicks"] == 3])

    assert [(each["start"], each["clicks"]) for each in hours["series"] if each["clicks"]] == [
        ("2026-10-20T07:00:00Z", 2),
        ("2026-10-21T12:00:00Z", 3),
    ]
    assert days == [["2026-10-21"]] * 3
    assert hours["dimensions"]["browser"]["top"] == [
        {"value": "unknown", "clicks": 3, "humans": 3, "bots": 0},
        {"value": "Chrome", "clicks": 2, "humans": 2, "bots": 0},
    ]


async def test_erasing_takes_imported_clicks_too(client_with: ClientOf, moved: Moved, database: Database) -> None:
    """`DELETE` of a link's clicks takes own and imported ones, with and without a date, and those of no other link."""
    await moved.bring({"1": (5, None), "2": (5, 1)})
    visits = [visit(link, day=day, visitor=day) for link in ("1", "2") for day in range(3)]
    await moved.bring(visits=visits)
    for store in (insert_clicks, pack_clicks):
        await moved.click([replace(each, imported=False) for each in visits], store)
    client = await client_with(moved.owner, "stats:read", "links:write", "links:read")
    assert (await client.delete(moved.path("1", "clicks"))).status_code == 202
    async with open_pool(database.links_url, size=1, application="tests") as pool:
        await erase_clicks(pool)
    moved.clicks = [each for each in moved.clicks if each.link != "1"]
    moved.left["1"] = 0
    await check_numbers(moved)
    params = {"from": FIRST.isoformat(), "to": (FIRST + timedelta(days=4)).isoformat()}
    of_all = (await client.get("/api/v1/stats", params=params)).json()

    assert (await client.get(moved.path("1", "clicks"))).json()["items"] == []
    assert {each.link_id for each in await select_raw(moved.conn)} == {moved.links["2"]}
    assert [each["imported"] for each in (await client.get(moved.path("2", "clicks"))).json()["items"]].count(True) == 3
    assert (of_all["totals"]["clicks"], of_all["totals"]["imported"], of_all["undated"]["clicks"]) == (9, 3, 2)
    assert (await client.delete("/api/v1/clicks")).status_code == 202
    async with open_pool(database.links_url, size=1, application="tests") as pool:
        await erase_clicks(pool)
    gone = (await client.get("/api/v1/stats", params=params)).json()
    assert gone["totals"] == {"clicks": 0, "humans": 0, "bots": 0, "imported": 0, "unique_visitors": 0}
    assert gone["undated"]["clicks"] == 0


async def test_undone_and_imported_again_is_as_before(admin: httpx.AsyncClient, moved: Moved) -> None:
    """What an undo leaves is as if nothing had been imported: the same import finds room again, and counts once."""
    for in_row in (False, True):
        if in_row:
            # As a link that is revived.
            total = ImportedTotal(moved.links["1"], moved.owner, 3, in_row=True)
            assigned = ", ".join(f"{name} = {value}" for name, value in total_columns(total).items())
            await moved.conn.execute(f"UPDATE links SET {assigned} WHERE id = $1", moved.links["1"])
            async with moved.conn.transaction():
                await store_imported(moved.conn, ImportedBatch([total]), today=TODAY, kept_days=0)
            moved.left["1"] = 3
        else:
            await moved.bring({"1": (3, None)})
        stored = await moved.bring(visits=[visit("1", day=day, visitor=None) for day in range(4)])
        assert (stored.dated, stored.surplus) == (3, 1)
        stats = (await admin.get(moved.path("1", "stats"), params=BETWEEN)).json()
        assert (stats["totals"]["clicks"], stats["undated"]["clicks"]) == (2, 0)
        await moved.take_back(["1"], step_days=3)
        await check_numbers(moved)
        while await erase_some(moved.conn):
            pass

    for table in ("click_days", "click_chunks"):
        assert await moved.conn.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_retention_drops_raw_imported_clicks(admin: httpx.AsyncClient, moved: Moved, database: Database) -> None:
    """Imported clicks past the retention go as own ones do, and their counts stay; those from before are never stored raw."""
    await moved.bring({"1": (9, None)})
    await moved.bring(visits=[visit("1", day=day) for day in (0, 5, 9)])
    moved.kept_days = 3
    await moved.bring(visits=[visit("1", day=day) for day in (0, 5, 9)])
    before = (await admin.get(moved.path("1", "clicks"))).json()["items"]
    await drop_old_clicks(database.links_url, 3, TODAY)
    after = (await admin.get(moved.path("1", "clicks"))).json()["items"]
    params = {"from": FIRST.isoformat(), "to": (FIRST + timedelta(days=12)).isoformat()}
    stats = (await admin.get(moved.path("1", "stats"), params=params)).json()

    assert [each["clicked_at"][:10] for each in before] == ["2026-10-29", "2026-10-29", "2026-10-25", "2026-10-20"]
    assert [each["clicked_at"][:10] for each in after] == ["2026-10-29", "2026-10-29"]
    assert stats["totals"]["imported"] == 6


async def test_recount_keeps_imported_people(moved: Moved) -> None:
    """Where humans are counted anew, those that were imported stay, with a date and without."""
    await moved.bring({"1": (5, 1)})
    await moved.bring(visits=[visit("1")])
    await moved.click([replace(visit("1"), imported=False)], pack_clicks)
    await moved.conn.execute("UPDATE links SET humans = 0, bots = 0 WHERE id = $1", moved.links["1"])
    await moved.conn.execute("UPDATE links SET clicks = clicks WHERE id = $1", moved.links["1"])
    await recount_noted(moved.conn)

    row = await moved.conn.fetchrow("SELECT clicks, humans, bots FROM links WHERE id = $1", moved.links["1"])
    assert tuple(row or ()) == (6, 5, 1)


async def test_imports_clicks_and_undo_at_once_do_not_deadlock(database: Database, enricher: Enricher) -> None:
    """Own clicks of the same links, imports, an undo, erasing and merging at once: all are done, and each click is there."""
    async with open_pool(database.links_url, size=12, application="tests") as pool:
        ids = await make_links(pool, 20)  # type: ignore[arg-type]  # it has `fetch`
        at = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC) - timedelta(hours=1)
        reader = VisitReader(enricher, None)

        async def send(number: int) -> None:
            async with pool.acquire() as conn:
                for n in range(10):
                    order = ids[::-1] if (number + n) % 2 else ids
                    clicks = [click(link, at=at.timestamp()) for link in order]
                    await take(conn, enricher, clicks, store=(pack_clicks, insert_clicks)[number % 2])

        async def bring(number: int) -> None:
            for n in range(10):
                order = ids[::-1] if (number + n) % 2 else ids
                visits = [reader.read(link, "alice", found(at=at, user_agent=CHROME.decode())) for link in order]
                batch = ImportedBatch([ImportedTotal(link, "alice", 2) for link in order], visits)
                async with pool.acquire() as conn, conn.transaction():
                    await store_imported(conn, batch, today=TODAY, kept_days=0)

        async def work() -> None:
            for n in range(20):
                async with pool.acquire() as conn:
                    await merge_some(conn, TODAY)
                    await erase_some(conn)
                    async with conn.transaction():
                        await take_imported(conn, ids[:5] if n % 2 else ids[4::-1], step_days=3)

        await asyncio.gather(*(send(n) for n in range(4)), *(bring(n) for n in range(3)), work())
        async with pool.acquire() as conn:
            while await take_imported(conn, ids[:5]) or await erase_some(conn):
                pass
            rows = await conn.fetch("SELECT clicks, imported_clicks FROM links ORDER BY id")
            days = await conn.fetchval("SELECT sum(humans) FROM click_days WHERE format < 0 AND owner = 'alice'")
            undated = await conn.fetchval("SELECT humans FROM imported_undated WHERE owner = 'alice'")
            deadlocks = await conn.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = $1", database.name)

    assert [tuple(row) for row in rows] == [(40, 0)] * 5 + [(100, 60)] * 15
    assert (days, undated) == (15 * 30, 15 * 30)
    assert deadlocks == 0
