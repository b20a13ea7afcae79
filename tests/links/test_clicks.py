"""The raw clicks of a link: pages that fit together, as JSON and as CSV, with nothing that tells who it was."""

import csv
import io
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.conftest import Database
from tests.links.conftest import ClientOf, fields_at_fault
from tests.links.stats_data import FIRST, STORES, Known, store_clicks

CLICKS = "/api/v1/links/alice1/clicks"


@pytest.fixture(params=STORES)
async def clicks(database: Database, request: pytest.FixtureRequest) -> list[Known]:
    """The clicks of `alice1`, however they are stored."""
    stored = await store_clicks(database, STORES[request.param])
    return [click for click in stored if click.link == "alice1"]


@pytest.fixture
async def reader(client_with: ClientOf, clicks: list[Known]) -> httpx.AsyncClient:
    return await client_with("alice", "stats:read")


async def walk(client: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    """All clicks, page by page."""
    items: list[dict[str, Any]] = []
    while True:
        page = await client.get(CLICKS, params=params)
        assert page.status_code == 200, page.text
        items += page.json()["items"]
        params["cursor"] = page.json()["next_cursor"]
        if params["cursor"] is None:
            return items


async def test_pages_hold_each_click_once_the_newest_first(reader: httpx.AsyncClient, clicks: list[Known]) -> None:
    """The pages together are the clicks, also where many are of one moment."""
    items = await walk(reader, limit=7)
    times = [datetime.fromisoformat(item["clicked_at"]) for item in items]

    assert times == sorted(times, reverse=True)
    assert Counter(
        (time, item["browser"], item["referrer"]) for time, item in zip(times, items, strict=True)
    ) == Counter((click.at, click.dimensions.browser, click.dimensions.referrer) for click in clicks)


@pytest.mark.parametrize(("bots", "wanted"), [("include", {True, False}), ("exclude", {False}), ("only", {True})])
async def test_range_and_bots_restrict(
    reader: httpx.AsyncClient, clicks: list[Known], bots: str, wanted: set[bool]
) -> None:
    """A range holds its beginning and not its end, and bots are listed as the question says."""
    since, until = sorted(click.at for click in clicks)[10], sorted(click.at for click in clicks)[-10]
    items = await walk(reader, limit=20, bots=bots, **{"from": since.isoformat(), "to": until.isoformat()})

    expected = [click for click in clicks if since <= click.at < until and click.is_bot in wanted]
    assert len(items) == len(expected)
    assert {item["is_bot"] for item in items} == wanted


async def test_csv_pages_follow_each_other(reader: httpx.AsyncClient, clicks: list[Known]) -> None:
    """As CSV a page is a table, and the `Link` header leads on to the next one with the same question."""
    path, rows = f"{CLICKS}?limit=25&bots=exclude", []
    while path:
        response = await reader.get(path, headers={"Accept": "text/csv"})
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        rows += list(csv.DictReader(io.StringIO(response.text)))
        path = str(response.links["next"]["url"]) if "next" in response.links else ""

    assert len(rows) == sum(not click.is_bot for click in clicks)
    assert set(rows[0]) == {
        "clicked_at",
        "is_bot",
        "country",
        "browser",
        "os",
        "device",
        "referrer",
        "language",
        "variant",
        "imported",
    }
    assert {row["language"] for row in rows} == {"de", "en", "'=cmd|'/C calc'!A0"}


async def test_cursor_of_another_list_is_refused(reader: httpx.AsyncClient, clicks: list[Known]) -> None:
    """A cursor belongs to the clicks of one link; the error shows nothing of what is in it, such as the link's id."""
    cursor = (await reader.get(CLICKS, params={"limit": 1})).json()["next_cursor"]
    other = await reader.get("/api/v1/links/alice2/clicks", params={"cursor": cursor})
    listed = await reader.get(CLICKS, params={"cursor": "AAAA"})

    assert fields_at_fault(other) == {"cursor"}
    assert other.json()["errors"][0]["reason"] == "belongs to another list, or to this one in another order"
    assert fields_at_fault(listed) == {"cursor"}


async def test_bad_range_names_the_field(reader: httpx.AsyncClient) -> None:
    """A range that ends before it begins is refused."""
    params = {"from": FIRST.isoformat(), "to": (FIRST - timedelta(days=1)).isoformat()}

    assert fields_at_fault(await reader.get(CLICKS, params=params)) == {"from"}
