"""Shlink's visits: the raw clicks, however they are stored, with an agent and a country for its client to read."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest

from services.links.compat.shlink.agents import typical_agent
from services.links.compat.shlink.objects import write_date
from shared.country_names import country_name
from tests.compat.conftest import KeyOf
from tests.compat.shlink import Shlink
from tests.conftest import Database
from tests.links.stats_data import STORES, Known, store_clicks

VISITS = "/short-urls/alice1/visits"


@pytest.fixture(params=STORES)
async def clicks(database: Database, request: pytest.FixtureRequest) -> list[Known]:
    """Clicks of three links of alice and of three of bob, however they are stored; the newest first."""
    stored = await store_clicks(database, STORES[request.param])
    return sorted(stored, key=lambda click: click.at, reverse=True)


@pytest.fixture
async def shlink(foreign: httpx.AsyncClient, key_of: KeyOf, clicks: list[Known]) -> Shlink:
    return Shlink(foreign, await key_of("alice", "links:read", "links:write", "stats:read"))


def told(click: Known) -> tuple[object, ...]:
    dimensions = click.dimensions
    agent = typical_agent(dimensions.browser, dimensions.os, dimensions.device, is_bot=click.is_bot)
    country = None if dimensions.country == "unknown" else country_name(dimensions.country)
    referrer = "" if dimensions.referrer == "direct" else f"https://{dimensions.referrer}"
    return write_date(click.at), click.is_bot, agent, country, referrer, f"https://sho.rt/{click.link}"


def read(visits: Sequence[dict[str, Any]]) -> list[tuple[object, ...]]:
    return [
        (
            each["date"],
            each["potentialBot"],
            each["userAgent"],
            each["visitLocation"] and each["visitLocation"]["countryName"],
            each["referer"],
            each["visitedUrl"],
        )
        for each in visits
    ]


def wanted(clicks: Sequence[Known]) -> list[tuple[object, ...]]:
    return [told(click) for click in clicks]


def same(visits: Sequence[dict[str, Any]], clicks: Sequence[Known]) -> None:
    """The visits are these clicks, the newest first; those of one moment are in any order."""
    found, expected = read(visits), wanted(clicks)

    assert [each[0] for each in found] == [each[0] for each in expected]
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


async def test_visits_of_a_link_are_its_clicks(shlink: Shlink, clicks: list[Known]) -> None:
    """Without numbers all visits are one page; with them pages hold each click once, and the numbers are right."""
    mine = [click for click in clicks if click.link == "alice1"]
    everything = (await shlink.read(VISITS))["visits"]
    pages: list[dict[str, Any]] = []
    for page in range(1, -(-len(mine) // 100) + 1):
        asked = (await shlink.read(VISITS, params={"page": page, "itemsPerPage": 100}))["visits"]
        pages += asked["data"]
        assert asked["pagination"]["pagesCount"] == -(-len(mine) // 100)

    same(everything["data"], mine)
    assert pages == everything["data"]
    assert everything["pagination"]["totalItems"] == everything["pagination"]["itemsPerPage"] == len(mine)
    assert everything["data"][0]["redirectUrl"].startswith("https://")
    assert (await shlink.read(VISITS, params={"page": 99, "itemsPerPage": 100}))["visits"]["data"] == []


async def test_visits_are_restricted(shlink: Shlink, clicks: list[Known]) -> None:
    """A range holds both its ends, to the second, and bots are left out wherever `excludeBots` stands, whatever it says."""
    mine = [click for click in clicks if click.link == "alice1"]
    since, until = mine[-20].at, mine[20].at
    dates = {"startDate": write_date(since), "endDate": write_date(until)}
    within = (await shlink.read(VISITS, params=dates))["visits"]["data"]
    people = (await shlink.read(f"{VISITS}?excludeBots=false"))["visits"]["data"]

    same(within, [click for click in mine if since <= click.at < until + timedelta(seconds=1)])
    same(people, [click for click in mine if not click.is_bot])
    await shlink.refused("invalid-data", 400, "GET", f"{VISITS}?startDate=x", {"invalidElements": ["startDate"]})


@pytest.mark.parametrize("path", [VISITS, "/visits/non-orphan", "/visits/orphan", "/short-urls"])
async def test_range_may_be_all_time(shlink: Shlink, path: str) -> None:
    """The first and the last moment that there are mean no bound, as some clients spell it."""
    for since, until in (("0001-01-01", "9999-12-31T23:59:59"), ("9999-12-31T23:59:59", "0001-01-01")):
        (page,) = (await shlink.read(path, params={"startDate": since, "endDate": until})).values()
        (everything,) = (await shlink.read(path)).values()

        assert page["pagination"]["totalItems"] == (everything["pagination"]["totalItems"] if since < until else 0)


async def test_visits_of_many_links(shlink: Shlink, clicks: list[Known], alice: httpx.AsyncClient) -> None:
    """Those of a tag, a domain and an owner are the clicks of his links; another owner's are in no list."""
    mine = [click for click in clicks if click.owner == "alice"]
    for code in ("alice1", "alice2"):
        assert (await alice.patch(f"/api/v1/links/{code}", json={"tags": ["t g"]})).status_code == 200
    tagged = [click for click in mine if click.link != "alice3"]

    same((await shlink.read("/tags/t%20g/visits"))["visits"]["data"], tagged)
    same((await shlink.read("/visits/non-orphan"))["visits"]["data"], mine)
    same((await shlink.read("/domains/DEFAULT/visits"))["visits"]["data"], mine)
    same((await shlink.read("/visits/non-orphan?domain=sho.rt&itemsPerPage=7"))["visits"]["data"], mine[:7])
    assert (await shlink.read("/domains/go.example.org/visits"))["visits"]["data"] == []
    assert (await shlink.read("/tags/t%20g/visits?domain=go.example.org"))["visits"]["data"] == []
    overview = (await shlink.read("/visits"))["visits"]["nonOrphanVisits"]
    bots = sum(click.is_bot for click in mine)
    assert overview == {"total": len(mine), "nonBots": len(mine) - bots, "bots": bots}
    stats = (await shlink.read("/tags/stats"))["tags"]["data"]
    assert stats[0]["visitsSummary"]["total"] == len(tagged)


