"""P5: every click that was answered is counted exactly once, through the death of redirect, links, Redis and Postgres."""

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncpg
import httpx
import pytest

from tests.promises.cluster import REDIRECTS, Cluster, run_cluster
from tests.promises.visits import Visitor

SEED = 20_261_124
REQUESTS = 200_000
ROUNDS = 30
CLIENTS = 24
LINKS = 200
SHIPPED_TIMEOUT_S = 90.0
VICTIMS = (*REDIRECTS, "links", "valkey", "postgres")

DIMENSIONS = ("country", "browser", "os", "device", "referrer", "language")


@dataclass
class Ledger:
    """What the visitors saw.

    Attributes:
        answered: Redirects by code.
        sent: Requests.
    """

    answered: Counter[str] = field(default_factory=Counter)
    sent: int = 0


async def create_links(cluster: Cluster) -> list[str]:
    codes = [f"p5-{number}" for number in range(LINKS)]
    async with cluster.client() as client:
        for code in codes:
            response = await client.post("/api/v1/links", json={"url": f"https://www.example.com/{code}", "code": code})
            assert response.status_code == 201, response.text
    return codes


async def visit(cluster: Cluster, ledger: Ledger, codes: list[str], number: int, requests: int) -> None:
    """One client, which follows some links more often than others."""
    chance = random.Random(SEED + number)
    with Visitor(cluster.port) as visitor:
        while ledger.sent < requests:
            ledger.sent += 1
            code = codes[int(len(codes) * chance.random() ** 2)]
            if (await visitor.visit(code)).status == 302:
                ledger.answered[code] += 1


async def visit_all(cluster: Cluster, codes: list[str], requests: int) -> Ledger:
    ledger = Ledger()
    await asyncio.gather(*(visit(cluster, ledger, codes, number, requests) for number in range(CLIENTS)))
    return ledger


async def kill_in_rounds(cluster: Cluster, done: asyncio.Event) -> int:
    """Kill one process after the other until the visitors are done, but not less often than `ROUNDS`."""
    chance = random.Random(SEED)
    rounds = 0
    while rounds < ROUNDS or not done.is_set():
        await asyncio.sleep(chance.uniform(0.2, 0.8))
        name = chance.choice(VICTIMS)
        await cluster.kill(name)
        await asyncio.sleep(chance.uniform(0.0, 0.3))
        await cluster.start(name)
        rounds += 1
    return rounds


async def wait_until_shipped(cluster: Cluster) -> None:
    """Wait until no redirector has a click left, and none is left of a process that died."""
    deadline = time.monotonic() + SHIPPED_TIMEOUT_S
    while (waiting := [await waiting_bytes(cluster, name) for name in REDIRECTS]) != [0, 0, 0] or orphans(cluster):
        assert time.monotonic() < deadline, (waiting, orphans(cluster))
        await asyncio.sleep(0.1)


async def waiting_bytes(cluster: Cluster, name: str) -> int:
    transport = httpx.AsyncHTTPTransport(uds=str(cluster.socket(name)))
    async with httpx.AsyncClient(transport=transport, base_url="http://redirect") as client:
        text = (await client.get("/metrics")).text
    (line,) = (line for line in text.splitlines() if line.startswith("redirect_journal_waiting_bytes "))
    return int(float(line.split()[1]))


def orphans(cluster: Cluster) -> int:
    """Segments beyond the live ones of the running redirectors."""
    return max(0, len(list((cluster.folder / "journal").glob("*.journal"))) - len(REDIRECTS))


def attempts_by_code(cluster: Cluster) -> Counter[str]:
    """Tries that reached a redirector, from nginx's log: a request that was repeated names several servers."""
    attempts: Counter[str] = Counter()
    for line in (cluster.folder / "access.log").read_text().splitlines():
        entry = json.loads(line)
        tries = entry["upstream"].replace(" : ", ", ").split(", ") if entry["upstream"] else []
        attempts[entry["path"].removeprefix("/")] += len(tries)
    return attempts


