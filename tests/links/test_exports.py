"""Exports: everything that the list has, once, whole or visibly broken, and no connection held for a slow reader."""

import asyncio
import csv
import io
import json
from typing import Any

import asyncpg
import httpx
import pytest

from services.links.links.exports import ExportGate
from services.links.links.forms import LinkOut
from shared.settings import LinksSettings
from tests.conftest import Database
from tests.links.conftest import ClientOf, fields_at_fault
from tests.links.test_lists import stocked, walk  # noqa: F401  # a fixture

LINKS = "/api/v1/links"
EXPORTS = "/api/v1/exports"
NDJSON = {"Accept": "application/x-ndjson"}
URL = "https://www.example.com/"


@pytest.fixture
def links_settings(links_settings: LinksSettings) -> LinksSettings:
    """A pool that a held connection would be missed in."""
    return links_settings.model_copy(update={"links_pool_size": 2})


async def export(client: httpx.AsyncClient, **params: str) -> list[dict[str, Any]]:
    """The links of an export, read from NDJSON."""
    response = await client.get(EXPORTS, params=params, headers=NDJSON)
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


async def table(client: httpx.AsyncClient, **params: str) -> list[dict[str, str]]:
    """The links of an export, read from CSV."""
    response = await client.get(EXPORTS, params=params)
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text, newline=""), strict=True))


async def lines_of(response: httpx.Response, lines: list[str] | None = None) -> list[str]:
    """Read a stream to its end; what came before an error is in `lines`."""
    lines = [] if lines is None else lines
    async for line in response.aiter_lines():
        lines.append(line)
    return lines


async def fill(database: Database, links: int, url_bytes: int) -> None:
    """Many links of alice."""
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute(
        """
        INSERT INTO links (domain, code, owner, url)
        SELECT 'sho.rt', 'c' || n, 'alice', 'https://example.com/' || repeat('x', $2) FROM generate_series(1, $1) AS n
        """,
        links,
        url_bytes,
    )
    await conn.close()


@pytest.mark.parametrize("export_gate", [ExportGate(page_links=links) for links in (1, 50, 200, 500)])
async def test_export_is_the_list(stocked: httpx.AsyncClient) -> None:  # noqa: F811
    """An export has all items of the list, in its order, whatever the size of a page is to their number."""
    items = await walk(stocked, limit=100)

    assert await export(stocked) == items
    assert [row["code"] for row in await table(stocked)] == [item["code"] for item in items]


async def test_filters_are_those_of_the_list(stocked: httpx.AsyncClient, client_with: ClientOf) -> None:  # noqa: F811
    """Each filter finds what it finds in the list; others' links are for the scope `admin`."""
    filters = [
        {"q": "page/24"},
        {"q": "5_%"},
        {"tag": "third"},
        {"domain": "go.example.org"},
        {"state": "disabled"},
        {"tag": "third", "state": "active", "q": "page/1"},
        {"created_after": "2026-01-02T00:00:00Z", "created_before": "2026-01-03T00:00:00+00:00"},
    ]
    for params in filters:
        assert await export(stocked, **params) == await walk(stocked, limit=100, **params)
    bob, admin = await client_with("bob"), await client_with("root", "admin")
    assert {item["owner"] for item in await export(bob)} == {"bob"}
    assert (await bob.get(EXPORTS, params={"owner": "alice"})).status_code == 403
    assert len(await export(admin)) == 250
    assert len(await export(admin, owner="bob")) == 50


async def test_csv_has_every_field(alice: httpx.AsyncClient) -> None:
    """CSV has a column for each field of a link, with times as RFC 3339, and tags that can be told apart again."""
    sent = {
        "url": URL,
        "code": "-1",
        "title": '=HYPERLINK("https://evil.example/","x")',
        "tags": ["a,b", "c|d", "e\\", '"q"'],
        "cache_control": 60,
        "expires_at": "2031-01-01T01:00:00+01:00",
        "forward_query": True,
    }
    link = (await alice.post(LINKS, json=sent)).json()
    response = await alice.get(EXPORTS)
    (row,) = await table(alice)

    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="links.csv"'
    assert response.headers["vary"] == "Accept"
    assert list(row) == list(LinkOut.model_fields)
    assert row["code"] == "'-1"
    assert row["title"] == "'" + str(sent["title"])
    assert row["tags"] == 'a,b|c\\|d|e\\\\|"q"'
    assert (row["expires_at"], row["valid_from"]) == ("2031-01-01T00:00:00Z", "")
    assert (row["enabled"], row["forward_query"], row["clicks"], row["cache_control"]) == ("true", "true", "0", "60")
    assert row["created_at"] == link["created_at"]
    assert row["short_url"] == "https://sho.rt/-1"


