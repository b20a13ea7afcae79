"""`tinyurl bench --import`: a million links with titles and tags come in, while others create links and follow theirs."""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from deploy.local.postgres import SUPERUSER
from services.links.keys.rows import create_key
from tests.bench.candidates import BROWSER, DOMAIN, HOT_LINKS, Servers
from tests.bench.creations import prepare_creations
from tests.bench.measure import MeasuringFailed, children
from tests.bench.memory import pss_mb
from tests.bench.report import say

LINKS, QUICK_LINKS = 1_000_000, 100_000
REST_S, QUICK_REST_S = 20.0, 5.0
WARM_UP_S = 2.0

CREATIONS_PER_S, CREATORS = 100, 10
VISITS_PER_S, VISITORS = 2_000, 20

LOOK_INTERVAL_S = 0.25
TIMEOUT_S = 1_800.0

HEADINGS = "short_url,code,domain,url,title,tags,created_at\r\n"


@dataclass(frozen=True)
class ImportResult:
    """What an import took, and what others saw at rest and beside it.

    Attributes:
        seconds: From the first byte that was sent until the last link was there.
        upload_s: Of these, until the file had come.
        pss_mb: The most memory of the importing process.
        p99_ms: Of creations and visits, by when.
        errors: Of others' requests.
    """

    links: int
    megabytes: float
    seconds: float
    upload_s: float
    links_per_s: float
    pss_mb: float
    p99_ms: dict[str, float]
    errors: int


async def measure_imports(servers: Servers, *, quick: bool, others: bool) -> ImportResult:
    """Import links, by themselves or beside the others.

    Args:
        servers: All that runs.
        quick: A hundred thousand links, and short times.
        others: Whether there are any.
    """
    number, rest_s = (QUICK_LINKS, QUICK_REST_S) if quick else (LINKS, REST_S)
    creations = await prepare_creations(servers, "links-imports")
    redirect = servers.folder / "redirect-imports.sock"
    await servers.start(servers.redirect("redirect-imports", f"unix:{redirect}", **servers.journal("journal-imports")))
    front, port = servers.front("imports-front", links=[str(creations.socket)], redirect=[str(redirect)])
    await servers.start(front)
    keys = [await _make_key(servers, owner) for owner in ("importer", "other")]
    p99: dict[str, float] = {}
    errors = 0
    load = _Others(port, keys[1]) if others else None
    if load is not None:
        say("others at rest")
        await load.run(WARM_UP_S)
        errors += await load.measure("at rest", p99, lambda: asyncio.sleep(rest_s))
    say(f"an import of {number:,} links")
    done: list[ImportResult] = []

    async def bring() -> None:
        done.append(await _import(servers, port, keys[0], number))

    if load is None:
        await bring()
    else:
        errors += await load.measure("beside the import", p99, bring)
    (result,) = done
    return ImportResult(**{**vars(result), "p99_ms": p99, "errors": errors})


def show_imports(result: ImportResult) -> str:
    """The result in lines."""
    lines = [
        f"{result.links:,} links ({result.megabytes:.0f} MB) in {result.seconds:.1f} s: {result.links_per_s:,.0f} a second",
        f"of these {result.upload_s:.1f} s to send them; the importing process had {result.pss_mb:.0f} MB at most (PSS)",
    ]
    lines += [f"p99 of others' {name}: {p99:.1f} ms" for name, p99 in result.p99_ms.items()]
    return "\n".join([*lines, f"errors of others: {result.errors}"])


async def _make_key(servers: Servers, owner: str) -> str:
    conn = await asyncpg.connect(servers.postgres.url(SUPERUSER), timeout=10)
    try:
        return (await create_key(conn, owner=owner, scopes=("links:read", "links:write")))[1]
    finally:
        await conn.close()