async def counts_by_code(cluster: Cluster) -> dict[str, int]:
    """The raw clicks of each link, after every count was compared with them."""
    conn = await cluster.connect()
    try:
        raw = await select_counts(conn, "SELECT link_id, count(*) FROM clicks GROUP BY link_id")
        assert await select_counts(conn, "SELECT id, clicks FROM links WHERE clicks > 0") == raw
        totals = "SELECT link_id, sum(clicks) FROM click_totals_by_link GROUP BY link_id"
        assert await select_counts(conn, totals) == raw
        for dimension in DIMENSIONS:
            by_value = (
                f"SELECT link_id, sum(clicks) FROM click_dimensions_by_link WHERE dimension = '{dimension}' GROUP BY 1"
            )
            assert await select_counts(conn, by_value) == raw, dimension
        codes = {row["id"]: row["code"] for row in await conn.fetch("SELECT id, code FROM links")}
        refused = await conn.fetchval("SELECT coalesce(sum(refused), 0) FROM click_segments")
    finally:
        await conn.close()

    assert refused == 0
    return {codes[link_id]: count for link_id, count in raw.items()}


async def select_counts(conn: "asyncpg.Connection[asyncpg.Record]", statement: str) -> dict[int, int]:
    return {row[0]: int(row[1]) for row in await conn.fetch(statement)}


def violations(answered: Mapping[str, int], counted: Mapping[str, int], attempted: Mapping[str, int]) -> list[str]:
    """The links of which a click was lost, or counted without a try."""
    return [
        f"{code}: answered {answered.get(code, 0)}, counted {counted.get(code, 0)}, attempted {attempted.get(code, 0)}"
        for code in {*answered, *counted}
        if not answered.get(code, 0) <= counted.get(code, 0) <= attempted.get(code, 0)
    ]


async def visit_while_processes_die(cluster: Cluster, codes: list[str], requests: int) -> Ledger:
    print(f"seed {SEED}")
    done = asyncio.Event()
    killing = asyncio.create_task(kill_in_rounds(cluster, done))
    ledger = await visit_all(cluster, codes, requests)
    done.set()
    rounds = await killing
    print(f"{ledger.sent} requests, {ledger.answered.total()} answered, {rounds} kills")
    return ledger


@pytest.mark.promise
@pytest.mark.timeout(900)
async def test_answered_clicks_are_counted_once() -> None:
    """200,000 visits at three redirectors while every kind of process but nginx is killed, again and again."""
    async with run_cluster() as cluster:
        codes = await create_links(cluster)
        ledger = await visit_while_processes_die(cluster, codes, REQUESTS)
        await wait_until_shipped(cluster)
        counted, attempted = await counts_by_code(cluster), attempts_by_code(cluster)
        print(f"{sum(counted.values())} counted, {sum(attempted[code] for code in codes)} attempted")

    assert violations(ledger.answered, counted, attempted) == []
    assert ledger.answered.total() > REQUESTS * 0.5


@pytest.mark.promise
async def test_stop_in_order_loses_and_adds_nothing() -> None:
    """After SIGTERM to every redirector, what was counted is what was answered."""
    async with run_cluster() as cluster:
        codes = await create_links(cluster)
        ledger = await visit_all(cluster, codes, 5_000)
        for name in REDIRECTS:
            cluster.processes[name].send_signal(signal.SIGTERM)
        for name in REDIRECTS:
            await asyncio.wait_for(cluster.processes[name].wait(), 30)
        counted = await counts_by_code(cluster)

        assert not list((cluster.folder / "journal").glob("*.journal"))
    assert counted == dict(ledger.answered)
    assert ledger.answered.total() >= 5_000


@pytest.mark.promise
@pytest.mark.timeout(600)
async def test_control_that_counts_and_forgets_is_caught() -> None:
    """The control, which tells Redis of a click after the answer and waits for nobody, fails this very test."""
    async with run_cluster("naive") as cluster:
        codes = await create_links(cluster)
        ledger = await visit_while_processes_die(cluster, codes, 20_000)
        redis = cluster.admin_redis()
        counted = {code: int(await redis.get(f"clicks:{code}") or 0) for code in codes}
        await redis.aclose()

    # More than that cannot have been tried; that clicks are lost is enough.
    assert violations(ledger.answered, counted, dict.fromkeys(codes, ledger.sent))
