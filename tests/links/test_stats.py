"""Statistics: every number is what counting the clicks one by one gives, for any range, time zone and question."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.links.clicks.upkeep import delete_from_default
from services.links.packed.rows import delete_chunks
from services.links.stats.coverage import LARGEST_PART
from shared.api import UNKNOWN, Dimensions
from tests.conftest import Database
from tests.links.conftest import ClientOf, fields_at_fault
from tests.links.stats_data import DAYS, FIRST, STORES, Known, store_clicks, top_values, unique_visitors

ALICE1 = "/api/v1/links/alice1/stats"
ALL = "/api/v1/stats"

ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati")

quarters = st.integers(-200, DAYS * 96 + 200).map(lambda number: FIRST + timedelta(minutes=15 * number))
midnights = st.integers(-2, DAYS + 2).map(lambda number: FIRST + timedelta(days=number))
ranges = (
    st.tuples(quarters | midnights, quarters | midnights)
    .filter(lambda ends: ends[0] != ends[1])
    .map(lambda ends: (min(ends), max(ends)))
)
questions = st.fixed_dictionaries(
    {
        "interval": st.sampled_from(["hour", "day", "week", "month"]),
        "time_zone": st.sampled_from(ZONES),
        "bots": st.sampled_from(["include", "exclude", "only"]),
        "top": st.integers(1, 10),
    }
)


@pytest.fixture(params=STORES)
async def clicks(database: Database, request: pytest.FixtureRequest) -> list[Known]:
    """The same clicks, however they are stored."""
    return await store_clicks(database, STORES[request.param])


@pytest.fixture
async def reader(client_with: ClientOf, clicks: list[Known]) -> httpx.AsyncClient:
    """A client that reads the statistics of alice."""
    return await client_with("alice", "stats:read")


@pytest.fixture
async def admin(client_with: ClientOf, clicks: list[Known]) -> httpx.AsyncClient:
    return await client_with("root", "admin")


async def ask(client: httpx.AsyncClient, path: str, **params: Any) -> dict[str, Any]:
    """Ask for statistics; a range is `between=(since, until)`."""
    if between := params.pop("between", None):
        params |= {"from": between[0].isoformat(), "to": between[1].isoformat()}
    response = await client.get(path, params=params)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def check(stats: dict[str, Any], clicks: Sequence[Known], question: dict[str, Any]) -> None:
    """Check every number of an answer against the clicks that are in its range."""
    bots = question["bots"]
    wanted = [click for click in clicks if bots == "include" or click.is_bot == (bots == "only")]
    assert stats["totals"] == {
        "clicks": len(wanted),
        "humans": sum(not click.is_bot for click in clicks),
        "bots": sum(click.is_bot for click in clicks),
        "imported": sum(click.imported for click in wanted),
        "unique_visitors": unique_visitors(wanted) or (None if any(click.imported for click in wanted) else 0),
    }
    starts = [datetime.fromisoformat(each["start"]) for each in stats["series"]]
    for each, (start, end) in zip(
        stats["series"], pairwise([*starts, datetime.max.replace(tzinfo=starts[0].tzinfo)]), strict=True
    ):
        assert each["clicks"] == sum(start <= click.at < end for click in wanted)
        assert each["imported"] == sum(start <= click.at < end for click in wanted if click.imported)
        assert each["bots"] == sum(start <= click.at < end for click in clicks if click.is_bot)
        assert each["humans"] == sum(start <= click.at < end for click in clicks if not click.is_bot)
    assert list(stats["dimensions"]) == list(Dimensions._fields)
    for name, dimension in stats["dimensions"].items():
        assert [(each["value"], each["clicks"]) for each in dimension["top"]] == top_values(
            wanted, name, question["top"]
        )
        # Links without rules and splits have no variants.
        of, asked = (
            [click for click in some if name != "variant" or click.dimensions.variant != UNKNOWN]
            for some in (clicks, wanted)
        )
        for kind, number in (
            ("clicks", len(asked)),
            ("bots", sum(click.is_bot for click in of)),
            ("humans", sum(not click.is_bot for click in of)),
        ):
            assert sum(each[kind] for each in dimension["top"]) + dimension["other"][kind] == number


@given(between=ranges, question=questions)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_statistics_of_a_link_are_its_clicks(
    reader: httpx.AsyncClient, clicks: list[Known], between: tuple[datetime, datetime], question: dict[str, Any]
) -> None:
    """Totals, series, dimensions and visitors of a link are those of its clicks in the range."""
    stats = await ask(reader, ALICE1, between=between, **question)

    assert stats["dimensions_from"] == stats["from"]
    assert stats["dimensions_to"] == stats["to"]
    check(
        stats, [click for click in clicks if click.link == "alice1" and between[0] <= click.at < between[1]], question
    )


@given(between=ranges, question=questions)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_statistics_of_an_owner_are_those_of_the_links(
    reader: httpx.AsyncClient, clicks: list[Known], between: tuple[datetime, datetime], question: dict[str, Any]
) -> None:
    """Without a code everything is counted over all links of the caller, and nobody else's."""
    stats = await ask(reader, ALL, between=between, **question)

    check(
        stats, [click for click in clicks if click.owner == "alice" and between[0] <= click.at < between[1]], question
    )


