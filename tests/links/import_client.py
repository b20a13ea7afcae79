"""Sends files to import, and waits until an import is where a test wants it."""

import asyncio
import csv
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpx

from services.links.links.exports import COLUMNS
from shared.csv_cells import csv_lines

IMPORTS = "/api/v1/imports"
WAIT_S = 60.0
BINARY = {"Content-Type": "application/octet-stream"}


def export(*links: Mapping[str, object]) -> bytes:
    """An export of this site in CSV, with links that have some of its columns."""
    columns: Sequence[str] = COLUMNS
    return "".join(csv_lines(columns, ([_cell(name, link) for name in columns] for link in links))).encode()


def some_links(number: int, first: int = 0) -> Iterable[dict[str, object]]:
    """Links with a title and tags."""
    for each in range(first, first + number):
        yield {"code": f"c{each:07}", "url": f"https://www.example.com/{each}", "title": f"Link {each}", "tags": "a|b"}


async def send(client: httpx.AsyncClient, content: bytes, **options: Any) -> dict[str, Any]:
    """Send a file; the import that was begun."""
    headers = {**BINARY, **options.pop("headers", {})}
    response = await client.post(IMPORTS, params=options, content=content, headers=headers)
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def wait_for(client: httpx.AsyncClient, import_id: str, *states: str) -> dict[str, Any]:
    """Wait until an import has ended, or is in one of some states."""
    wanted = states or ("done", "failed", "undone")
    until = time.monotonic() + WAIT_S
    while True:
        answer: dict[str, Any] = (await client.get(f"{IMPORTS}/{import_id}")).json()
        if answer["state"] in wanted:
            return answer
        assert time.monotonic() < until, answer
        await asyncio.sleep(0.05)


async def bring(client: httpx.AsyncClient, content: bytes, **options: Any) -> dict[str, Any]:
    """Import a file, and wait for the end."""
    return await wait_for(client, (await send(client, content, **options))["id"])


async def refused(client: httpx.AsyncClient, import_id: str) -> list[dict[str, str]]:
    """What an import has left out."""
    response = await client.get(f"{IMPORTS}/{import_id}/refused")
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text, newline="")))


def numbers(answer: dict[str, Any]) -> dict[str, int]:
    """The counts of an import that are not 0."""
    names = ("rows_read", "made", "found", "replaced", "refused", "notices", "visits", "kept")
    return {name: answer[name] for name in names if answer[name]}


def _cell(name: str, link: Mapping[str, object]) -> object:
    code = link["code"]
    usual = {"domain": "sho.rt", "short_url": f"https://{link.get('domain', 'sho.rt')}/{code}", "status_code": 302}
    return link.get(name, usual.get(name))
