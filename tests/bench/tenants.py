"""`tinyurl bench`, i: the creations of one owner, at rest and while another one with a million links does its worst."""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx

from deploy.local.postgres import SUPERUSER
from services.links.keys.rows import create_key
from tests.bench.candidates import DOMAIN, Servers
from tests.bench.creations import prepare_creations
from tests.bench.measure import MeasuringFailed
from tests.bench.report import Report, Result, say

LINKS, QUICK_LINKS = 1_000_000, 50_000
SECONDS, QUICK_SECONDS = 20, 5
WARM_UP_S = 3

CREATIONS_PER_S = 100
CLIENTS = 10
END_TIMEOUT_S = 30


async def measure_tenants(servers: Servers, report: Report, *, quick: bool) -> None:
    """Fill, and create links at a steady rate: by itself, beside the worst, by itself again."""
    links, seconds = (QUICK_LINKS, QUICK_SECONDS) if quick else (LINKS, SECONDS)
    creations = await prepare_creations(servers, "links-tenants")
    say(f"i  an owner with {links:,} links")
    worst, other = await _fill(servers, links)
    async with httpx.AsyncClient(
        base_url=f"http://{DOMAIN}:{creations.port}", headers={"Authorization": f"Bearer {other}"}, timeout=30
    ) as client:
        await _create(client, "", WARM_UP_S)
        results = [await _create(client, "at rest", seconds)]
        say("i  one owner does its worst")
        async with _worst(creations.port, worst):
            await _create(client, "", WARM_UP_S)
            results.append(await _create(client, f"beside {links:,} links' worst", seconds))
        results.append(await _create(client, "at rest again", seconds))
    report.candidates += results


async def _fill(servers: Servers, links: int) -> tuple[str, str]:
    """Make the links of an owner, and a key of it and of another one."""
    conn = await asyncpg.connect(servers.postgres.url(SUPERUSER), timeout=10)
    try:
        await conn.execute(
            """
            INSERT INTO links (domain, code, owner, url, title, tags)
            SELECT $1, 'w' || lpad(n::text, 7, '0'), 'worst', 'https://www.example.com/articles/' || md5(n::text),
                   CASE WHEN n % 2 = 0 THEN 'Article ' || n END, CASE WHEN n % 3 = 0 THEN ARRAY['tag' || n % 500] ELSE '{}' END
            FROM generate_series(1, $2::bigint) AS n
            """,
            DOMAIN,
            links,
        )
        await conn.execute("VACUUM ANALYZE links")
        scopes = ("links:read", "links:write", "stats:read")
        keys = [await create_key(conn, owner=owner, scopes=scopes) for owner in ("worst", "other")]
    finally:
        await conn.close()
    return keys[0][1], keys[1][1]


@asynccontextmanager
async def _worst(port: int, key: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.worst", str(port)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Linux shares processors between sessions: it must not take those of the client that measures.
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        process.stdin.write(f"{key}\n".encode())
        yield
        if process.returncode is not None:
            raise MeasuringFailed("the owner that does its worst has ended")
        process.stdin.close()
        try:
            answers, _ = await asyncio.wait_for(process.communicate(), END_TIMEOUT_S)
        except TimeoutError:
            raise MeasuringFailed("the owner that does its worst does not end") from None
        say(f"i  its answers by status: {answers.decode().strip()}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _create(client: httpx.AsyncClient, load: str, seconds: float) -> Result:
    """Create links at a steady rate, whatever each takes; one that is late counts from when it was due."""
    took: list[float] = []
    errors = 0

    async def create(first: float) -> None:
        nonlocal errors
        due = first
        while max(due, time.monotonic()) < end:
            await asyncio.sleep(due - time.monotonic())
            answer = await client.post("/api/v1/links", content=_BODY, headers={"Content-Type": "application/json"})
            took.append(time.monotonic() - due)
            errors += answer.status_code != 201
            due += CLIENTS / CREATIONS_PER_S

    started = time.monotonic()
    end = started + seconds
    await asyncio.gather(*(create(started + n / CREATIONS_PER_S) for n in range(CLIENTS)))
    centiles = statistics.quantiles(took, n=100)
    rate = len(took) / (time.monotonic() - started)
    return Result("i  another's creations", load, rate, None, centiles[49] * 1e3, centiles[98] * 1e3, 0.0, errors)


_BODY = json.dumps({"url": "https://www.example.com/articles/2026/one?utm_source=newsletter"})
