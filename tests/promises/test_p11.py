"""P11: an import that is killed goes on where it was; each row is there once, and importing the same again changes nothing."""

import asyncio
import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.bench.measure import children
from tests.links.import_client import BINARY, IMPORTS, export, numbers
from tests.promises.cluster import REDIRECTS, Cluster, run_cluster
from tests.promises.visits import Visitor

SEED = 20_261_128
ROWS = 30_000
KILLS = 9
VICTIMS = ("importing process", "links", "postgres")
PROGRESS_S = 60.0
SLICE_ROWS = 200
LINKS, VISITS = 500, 60_000
COUNT_LINKS = "SELECT count(*) FROM links"
COUNT_VISITS = "SELECT coalesce(sum(visits), 0)::bigint FROM imports"

Import = Callable[[Cluster, asyncio.Event], Coroutine[None, None, None]]


def url(number: int) -> str:
    return f"https://www.example.com/{number}"


def file() -> bytes:
    """Rows with codes of their own, and rows without."""
    rows = ({"code": f"p{n}" if n % 3 else "", "url": url(n), "title": f"Link {n}", "tags": "a|b"} for n in range(ROWS))
    return export(*rows)


def dump() -> bytes:
    """A dump of YOURLS, with links that have visits on some days."""
    links = ",".join(f"('v{n}','{url(n)}','','2019-01-01 00:00:00','',{VISITS // LINKS})" for n in range(LINKS))
    visits = ",\n".join(
        f"({n},'2019-02-{n % 28 + 1:02} 08:00:00','v{n % LINKS}','direct','','203.0.113.{n % 200}','FR')"
        for n in range(VISITS)
    )
    return f"INSERT INTO `yourls_url` VALUES {links};\nINSERT INTO `yourls_log` VALUES\n{visits};\n".encode()


async def count(cluster: Cluster, counted: str) -> int | None:
    """How many there are; None while Postgres is away."""
    try:
        conn = await cluster.connect()
        try:
            there: int = await conn.fetchval(counted)
            return there
        finally:
            await conn.close()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None


async def kill_again_and_again(cluster: Cluster, done: asyncio.Event, counted: str = COUNT_LINKS) -> Counter[str]:
    """Kill one process after the other, each time after more links, or visits, have come; how often which one."""
    chance, killed, before = random.Random(SEED), Counter[str](), 0
    for victim in itertools.islice(itertools.cycle(VICTIMS), KILLS):
        until = time.monotonic() + PROGRESS_S
        while not done.is_set() and ((there := await count(cluster, counted)) is None or there <= before):
            assert time.monotonic() < until, f"nothing came after {killed}"
            await asyncio.sleep(0.02)
        before = await count(cluster, counted) or before
        await asyncio.sleep(chance.uniform(0.0, 0.1))
        if done.is_set():
            break
        if victim in cluster.names:
            await cluster.kill(victim)
            await cluster.start(victim)
            killed[victim] += 1
        elif pid := importing_process(cluster):
            os.kill(pid, signal.SIGKILL)
            killed[victim] += 1
    return killed


def importing_process(cluster: Cluster) -> int | None:
    """The process that imports, if there is one."""
    for pid in children(cluster.processes["links"].pid):
        try:
            if b"imports.process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        except FileNotFoundError:
            continue
    return None


async def import_file(cluster: Cluster, done: asyncio.Event) -> None:
    """Import the file by the API, and wait for the end."""
    answer = await import_whole(cluster, done, file())
    assert (answer["state"], numbers(answer)) == ("done", {"rows_read": ROWS, "made": ROWS})


async def import_whole(cluster: Cluster, done: asyncio.Event, content: bytes) -> dict[str, Any]:
    """Import a file by the API, and wait for the end."""
    async with cluster.client(60) as client:
        sent = await client.post(IMPORTS, content=content, headers=BINARY)
        assert sent.status_code == 202, sent.text
        while True:
            try:
                answer: dict[str, Any] = (await client.get(f"{IMPORTS}/{sent.json()['id']}")).json()
            except (httpx.HTTPError, ValueError):
                answer = {}
            if answer.get("state") in ("done", "failed"):
                break
            await asyncio.sleep(0.1)
        done.set()
        return answer


