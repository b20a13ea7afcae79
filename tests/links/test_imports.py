"""Imports: a file is received, read and worked off; what is in conflict is decided; all of it can be undone."""

import gzip
import json
from typing import Any
from uuid import uuid4

import httpx

from shared.postgres import Connection
from tests.links.import_client import bring, export, numbers, send, some_links, wait_for

LINKS = "/api/v1/links"
URL = "https://www.example.com/"


async def read(client: httpx.AsyncClient, code: str) -> dict[str, Any]:
    response = await client.get(f"{LINKS}/{code}")
    return response.json() if response.status_code == 200 else {"status": response.status_code}


async def test_links_come_with_what_they_have(alice: httpx.AsyncClient) -> None:
    """A link comes with its fields, the time at which it was made, and its clicks, which are told to be imported."""
    link = {
        "code": "menu",
        "url": f"{URL}a?b=1",
        "title": "=Menu",
        "tags": "food|news",
        "notes": "two\nlines",
        "status_code": 307,
        "max_clicks": 50,
        "clicks": 12,
        "humans": 10,
        "clicks_left": 40,
        "enabled": False,
        "created_at": "2019-03-04T05:06:07Z",
        "expires_at": "2020-01-01T00:00:00Z",
    }
    done = await bring(alice, export(link))
    found = await read(alice, "menu")

    assert (done["state"], numbers(done)) == ("done", {"rows_read": 1, "made": 1})
    assert {name: found[name] for name in link} == link | {"tags": ["food", "news"]}
    assert (found["version"], found["owner"]) == (1, "alice")


async def test_gzip_and_ndjson(alice: httpx.AsyncClient) -> None:
    """A file may be compressed on the way, or be a compressed file; a body with an id can be repeated."""
    lines = [
        json.dumps({"short_url": f"https://sho.rt/n{n}", "code": f"n{n}", "domain": "sho.rt", "url": URL})
        for n in range(3)
    ]
    content = gzip.compress("\n".join(lines).encode())
    import_id = str(uuid4())
    first = await send(alice, content, id=import_id, headers={"Content-Encoding": "gzip"})
    again = await send(alice, content, id=import_id, headers={"Content-Encoding": "gzip"})
    done = await wait_for(alice, import_id)
    as_file = await bring(
        alice, gzip.compress(content), filename="links.ndjson.gz", headers={"Content-Encoding": "gzip"}
    )

    assert first["id"] == again["id"] == import_id
    assert numbers(done) == {"rows_read": 3, "made": 3}
    assert numbers(as_file) == {"rows_read": 3, "found": 3}


async def test_importing_the_same_again_changes_nothing(alice: httpx.AsyncClient, links: Connection) -> None:
    """The same file a second time finds every link, also those that were edited or that its rows have twice."""
    content = export(*some_links(20), *some_links(3))
    first = await bring(alice, content)
    await alice.patch(f"{LINKS}/c0000003", json={"url": f"{URL}edited"})
    before = await links.fetch("SELECT * FROM links ORDER BY id")
    again = await bring(alice, content)

    assert numbers(first) == {"rows_read": 23, "made": 20, "found": 3}
    assert numbers(again) == {"rows_read": 23, "found": 23}
    assert await links.fetch("SELECT * FROM links ORDER BY id") == before
