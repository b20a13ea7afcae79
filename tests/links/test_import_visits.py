"""Visits come along with an import: of a YOURLS dump they are clicks of their days, and an undo takes them away again."""

from datetime import UTC, datetime, timedelta

from services.links.upkeep import erase_clicks, forget_visitors
from shared.postgres import Connection, open_pool
from tests.conftest import Database
from tests.links.click_data import CHROME, GOOGLEBOT
from tests.links.conftest import ClientOf
from tests.links.import_client import IMPORTS, bring, numbers, refused, wait_for

YESTERDAY = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
OLD = "2019-05-02 08:00:11"
TIMES = [OLD, OLD, f"{YESTERDAY:%Y-%m-%d %H:%M:%S}"]


def dump() -> bytes:
    """Two links, of one three visits of five clicks, of the other two visits of one click, and a visit of a deleted link."""
    visits = [
        (time, "promo", f"203.0.113.{number}", CHROME if number else GOOGLEBOT) for number, time in enumerate(TIMES)
    ]
    visits += [(OLD, "once", "203.0.113.9", CHROME)] * 2 + [(OLD, "gone", "203.0.113.9", CHROME)]
    log = ",\n".join(
        f"({number},'{time}','{code}','https://www.news.example/a','{agent.decode()}','{address}','FR')"
        for number, (time, code, address, agent) in enumerate(visits, 1)
    )
    return (
        "INSERT INTO `yourls_url` (`keyword`,`url`,`title`,`timestamp`,`ip`,`clicks`) VALUES\n"
        "('promo','https://www.example.com/?a=1','It\\'s on','2019-05-01 10:22:03','203.0.113.9',5),\n"
        "('once','https://www.example.com/','','2019-05-01 10:22:03','203.0.113.9',1);\n"
        f"INSERT INTO `yourls_log` VALUES\n{log};\n"
    ).encode()


async def test_visits_of_a_dump_are_clicks_of_their_days(
    client_with: ClientOf, links: Connection, database: Database
) -> None:
    """Totals stand, visits are on their days with what they tell, old ones without raw clicks; an undo leaves nothing."""
    client = await client_with("alice", "links:read", "links:write", "stats:read")
    done = await bring(client, dump(), filename="yourls.sql")
    again = await bring(client, dump(), filename="yourls.sql")
    of_link = (await client.get("/api/v1/links/promo")).json()
    old = {"from": "2019-05-02T00:00:00Z", "to": "2019-05-03T00:00:00Z"}
    stats = (await client.get("/api/v1/links/promo/stats", params=old)).json()
    recent = (await client.get("/api/v1/links/promo/stats")).json()
    clicks = (await client.get("/api/v1/links/promo/clicks")).json()["items"]

    assert numbers(done) | {"rows_read": 0} == {"rows_read": 0, "made": 2, "visits": 4, "notices": 1}
    assert [row["reason"][:8] for row in await refused(client, done["id"])] == ["1 visits"]
    assert (again["made"], again["found"], again["visits"]) == (0, 2, 0)
    assert (of_link["clicks"], of_link["imported_clicks"], of_link["humans"]) == (5, 5, 4)
    assert stats["totals"] == {"clicks": 2, "humans": 1, "bots": 1, "imported": 2, "unique_visitors": 2}
    assert [each["value"] for each in stats["dimensions"]["country"]["top"]] == ["FR"]
    assert [each["value"] for each in stats["dimensions"]["referrer"]["top"]] == ["news.example"]
    assert stats["undated"] == {"clicks": 2, "humans": 2, "bots": 0}
    assert (recent["totals"]["imported"], [each["imported"] for each in clicks]) == (1, [True])

    assert (await client.delete(f"{IMPORTS}/{done['id']}")).status_code == 202
    assert (await wait_for(client, done["id"], "undone"))["kept"] == 0
    async with open_pool(database.links_url, size=1, application="tests") as pool:
        await erase_clicks(pool)
        await forget_visitors(pool)
    for table in ("click_days", "click_chunks", "imported_visitors", "imported_keys", "imported_erased_spans"):
        assert await links.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    assert await links.fetchval("SELECT sum(humans + bots) FROM imported_undated") == 0
    assert [tuple(row) for row in await links.fetch("SELECT clicks, humans, bots, imported_clicks FROM links")] == [
        (0, 0, 0, 0)
    ] * 2

    back = await bring(client, dump(), filename="yourls.sql")
    assert (back["made"], back["visits"]) == (2, 4)
    assert (await client.get("/api/v1/links/promo/stats", params=old)).json()["totals"] == stats["totals"]


