"""`python -m tests.bench.worst PORT`: one owner does its worst, in a process of its own, until its input ends.

Its key comes by standard input, as the first line; `tests/bench/tenants.py` starts it.
"""

import asyncio
import itertools
import os
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx

LISTS = 20
OTHERS = 4
BATCH_ROWS = 10_000

PATHS = (
    "links?limit=100&q=is-not-there",
    "tags",
    "links?limit=100&sort=-clicks",
    "links?limit=100&sort=updated_at&state=expired",
    "links?limit=100&sort=code&tag=is-not-there",
    "links?limit=100&q=e",
    "links?limit=100&sort=humans",
)


async def work(client: httpx.AsyncClient) -> None:
    """Ask for everything that costs much, at once, again and again; a refusal is followed by a short pause."""
    rows = {"links": [{"url": f"https://www.example.com/{n}", "tags": ["batch"]} for n in range(BATCH_ROWS)]}
    numbers = itertools.count()
    paths = itertools.cycle(PATHS)

    async def export() -> int:
        async with client.stream("GET", "exports", headers={"Accept": "application/x-ndjson"}) as response:
            async for _ in response.aiter_raw():
                pass
        return response.status_code

    async def status(answer: Awaitable[httpx.Response]) -> int:
        return (await answer).status_code

    kinds: list[tuple[int, Callable[[], Awaitable[int]]]] = [
        (LISTS, lambda: status(client.get(next(paths)))),
        (OTHERS * 2, export),
        (OTHERS, lambda: status(client.get("stats"))),
        (OTHERS, lambda: status(client.post("links/batch", json=rows))),
        (OTHERS, lambda: status(client.patch("links/w0000001", json={"title": f"{next(numbers)}"}))),
        (OTHERS, lambda: status(client.get("links/w0000002/stats"))),
    ]
    await asyncio.gather(*(_repeat(ask) for clients, ask in kinds for _ in range(clients)))


async def _repeat(ask: Callable[[], Awaitable[int]]) -> None:
    while True:
        try:
            status = await ask()
        except httpx.HTTPError as error:
            status = 0
            statuses[type(error).__name__] += 1
        statuses[status] += 1
        if status not in (200, 201):
            await asyncio.sleep(0.2)


statuses: Counter[object] = Counter()


async def main(port: int, key: str) -> None:
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}/api/v1/",
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
        limits=httpx.Limits(max_connections=None),
    ) as client:
        threading.Thread(target=_end_with_input, daemon=True).start()
        await work(client)


def _end_with_input() -> None:
    """Tell what was answered and end at once: requests under way are the server's business."""
    sys.stdin.read()
    print(dict(statuses), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.stdin.readline().strip()))
