"""P6: a click limit of N lets exactly N visitors through, over any number of replicas, whatever is killed meanwhile."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from tests.promises.click_counts import counts_by_code, wait_until_shipped
from tests.promises.cluster import REDIRECTS, Cluster, run_cluster
from tests.promises.visits import ObservedVisit, Visitor

SEED = 20_261_128
LIMITS = (1, 7, 100, 1000)
CROWD = 4
"""Visitors for each that a link lets through."""

CLIENTS = 200
VICTIMS = (*REDIRECTS, "links", "valkey", "postgres")

PERSON = b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PROGRAM = b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


class Way(NamedTuple):
    """How somebody visits."""

    agent: bytes | None = PERSON
    method: str = "GET"
    headers: bytes = b""


SPARED = (Way(PROGRAM), Way(None), Way(method="HEAD"), Way(headers=b"Purpose: prefetch\r\n"))
"""Visits that must not count."""


@dataclass
class ClaimLedger:
    """What visitors of limited links saw.

    Attributes:
        limits: The limit of each code.
        passed: How many got to the target.
        unanswered: How many got an error of the server, or nothing. Each may have used up a visit.
        wrong: Answers that no visitor may get.
    """

    limits: dict[str, int]
    passed: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, ObservedVisit]] = field(default_factory=list)
    answers: int = 0

    def note(self, code: str, seen: ObservedVisit) -> None:
        self.answers += 1
        if seen == ObservedVisit(302, target(code)):
            self.passed[code] += 1
        elif seen.status == 0 or seen.status >= 500:
            self.unanswered[code] += 1
        elif seen != ObservedVisit(410):
            self.wrong.append((code, seen))

    def violations(self) -> list[str]:
        """The links that let too many through, or fewer than can have been lost on the way."""
        return [
            f"{code}: {self.passed[code]} of {limit} passed, {self.unanswered[code]} unanswered"
            for code, limit in self.limits.items()
            if not limit - self.unanswered[code] <= self.passed[code] <= limit
        ]


def target(code: str) -> str:
    return f"https://www.example.com/{code}"


async def create_limited(cluster: Cluster, name: str) -> ClaimLedger:
    limits = {f"{name}-{limit}": limit for limit in LIMITS}
    async with cluster.client() as client:
        for code, limit in limits.items():
            created = await client.post("/api/v1/links", json={"url": target(code), "code": code, "max_clicks": limit})
            assert created.status_code == 201, created.text
    return ClaimLedger(limits)


async def visit(visitor: Visitor, code: str, way: Way) -> ObservedVisit:
    return await visitor.visit(code, way.agent, method=way.method, headers=way.headers)


async def crowd(cluster: Cluster, ledger: ClaimLedger, *, spared: bool = True) -> None:
    """Let four times as many visit each link as may pass, all at once, and among them those who must not count."""
    chance = random.Random(SEED)
    visits = [(code, Way()) for code, limit in ledger.limits.items() for _ in range(CROWD * limit)]
    visits += [(code, way) for code in ledger.limits for way in SPARED * 10 if spared]
    chance.shuffle(visits)
    left = iter(visits)

    async def one_client() -> None:
        with Visitor(cluster.port) as visitor:
            for code, way in left:
                seen = await visit(visitor, code, way)
                if way == Way():
                    ledger.note(code, seen)
                elif seen.location is not None:
                    ledger.wrong.append((code, seen))

    await asyncio.gather(*(one_client() for _ in range(CLIENTS)))


async def use_up(cluster: Cluster, ledger: ClaimLedger) -> None:
    """Visit each link, one visitor after the other, until it says that it is used up."""
    with Visitor(cluster.port) as visitor:
        for code, limit in ledger.limits.items():
            for _ in range(limit + 200):
                seen = await visit(visitor, code, Way())
                ledger.note(code, seen)
                if seen.status == 410:
                    break


async def visit_and_kill(cluster: Cluster, ledger: ClaimLedger, victim: str) -> None:
    """Kill a process when a part of the crowd was answered, and start it again; let another crowd come after it."""
    total = CROWD * sum(LIMITS)
    coming = asyncio.create_task(crowd(cluster, ledger))
    while ledger.answers < total * 0.05:
        await asyncio.sleep(0.001)
    await cluster.kill(victim)
    await cluster.start(victim)
    await coming
    await crowd(cluster, ledger, spared=False)
    await use_up(cluster, ledger)


async def used(cluster: Cluster, ledger: ClaimLedger) -> dict[str, int]:
    conn = await cluster.connect()
    rows = await conn.fetch(
        "SELECT code, used FROM links JOIN link_claims ON link_id = id WHERE max_clicks IS NOT NULL"
    )
    await conn.close()
    counted = {row["code"]: row["used"] for row in rows}
    return {code: counted.get(code, 0) for code in ledger.limits}


@pytest.mark.promise
async def test_exactly_as_many_get_through() -> None:
    """Limits of 1 to 1,000 at three redirectors: exactly so many pass, and fewer by no more than answers were lost."""
    print(f"seed {SEED}")
    async with run_cluster() as cluster:
        calm = await create_limited(cluster, "calm")
        await crowd(cluster, calm)
        await wait_until_shipped(cluster)

        assert (calm.passed, calm.unanswered, calm.wrong) == (calm.limits, Counter(), [])
        # Only those who passed are clicks.
        assert await counts_by_code(cluster) == calm.limits
        for victim in VICTIMS:
            ledger = await create_limited(cluster, victim)
            await visit_and_kill(cluster, ledger, victim)
            lost = sum(LIMITS) - ledger.passed.total()
            print(f"{victim}: {ledger.answers} visits, {ledger.unanswered.total()} unanswered, {lost} lost on the way")

            assert (ledger.violations(), ledger.wrong) == ([], [])
            assert await used(cluster, ledger) == ledger.limits


@pytest.mark.promise
async def test_who_is_no_visitor_uses_none() -> None:
    """A hundred visits of bots, previews, prefetches and HEAD, at each redirector, leave all of a link's limit."""
    async with run_cluster() as cluster:
        ledger = await create_limited(cluster, "spared")
        with Visitor(cluster.port) as visitor:
            seen = [await visit(visitor, "spared-7", way) for way in SPARED * 25]
        async with cluster.client() as client:
            left = (await client.get("/api/v1/links/spared-7")).json()["clicks_left"]

        assert {(each.status, each.location) for each in seen} == {(403, None)}
        assert left == 7
        assert await used(cluster, ledger) == dict.fromkeys(ledger.limits, 0)


@pytest.mark.promise
async def test_control_that_checks_before_it_counts_is_caught() -> None:
    """The control, which looks how many have passed and then counts one more, lets more through."""
    async with run_cluster("naive") as cluster:
        ledger = await create_limited(cluster, "naive")
        await crowd(cluster, ledger, spared=False)

    print(f"{ledger.passed.total()} of {sum(LIMITS)} passed")
    assert ledger.violations()
    assert any(ledger.passed[code] > limit for code, limit in ledger.limits.items())