async def test_admin_sees_all_visits(
    clicks: list[Known], foreign: httpx.AsyncClient, key_of: KeyOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An admin's list has everyone's, also where the links are too many to be named."""
    admin = Shlink(foreign, await key_of("root", "admin"))
    same((await admin.read("/visits/non-orphan"))["visits"]["data"], clicks)
    for module in ("visits", "tag_rows"):
        monkeypatch.setattr(f"services.links.compat.shlink.{module}.MOST_CLICKED", 2)
    same((await admin.read("/visits/non-orphan"))["visits"]["data"], clicks)
    owner = Shlink(foreign, await key_of("bob", "links:read", "stats:read"))

    same(
        (await owner.read("/visits/non-orphan"))["visits"]["data"], [click for click in clicks if click.owner == "bob"]
    )


async def test_newest_visits_are_listed(shlink: Shlink, clicks: list[Known], monkeypatch: pytest.MonkeyPatch) -> None:
    """A list reaches back as far as the bound, whatever is asked for."""
    monkeypatch.setattr("services.links.compat.shlink.visits.MOST_VISITS", 50)
    mine = [click for click in clicks if click.link == "alice1"]
    found = (await shlink.read(VISITS))["visits"]

    assert [each["date"] for each in found["data"]] == [write_date(click.at) for click in mine[:50]]
    assert found["pagination"]["totalItems"] == 50


async def test_visits_are_erased(shlink: Shlink, clicks: list[Known]) -> None:
    """Deleting a link's visits asks for what the API's own route asks for, and says how many there were."""
    mine = [click for click in clicks if click.link == "alice1"]

    assert await shlink.read(VISITS, method="DELETE") == {"deletedVisits": len(mine)}
