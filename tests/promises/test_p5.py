"""P5: every click that was answered is counted exactly once, through the death of redirect, links, Redis and Postgres."""

import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from tests.promises.click_counts import counts_by_code, create_links, wait_until_shipped
from tests.promises.cluster import REDIRECTS, Cluster, Kind, run_cluster
from tests.promises.visits import Visitor

SEED = 20_261_124
REQUESTS = 200_000
PACKED_REQUESTS = 50_000
ROUNDS = 30
CLIENTS = 24
LINKS = 200
VICTIMS = (*REDIRECTS, "links", "valkey", "postgres")


@dataclass
class VisitLedger:
    """What the visitors saw.

    Attributes:
        answered: Redirects by code.
        sent: Requests.
    """

    answered: Counter[str] = field(default_factory=Counter)
    sent: int = 0


async def visit(cluster: Cluster, ledger: VisitLedger, codes: list[str], number: int, requests: int) -> None:
    """One client, which follows some links more often than others."""
    chance = random.Random(SEED + number)
    with Visitor(cluster.port) as visitor:
        while ledger.sent < requests:
            ledger.sent += 1
            code = codes[int(len(codes) * chance.random() ** 2)]
            if (await visitor.visit(code)).status == 302:
                ledger.answered[code] += 1


async def visit_all(cluster: Cluster, codes: list[str], requests: int) -> VisitLedger:
    ledger = VisitLedger()
    await asyncio.gather(*(visit(cluster, ledger, codes, number, requests) for number in range(CLIENTS)))
    return ledger


async def kill_in_rounds(cluster: Cluster, done: asyncio.Event, least: int) -> int:
    """Kill one process after the other until the visitors are done, but not less often than is asked."""
    chance = random.Random(SEED)
    rounds = 0
    while rounds < least or not done.is_set():
        await asyncio.sleep(chance.uniform(0.2, 0.8))
        name = chance.choice(VICTIMS)
        await cluster.kill(name)
        await asyncio.sleep(chance.uniform(0.0, 0.3))
        await cluster.start(name)
        rounds += 1
    return rounds


def attempts_by_code(cluster: Cluster) -> Counter[str]:
    """Tries that reached a redirector, from nginx's log: a request that was repeated names several servers."""
    attempts: Counter[str] = Counter()
    for line in (cluster.folder / "access.log").read_text().splitlines():
        entry = json.loads(line)
        tries = entry["upstream"].replace(" : ", ", ").split(", ") if entry["upstream"] else []
        attempts[entry["path"].removeprefix("/")] += len(tries)
    return attempts


def violations(answered: Mapping[str, int], counted: Mapping[str, int], attempted: Mapping[str, int]) -> list[str]:
    """The links of which a click was lost, or counted without a try."""
    return [
        f"{code}: answered {answered.get(code, 0)}, counted {counted.get(code, 0)}, attempted {attempted.get(code, 0)}"
        for code in {*answered, *counted}
        if not answered.get(code, 0) <= counted.get(code, 0) <= attempted.get(code, 0)
    ]


async def visit_while_processes_die(cluster: Cluster, codes: list[str], requests: int, rounds: int) -> VisitLedger:
    print(f"seed {SEED}")
    done = asyncio.Event()
    killing = asyncio.create_task(kill_in_rounds(cluster, done, rounds))
    ledger = await visit_all(cluster, codes, requests)
    done.set()
    kills = await killing
    print(f"{ledger.sent} requests, {ledger.answered.total()} answered, {kills} kills")
    return ledger


@pytest.mark.promise
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kind", "requests"), [("real", REQUESTS), ("packed", PACKED_REQUESTS)])
async def test_answered_clicks_are_counted_once(kind: Kind, requests: int) -> None:
    """200,000 visits at three redirectors while every kind of process but nginx is killed, again and again."""
    async with run_cluster(kind) as cluster:
        codes = await create_links(cluster, LINKS)
        ledger = await visit_while_processes_die(cluster, codes, requests, ROUNDS)
        await wait_until_shipped(cluster)
        counted, attempted = await counts_by_code(cluster), attempts_by_code(cluster)
        print(f"{sum(counted.values())} counted, {sum(attempted[code] for code in codes)} attempted")

    assert violations(ledger.answered, counted, attempted) == []
    assert ledger.answered.total() > requests * 0.5


@pytest.mark.promise
async def test_stop_in_order_loses_and_adds_nothing() -> None:
    """After SIGTERM to every redirector, what was counted is what was answered."""
    async with run_cluster() as cluster:
        codes = await create_links(cluster, LINKS)
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
        codes = await create_links(cluster, LINKS)
        ledger = await visit_while_processes_die(cluster, codes, 20_000, ROUNDS)
        redis = cluster.admin_redis()
        counted = {code: int(await redis.get(f"clicks:{code}") or 0) for code in codes}
        await redis.aclose()

    # More than that cannot have been tried; that clicks are lost is enough.
    assert violations(ledger.answered, counted, dict.fromkeys(codes, ledger.sent))