SHLINK_LINKS = (
    b'"createdAt","domain","shortCode","shortUrl","longUrl","title","tags","visits"\n'
    b'"2019-03-05T09:12:44+00:00","sho.rt","menu","https://sho.rt/menu","https://www.example.com/m","","",3'
)
SHLINK_VISITS = (
    b"date,potentialBot,userAgent,browser,os,referer,country,region,city,latitude,longitude,visitedUrl,type\n"
    b"2019-05-02T08:00:11+00:00,false,Mozilla/5.0,Firefox,Linux,Direct,France,,,,,https://sho.rt/menu,valid_short_url\n"
    b"2019-05-02T09:00:11+00:00,false,Mozilla/5.0,Firefox,Linux,Direct,France,,,,,https://sho.rt/menu?a=1,valid_short_url\n"
)


async def test_visits_come_in_a_file_of_their_own(client_with: ClientOf, links: Connection) -> None:
    """Visits find links that an earlier import of the source brought, once; undoing them takes their dates alone."""
    client = await client_with("alice", "links:read", "links:write", "stats:read")
    other = await client_with("bob", "links:read", "links:write", "stats:read")

    async def read() -> list[int]:
        day = {"from": "2019-05-02T00:00:00Z", "to": "2019-05-03T00:00:00Z"}
        stats = (await client.get("/api/v1/stats", params=day)).json()
        of_link = (await client.get("/api/v1/links/menu/stats", params=day)).json()
        totals = [stats["totals"]["clicks"], stats["undated"]["clicks"]]
        assert totals == [of_link["totals"]["clicks"], of_link["undated"]["clicks"]]
        return totals

    early = await bring(client, SHLINK_VISITS, filename="visits.csv")
    brought = await bring(client, SHLINK_LINKS, filename="short_urls.csv")
    others = await bring(other, SHLINK_VISITS, filename="visits.csv")
    before = await read()
    done = await bring(client, SHLINK_VISITS, filename="visits.csv")
    dated = await read()
    again = await bring(client, SHLINK_VISITS, filename="visits.csv")
    assert await read() == dated
    for each in (again, done):
        await client.delete(f"{IMPORTS}/{each['id']}")
        await wait_for(client, each["id"], "undone")
    undone = await read()
    back = await bring(client, SHLINK_VISITS, filename="visits.csv")
    redone = await read()
    link = (await client.get("/api/v1/links/menu")).json()

    assert [each["visits"] for each in (early, others, done, again, back)] == [0, 0, 2, 0, 2]
    assert [each["notices"] for each in (early, others, done, again, back)] == [1, 1, 0, 1, 0]
    assert "did not come" in (await refused(client, early["id"]))[0]["reason"]
    assert (before, dated, undone, redone) == ([0, 3], [2, 1], [0, 3], [2, 1])
    assert (link["clicks"], link["imported_clicks"]) == (3, 3)

    await client.delete(f"{IMPORTS}/{brought['id']}")
    await wait_for(client, brought["id"], "undone")
    assert await links.fetchval("SELECT sum(humans + bots) FROM imported_undated") == 0
    assert await links.fetchval("SELECT count(*) FROM click_days") == 0


async def test_replaced_link_keeps_the_clicks_of_another_source(client_with: ClientOf, links: Connection) -> None:
    """A link that came from elsewhere keeps that total when it is replaced, and when that is undone."""
    client = await client_with("alice", "links:read", "links:write", "stats:read")
    bitly = b"Bitlink,Title,Long URL,Created,Total Clicks\nsho.rt/menu,,https://www.example.com/b,2019-01-01T00:00:00+0000,7\n"
    first = await bring(client, bitly, filename="bitly.csv")
    second = await bring(client, SHLINK_LINKS, filename="short_urls.csv", on_conflict="replace")
    visits = await bring(client, SHLINK_VISITS, filename="visits.csv")
    replaced = (await client.get("/api/v1/links/menu")).json()
    await client.delete(f"{IMPORTS}/{second['id']}")
    await wait_for(client, second["id"], "undone")
    restored = (await client.get("/api/v1/links/menu")).json()

    assert (first["format"], second["replaced"], visits["visits"]) == ("bitly", 1, 2)
    assert (replaced["url"], replaced["clicks"]) == ("https://www.example.com/m", 7)
    assert (restored["url"], restored["clicks"]) == ("https://www.example.com/b", 7)
    assert await links.fetchval("SELECT sum(humans + bots) FROM imported_undated WHERE link_id = 0") == 5