@given(between=ranges, question=questions)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_an_admin_counts_everyones_clicks(
    admin: httpx.AsyncClient, clicks: list[Known], between: tuple[datetime, datetime], question: dict[str, Any]
) -> None:
    """A key with the scope admin counts the clicks of all links, or of an owner that it names."""
    of_all = await ask(admin, ALL, between=between, **question)
    of_bob = await ask(admin, ALL, between=between, owner="bob", **question)

    found = [click for click in clicks if between[0] <= click.at < between[1]]
    check(of_all, found, question)
    check(of_bob, [click for click in found if click.owner == "bob"], question)


async def test_range_is_widened_to_quarters_of_an_hour(reader: httpx.AsyncClient) -> None:
    """Clicks are counted by quarters of an hour; the answer says which range was counted."""
    stats = await ask(
        reader,
        ALICE1,
        between=(FIRST + timedelta(minutes=16), FIRST + timedelta(minutes=31)),
        time_zone="Europe/Berlin",
    )

    assert stats["from"] == "2026-10-20T02:15:00+02:00"
    assert stats["to"] == "2026-10-20T02:45:00+02:00"


async def test_the_last_thirty_days_are_counted_by_default(reader: httpx.AsyncClient) -> None:
    """Without a range it is today in the time zone and the 29 days before."""
    stats = await ask(reader, ALICE1, time_zone="Pacific/Kiritimati")
    zone = ZoneInfo("Pacific/Kiritimati")
    starts = [datetime.fromisoformat(each["start"]) for each in stats["series"]]

    assert len(starts) == 30
    assert starts[-1].date() == datetime.now(zone).date()
    assert stats["from"] == starts[0].isoformat()


async def test_without_clicks_everything_is_zero(client_with: ClientOf, database: Database) -> None:
    """Who has no clicks gets an answer of the same shape."""
    stats = await ask(await client_with("carol", "stats:read"), ALL)

    assert stats["totals"] == {"clicks": 0, "humans": 0, "bots": 0, "imported": 0, "unique_visitors": 0}
    assert {each["clicks"] for each in stats["series"]} == {0}
    assert all(each["top"] == [] for each in stats["dimensions"].values())