async def import_naively(cluster: Cluster, done: asyncio.Event) -> None:
    """Create the links slice by slice, and begin again where that fails: nobody has noted how far it was."""
    async with cluster.client(10) as client:
        first = 0
        while first < ROWS // 10:
            rows = [{"url": url(number)} for number in range(first, first + SLICE_ROWS)]
            first += SLICE_ROWS
            try:
                answer = await client.post("/api/v1/links/batch", json={"links": rows})
                if answer.status_code != 200:
                    first = 0
            except httpx.HTTPError:
                first = 0
    done.set()


async def run(cluster: Cluster, bring: Import) -> tuple[Counter[str], Counter[str]]:
    """Import while processes are killed; how often which one was killed, and how often each target is there."""
    done = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bring(cluster, done))
        killing = tasks.create_task(kill_again_and_again(cluster, done))
    conn = await cluster.connect()
    targets = Counter(row["url"] for row in await conn.fetch("SELECT url FROM links"))
    await conn.close()
    return killing.result(), targets


@pytest.mark.promise
async def test_killed_import_goes_on_where_it_was() -> None:
    """Whatever is killed in the middle, each row of the file is there once in the end; the same again changes nothing."""
    async with run_cluster() as cluster:
        killed, targets = await run(cluster, import_file)
        conn = await cluster.connect()
        before = await conn.fetch("SELECT * FROM links ORDER BY id")
        async with cluster.client(60) as client:
            again = (await client.post(IMPORTS, content=file(), headers=BINARY)).json()
            while (answer := (await client.get(f"{IMPORTS}/{again['id']}")).json())["state"] != "done":
                assert answer["state"] != "failed", answer
                await asyncio.sleep(0.1)
        unchanged = await conn.fetch("SELECT * FROM links ORDER BY id") == before
        await conn.close()
        with Visitor(cluster.socket(REDIRECTS[0])) as visitor:
            seen = [await visitor.visit(f"p{number}") for number in (1, ROWS // 2 + 1, ROWS - 1)]

    print(f"killed: {dict(killed)}")
    assert set(killed) == set(VICTIMS)
    assert targets == Counter({url(number): 1 for number in range(ROWS)})
    assert numbers(answer) == {"rows_read": ROWS, "found": ROWS}
    assert unchanged
    assert [each.location for each in seen] == [url(number) for number in (1, ROWS // 2 + 1, ROWS - 1)]


@pytest.mark.promise
async def test_killed_import_counts_each_visit_once() -> None:
    """Whatever is killed while visits come, each is on its day once, and each link has the total that it had."""
    async with run_cluster() as cluster:
        done = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            bringing = tasks.create_task(import_whole(cluster, done, dump()))
            killing = tasks.create_task(kill_again_and_again(cluster, done, COUNT_VISITS))
        conn = await cluster.connect()
        totals = [row["imported_clicks"] for row in await conn.fetch("SELECT imported_clicks FROM links")]
        days = await conn.fetch("SELECT link_id <> 0 AS of_link, sum(humans + bots)::bigint FROM click_days GROUP BY 1")
        await conn.close()

    print(f"killed: {dict(killing.result())}")
    assert set(killing.result()) == set(VICTIMS)
    assert numbers(bringing.result()) == {"rows_read": LINKS + VISITS, "made": LINKS, "visits": VISITS}
    assert totals == [VISITS // LINKS] * LINKS
    assert {tuple(row) for row in days} == {(True, VISITS), (False, VISITS)}


@pytest.mark.promise
async def test_control_without_a_position_is_caught() -> None:
    """The control, an import that begins again where it fails, makes links twice."""
    async with run_cluster() as cluster:
        _, targets = await run(cluster, import_naively)

    assert any(number > 1 for number in targets.values())
