"""P2: a code never leads to two targets, and never changes silently."""

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx
import pytest

from tests.promises.cluster import REDIRECTS, Cluster, run_cluster
from tests.promises.visits import Visitor

SEED = 20_261_124
ROUNDS = 30
RIVALS = 8
ENDS = ("", "+", "-\u5171", ".")
"""Of ordinary codes, and of those that the lane leaves."""


@dataclass
class EditLedger:
    """For each code, the targets that were acknowledged, and those that visitors saw."""

    acknowledged: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    seen: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    deleted: set[str] = field(default_factory=set)
    reissued: list[str] = field(default_factory=list)


async def claim(client: httpx.AsyncClient, ledger: EditLedger, code: str, url: str) -> None:
    """Try to create a link under a code that others want too."""
    try:
        response = await client.post("/api/v1/links", json={"url": url, "code": code})
    except httpx.HTTPError:
        return
    if response.status_code == 201:
        ledger.acknowledged[code].add(url)
        if code in ledger.deleted:
            ledger.reissued.append(code)


async def watch(cluster: Cluster, ledger: EditLedger, done: asyncio.Event) -> None:
    """Visit every code that was claimed, at each redirector, all the time."""
    visitors = [Visitor(cluster.socket(name)) for name in REDIRECTS]
    chance = random.Random(SEED)
    while not done.is_set():
        codes = list(ledger.acknowledged) or ["none"]
        for code in (codes[-1], chance.choice(codes)):
            for visitor in visitors:
                seen = await visitor.visit(code)
                if seen.location is not None:
                    ledger.seen[code].add(seen.location)
        await asyncio.sleep(0.002)
    for visitor in visitors:
        visitor.close()


async def run(cluster: Cluster) -> EditLedger:
    """Let rivals claim the same codes, delete every third, claim the deleted again, and kill processes meanwhile."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    ledger, done = EditLedger(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks, cluster.client() as client:
        tasks.create_task(watch(cluster, ledger, done))
        for number in range(ROUNDS):
            code = f"wanted-{number}{ENDS[number % len(ENDS)]}"
            claims = [
                claim(client, ledger, code, f"https://www.example.com/{quote(code)}/{rival}") for rival in range(RIVALS)
            ]
            if number % 6 == 5:
                name = chance.choice(("links", "postgres", "redirect-1", "valkey"))
                killing = asyncio.create_task(cluster.kill(name))
                await asyncio.gather(*claims, killing)
                await cluster.start(name)
            else:
                await asyncio.gather(*claims)
            if number % 3 == 2:
                deleted = await client.delete(f"/api/v1/links/{quote(code)}")
                if deleted.status_code == 204:
                    ledger.deleted.add(code)
                    again = [
                        claim(client, ledger, code, f"https://www.example.com/{quote(code)}/again/{n}")
                        for n in range(3)
                    ]
                    await asyncio.gather(*again)
        await asyncio.sleep(0.5)
        done.set()
    return ledger


@pytest.mark.promise
async def test_code_has_one_target() -> None:
    """Of many who claim a code one gets it, nobody gets it after its deletion, and no visitor ever sees another target."""
    async with run_cluster() as cluster:
        ledger = await run(cluster)

    print(f"{len(ledger.acknowledged)} codes acknowledged, {len(ledger.deleted)} deleted, {len(ledger.seen)} seen")
    assert {code: urls for code, urls in ledger.acknowledged.items() if len(urls) > 1} == {}
    assert {code: urls for code, urls in ledger.seen.items() if len(urls) > 1} == {}
    assert all(ledger.seen[code] <= ledger.acknowledged[code] for code in ledger.seen)
    assert ledger.reissued == []
    assert len(ledger.acknowledged) >= ROUNDS - 6
    assert len(ledger.deleted) >= 5


@pytest.mark.promise
async def test_control_that_checks_before_it_inserts_is_caught() -> None:
    """The control, which looks whether a code is free and deletes rows, gives codes to several."""
    async with run_cluster("naive") as cluster:
        ledger = await run(cluster)

    assert any(len(urls) > 1 for urls in ledger.acknowledged.values())
    assert ledger.reissued