async def test_counts_stay_when_the_raw_clicks_are_gone(
    reader: httpx.AsyncClient, clicks: list[Known], database: Database
) -> None:
    """Where only the count of a whole day was kept, the dimensions are those of the day, and the answer says so."""
    conn = await asyncpg.connect(database.links_url)
    before = (FIRST + timedelta(days=5)).date()
    assert await delete_from_default(conn, before) + len(await delete_chunks(conn, before))
    await conn.close()
    between = (FIRST + timedelta(days=1, hours=7), FIRST + timedelta(days=7, hours=7))
    stats = await ask(reader, ALICE1, between=between)

    mine = [click for click in clicks if click.link == "alice1"]
    assert stats["totals"]["clicks"] == sum(between[0] <= click.at < between[1] for click in mine)
    assert stats["dimensions_from"] == "2026-10-21T00:00:00Z"
    assert stats["dimensions_to"] == stats["to"]
    covered = [click for click in mine if FIRST + timedelta(days=1) <= click.at < between[1]]
    country = stats["dimensions"]["country"]
    assert sum(each["clicks"] for each in country["top"]) + country["other"]["clicks"] == len(covered)
    assert stats["totals"]["unique_visitors"] == unique_visitors(covered)


async def test_a_very_large_part_of_a_day_is_the_whole_day(client_with: ClientOf, database: Database) -> None:
    """A part with more clicks than are counted one by one is not: the dimensions are those of the day, and say so."""
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute(
        """
        INSERT INTO clicks (clicked_at, link_id, owner, visitor, is_bot, country, browser, os, device, referrer, language)
        SELECT $1::timestamptz + CASE WHEN n = 0 THEN interval '0' ELSE interval '13 hours' END, 1, 'alice', '', false,
               'DE', 'Firefox', 'Linux', 'desktop', 'direct', 'de'
        FROM generate_series(0, $2::integer) AS n
        """,
        FIRST,
        LARGEST_PART + 1,
    )
    await conn.execute(
        """
        INSERT INTO click_totals_by_owner (owner, slot, is_bot, clicks)
        SELECT owner, clicked_at, is_bot, count(*) FROM clicks GROUP BY owner, clicked_at, is_bot
        """
    )
    await conn.execute(
        """
        INSERT INTO click_dimensions_by_owner (owner, day, dimension, value, is_bot, clicks)
        SELECT owner, '2026-10-20', 'country', country, is_bot, count(*) FROM clicks GROUP BY owner, country, is_bot
        """
    )
    reader = await client_with("alice", "stats:read")
    large = await ask(reader, ALL, between=(FIRST + timedelta(hours=12), FIRST + timedelta(hours=36)))
    await conn.execute("DELETE FROM clicks WHERE ctid = (SELECT ctid FROM clicks WHERE clicked_at > $1 LIMIT 1)", FIRST)
    await conn.execute("UPDATE click_totals_by_owner SET clicks = clicks - 1 WHERE slot > $1", FIRST)
    smaller = await ask(reader, ALL, between=(FIRST + timedelta(hours=12), FIRST + timedelta(hours=36)))
    await conn.close()

    assert large["totals"]["clicks"] == LARGEST_PART + 1
    assert large["dimensions_from"] == "2026-10-20T00:00:00Z"
    assert large["dimensions"]["country"]["top"][0]["clicks"] == LARGEST_PART + 2
    assert smaller["dimensions_from"] == smaller["from"]
    assert smaller["dimensions"]["country"]["top"][0]["clicks"] == LARGEST_PART


