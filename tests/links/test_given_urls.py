"""A target as it was written: redirects send what was parsed of it, exports give back what was given."""

import csv
import io
import json
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from services.dashboard.lists.parsing import parse_rows
from shared.postgres import Connection
from tests.conftest import Database
from tests.links.conftest import ClientOf

LINKS = "/api/v1/links"
EXPORTS = "/api/v1/exports"
NDJSON = {"Accept": "application/x-ndjson"}

SPELLINGS = {
    "https://www.example.com/": "https://www.example.com/",
    "HTTPS://WWW.Example.com": "https://www.example.com/",
    "https://www.example.com/Grüße?q=ä b#c d": "https://www.example.com/Gr%C3%BC%C3%9Fe?q=%C3%A4%20b#c%20d",
    "https://bücher.example/a/../b": "https://xn--bcher-kva.example/b",
    "https://www.example.com:443/'=\\": "https://www.example.com/'=/",
}
"""What is given, and what is parsed of it."""


@pytest.fixture
async def conn(database: Database) -> AsyncIterator[Connection]:
    """A connection with the rights of the write service."""
    conn = await asyncpg.connect(database.links_url)
    yield conn
    await conn.close()


Target = tuple[str, str | None]


async def given(conn: Connection) -> Counter[Target]:
    """How often each target is there in each spelling."""
    return Counter([(row["url"], row["given_url"]) for row in await conn.fetch("SELECT url, given_url FROM links")])


def stored(spellings: dict[str, str], times: int = 1) -> Counter[Target]:
    return Counter(times * [(url, None if text == url else text) for text, url in spellings.items()])


async def test_every_way_keeps_what_was_given(alice: httpx.AsyncClient, conn: Connection) -> None:
    """A target is stored as it was written where that differs, however the link is made; answers have the parsed one."""
    bodies: list[dict[str, object]] = [{}, {"code": "c"}, {"find_existing": True, "title": "t"}]
    rows = [{**body, "url": text} for body in bodies for text in SPELLINGS]
    for number, row in enumerate(rows):
        made = await alice.post(LINKS, json={**row, **({"code": f"c{number}"} if "code" in row else {})})
        assert (made.status_code in (200, 201), made.json()["url"]) == (True, SPELLINGS[str(row["url"])])
    batch = await alice.post(f"{LINKS}/batch", json={"links": [{"url": text} for text in SPELLINGS]})

    assert [row["link"]["url"] for row in batch.json()["results"]] == list(SPELLINGS.values())
    # Of two spellings of one target the link of the first is found.
    assert await given(conn) == stored(SPELLINGS, 4) - stored({"HTTPS://WWW.Example.com": "https://www.example.com/"})


async def test_edit_of_the_target_replaces_what_was_given(alice: httpx.AsyncClient, conn: Connection) -> None:
    """It comes and goes with the target, is a change also where the target stays, and outlives other edits."""
    spelled = "https://www.EXAMPLE.com/"
    steps: list[tuple[dict[str, object], str | None, int]] = [
        ({"url": "https://www.example.com/"}, None, 1),
        ({"url": spelled}, spelled, 2),
        ({"title": "t"}, spelled, 3),
        ({"url": f" {spelled} "}, spelled, 3),
        ({"url": "https://www.example.com/other"}, None, 4),
    ]
    await alice.post(LINKS, json={"url": "https://www.example.com/", "code": "c"})
    for fields, text, version in steps:
        edited = await alice.patch(f"{LINKS}/c", json=fields)
        assert edited.json()["version"] == version, fields
        assert await given(conn) == {(edited.json()["url"], text): 1}, fields


async def test_tombstone_has_forgotten_it(alice: httpx.AsyncClient, conn: Connection) -> None:
    """Of a deleted link's target nothing is left in any spelling."""
    await alice.post(LINKS, json={"url": "https://www.EXAMPLE.com/", "code": "c"})
    await alice.delete(f"{LINKS}/c")

    assert await given(conn) == {("", None): 1}


async def test_exports_restore_it(alice: httpx.AsyncClient, client_with: ClientOf, conn: Connection) -> None:
    """What CSV and NDJSON say, read as the dashboard reads it and created anew, has the same targets in the same spelling."""
    for text in SPELLINGS:
        await alice.post(LINKS, json={"url": text})
    lines = [json.loads(line) for line in (await alice.get(EXPORTS, headers=NDJSON)).text.splitlines()]
    sheet = (await alice.get(EXPORTS)).text
    cells = [row["url"] for row in csv.DictReader(io.StringIO(sheet, newline=""))]
    read = [row["url"] for row in parse_rows(sheet).rows]
    bob = await client_with("bob")
    made = await bob.post(f"{LINKS}/batch", json={"links": [{"url": url} for url in read[::-1]]})

    assert [line["url"] for line in lines[::-1]] == cells[::-1] == list(SPELLINGS)
    assert made.json()["created"] == len(SPELLINGS)
    assert await given(conn) == stored(SPELLINGS, 2)