def _rows(number: int) -> Iterator[bytes]:
    yield HEADINGS.encode()
    for first in range(0, number, 1_000):
        yield "".join(
            f'"https://{DOMAIN}/i{n:07}","i{n:07}","{DOMAIN}","https://www.example.com/articles/{n}?utm_source=newsletter",'
            f'"The article with the number {n}","news|tag{n % 500}",2024-05-06T07:08:09Z\r\n'
            for n in range(first, min(first + 1_000, number))
        ).encode()


async def _import(servers: Servers, port: int, key: str, number: int) -> ImportResult:
    content = b"".join(_rows(number))
    heaviest = 0.0
    async with httpx.AsyncClient(
        base_url=f"http://{DOMAIN}:{port}", headers={"Authorization": f"Bearer {key}"}, timeout=60
    ) as client:
        began = time.monotonic()
        sent = await client.post(
            "/api/v1/imports", content=content, headers={"Content-Type": "application/octet-stream"}
        )
        if sent.status_code != 202:
            raise MeasuringFailed(f"the import was not taken: {sent.text}")
        upload_s = time.monotonic() - began
        while True:
            answer: dict[str, Any] = (await client.get(f"/api/v1/imports/{sent.json()['id']}")).json()
            heaviest = max(heaviest, _importing_mb(servers.pids("links-imports")[0]))
            if answer["state"] in ("done", "failed") or time.monotonic() > began + TIMEOUT_S:
                break
            await asyncio.sleep(LOOK_INTERVAL_S)
    seconds = time.monotonic() - began
    if answer["state"] != "done" or answer["made"] != number:
        raise MeasuringFailed(f"the import ended as {answer}")
    return ImportResult(number, len(content) / 1e6, seconds, upload_s, number / seconds, heaviest, {}, 0)


def _importing_mb(links: int) -> float:
    for pid in children(links):
        with suppress(FileNotFoundError, ProcessLookupError):
            if b"imports.process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pss_mb(pid)
    return 0.0


class _Others:
    """Others who create and follow links at a steady rate. A request that is sent late counts from when it was due."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        body = json.dumps({"url": "https://www.example.com/articles/2026/one?utm_source=newsletter"})
        self._creation = (
            f"POST /api/v1/links HTTP/1.1\r\nHost: {DOMAIN}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        self._took: dict[str, list[float]] = {"creations": [], "visits": []}
        self._errors = 0

    async def run(self, seconds: float) -> None:
        async with self._running():
            await asyncio.sleep(seconds)

    async def measure(self, when: str, p99_ms: dict[str, float], work: Callable[[], Awaitable[None]]) -> int:
        """Run beside something; note what 99 of 100 requests took at most.

        Returns:
            Requests that failed.
        """
        self._took = {name: [] for name in self._took}
        self._errors = 0
        async with self._running():
            await work()
        for name, took in self._took.items():
            p99_ms[f"{name} {when}"] = statistics.quantiles(took, n=100)[98] * 1e3
        return self._errors

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        tasks = [
            *(self._ask("creations", b" 201 ", n, CREATORS, CREATIONS_PER_S) for n in range(CREATORS)),
            *(self._ask("visits", b" 302 ", n, VISITORS, VISITS_PER_S) for n in range(VISITORS)),
        ]
        running = [asyncio.create_task(task) for task in tasks]
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    async def _ask(self, name: str, status: bytes, number: int, clients: int, per_s: int) -> None:
        """Send requests over one connection, each when it is due."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        due, link = time.monotonic() + number / per_s, number
        while True:
            await asyncio.sleep(due - time.monotonic())
            link = (link + clients) % HOT_LINKS
            writer.write(self._creation if name == "creations" else BROWSER.replace("CODE", f"b{link:06}").encode())
            head = await reader.readuntil(b"\r\n\r\n")
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    await reader.readexactly(int(line.split(b":")[1]))
            self._took[name].append(time.monotonic() - due)
            self._errors += status not in head.split(b"\r\n", 1)[0]
            due += clients / per_s