async def test_byte_order_mark_on_request(alice: httpx.AsyncClient) -> None:
    """With `bom=true` CSV begins with the mark and is the same otherwise; NDJSON has none, and says so."""
    await alice.post(LINKS, json={"url": URL, "title": "Žluťoučký kůň"})
    bare, marked = (await alice.get(EXPORTS)).content, (await alice.get(f"{EXPORTS}?bom=true")).content

    assert marked == b"\xef\xbb\xbf" + bare
    assert fields_at_fault(await alice.get(f"{EXPORTS}?bom=true", headers=NDJSON)) == {"bom"}
    assert fields_at_fault(await alice.get(f"{EXPORTS}?bom=maybe")) == {"bom"}
    assert (await alice.get(f"{EXPORTS}?bom=false", headers=NDJSON)).status_code == 200


async def test_accept_chooses_the_type(alice: httpx.AsyncClient) -> None:
    """CSV is what a browser gets, NDJSON who asks for it, and who takes neither is told so."""
    await alice.post(LINKS, json={"url": URL})
    for accept, media_type in (
        ("*/*", "text/csv; charset=utf-8"),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", "text/csv; charset=utf-8"),
        ("text/csv;q=0.5, application/x-ndjson", "application/x-ndjson"),
    ):
        assert (await alice.get(EXPORTS, headers={"Accept": accept})).headers["content-type"] == media_type
    refused = await alice.get(EXPORTS, headers={"Accept": "application/pdf"})
    assert (refused.status_code, refused.json()["type"]) == (406, "urn:tinyurl:problem:not-acceptable")
    assert "text/csv or application/x-ndjson" in refused.json()["detail"]


async def test_export_of_nothing(alice: httpx.AsyncClient, client_with: ClientOf) -> None:
    """Without links there is the header alone, or nothing; without the scope there is no export."""
    assert (await alice.get(EXPORTS)).text == ",".join(LinkOut.model_fields) + "\r\n"
    assert (await alice.get(EXPORTS, headers=NDJSON)).content == b""
    assert (await (await client_with("w", "links:write", "stats:read")).get(EXPORTS)).status_code == 403


@pytest.mark.parametrize("query", ["state=on", "created_after=1", "q=", "q=%00", "tag=%00", "limit=5", "sort=code"])
async def test_bad_parameter_is_named(alice: httpx.AsyncClient, query: str) -> None:
    """A parameter that is wrong or unknown is refused by its name, before anything is sent."""
    assert fields_at_fault(await alice.get(f"{EXPORTS}?{query}")) == {query.partition("=")[0]}


async def test_slow_readers_hold_no_connection(alice: httpx.AsyncClient, database: Database) -> None:
    """More exports than the pool has connections stand still at once, others are served, and each is whole in the end."""
    await fill(database, links=4000, url_bytes=8000)
    async with asyncio.timeout(60):
        first, second, third = [alice.stream("GET", EXPORTS, headers=NDJSON) for _ in range(3)]
        async with first as a, second as b, third as c:
            for _ in range(5):
                assert (await alice.get(f"{LINKS}/c1")).status_code == 200
            counts = [len(await lines_of(response)) for response in (a, b, c)]

    assert counts == [4000] * 3


async def test_failure_on_the_way_is_no_end(alice: httpx.AsyncClient, database: Database) -> None:
    """If the database fails in the middle the transfer breaks: what came is never taken for all."""
    await fill(database, links=4000, url_bytes=8000)
    received: list[str] = []
    async with asyncio.timeout(60), alice.stream("GET", EXPORTS, headers=NDJSON) as response:
        assert response.status_code == 200
        conn = await asyncpg.connect(database.owner_url)
        await conn.execute("REVOKE SELECT ON links FROM tinyurl_links")
        await conn.close()
        with pytest.raises(httpx.RemoteProtocolError):
            await lines_of(response, received)

    assert 0 < len(received) < 4000


async def test_failure_before_the_start_has_a_status(alice: httpx.AsyncClient, database: Database) -> None:
    """What fails before the first line is a problem like any other."""
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute("REVOKE SELECT ON links FROM tinyurl_links")
    await conn.close()
    answer = await alice.get(EXPORTS)

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
