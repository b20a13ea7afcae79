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