async def test_csv_has_the_same_numbers(reader: httpx.AsyncClient) -> None:
    """With `Accept: text/csv` every number of the JSON is a row, and no cell is a formula."""
    params: dict[str, Any] = {"from": FIRST.isoformat(), "to": (FIRST + timedelta(days=DAYS)).isoformat(), "top": 3}
    stats = (await reader.get(ALICE1, params=params)).json()
    response = await reader.get(ALICE1, params=params, headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(response.text)))

    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["vary"] == "Accept"
    assert rows[0]["section"] == "total"
    assert int(rows[0]["clicks"]) == stats["totals"]["clicks"] > 0
    assert int(rows[1]["clicks"]) == stats["totals"]["unique_visitors"]
    assert [int(row["clicks"]) for row in rows if row["section"] == "series"] == [
        each["clicks"] for each in stats["series"]
    ]
    for name, dimension in stats["dimensions"].items():
        values = [(row["value"], int(row["clicks"])) for row in rows if row["section"] == name]
        assert [number for _, number in values] == [
            *(each["clicks"] for each in dimension["top"]),
            dimension["other"]["clicks"],
        ]
        assert values[-1][0] == ""
    assert not any(row["value"].startswith("=") for row in rows)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-10-20T00:00:00"}, "from"),
        ({"from": "2026-10-20T00:00:00Z", "to": "2026-10-19T00:00:00Z"}, "from"),
        ({"from": "2199-01-01T00:00:00Z"}, "from"),
        ({"from": "2001-01-01T00:00:00Z", "interval": "hour"}, "interval"),
        ({"interval": "year"}, "interval"),
        ({"time_zone": "Mars/Olympus_Mons"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"time_zone": "Europe"}, "time_zone"),
        ({"bots": "no"}, "bots"),
        ({"top": 0}, "top"),
        ({"top": 101}, "top"),
        ({"since": "2026-10-20T00:00:00Z"}, "since"),
        ({"owner": "a\0b"}, "owner"),
    ],
)
async def test_bad_questions_name_the_field(client_with: ClientOf, params: dict[str, Any], field: str) -> None:
    """A question that cannot be answered names what is wrong with it."""
    response = await (await client_with("carol", "stats:read")).get(ALL, params=params)

    assert fields_at_fault(response) == {field}


async def test_statistics_of_others_look_like_none(
    reader: httpx.AsyncClient, client_with: ClientOf, database: Database
) -> None:
    """Another owner's link is not found, another owner's sum is refused, and the scope is needed."""
    unscoped = await client_with("alice", "links:read", "links:write")

    for path in ("/api/v1/links/bob1/stats", "/api/v1/links/bob1/clicks", "/api/v1/links/nothing/stats"):
        assert (await reader.get(path)).status_code == 404
    assert (await reader.get(ALL, params={"owner": "bob"})).status_code == 403
    for path in (ALICE1, ALL, "/api/v1/links/alice1/clicks", "/api/v1/stats/recent?link=alice1"):
        assert (await unscoped.get(path)).status_code == 403
    assert (await reader.get(ALICE1, headers={"Accept": "image/png"})).status_code == 406


async def test_recent_counts_are_those_of_the_days(client_with: ClientOf, database: Database) -> None:
    """The clicks of the last days come by link, also of another domain; links of others are left out."""
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute(
        """
        INSERT INTO links (domain, code, owner, url) VALUES
            ('sho.rt', 'mine', 'alice', 'https://example.com/'), ('go.example.org', 'mine', 'alice', 'https://example.com/'),
            ('sho.rt', 'hers', 'bob', 'https://example.com/')
        """
    )
    await conn.execute(
        """
        INSERT INTO click_totals_by_link (link_id, slot, is_bot, clicks)
        SELECT id, date_trunc('day', now(), 'UTC') - ago * interval '1 day', is_bot, 10 * (ago + 1) + is_bot::integer
        FROM links CROSS JOIN generate_series(0, 3) AS ago CROSS JOIN (VALUES (false), (true)) AS kinds (is_bot)
        WHERE domain = 'sho.rt'
        """
    )
    await conn.close()
    reader = await client_with("alice", "stats:read")
    asked: dict[str, Any] = {
        "link": ["mine", "go.example.org/mine", "hers", "nothing", "a/b/c", "a\0b"],
        "days": 3,
        "bots": "exclude",
    }
    response = await reader.get("/api/v1/stats/recent", params=asked)

    body = response.json()
    assert len(body["days"]) == 3
    assert sorted(body["items"], key=lambda item: item["domain"]) == [
        {"domain": "go.example.org", "code": "mine", "clicks": [0, 0, 0]},
        {"domain": "sho.rt", "code": "mine", "clicks": [30, 20, 10]},
    ]
    assert fields_at_fault(await reader.get("/api/v1/stats/recent")) == {"link"}
    assert fields_at_fault(await reader.get("/api/v1/stats/recent", params={"link": ["x"] * 101})) == {"link"}
