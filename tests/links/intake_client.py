"""A client of the intake of clicks, and the worker processes behind it."""

import os
from pathlib import Path
from uuid import UUID

import httpx

from tests.bench.measure import children
from tests.links.click_data import FIRST_OFFSET

TOKEN = "the internal token of the tests, long enough"  # noqa: S105  # of the tests
PREVIOUS = "the internal token before it, long enough"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "X-Journal-Format": "1"}
URL = "/internal/clicks"


async def send(
    client: httpx.AsyncClient,
    data: bytes,
    headers: dict[str, str] | None = None,
    *,
    segment: UUID,
    offset: int = FIRST_OFFSET,
) -> httpx.Response:
    place = {"segment": str(segment), "offset": str(offset)}
    return await client.post(URL, params=place, content=data, headers=headers)


async def worker_pids() -> list[int]:
    """The click workers of this process."""
    return [
        pid
        for pid in children(os.getpid())
        if b"services.links.clicks.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
