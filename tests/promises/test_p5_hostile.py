"""P5 with visitors who mean harm: agents that are costly to read, and some that no worker survives."""

import asyncio
import contextlib
import os
import random
import signal
import string
from collections import Counter
from pathlib import Path

import pytest

from tests.bench.measure import children
from tests.promises.click_counts import counts_and_refused, create_links, wait_until_shipped
from tests.promises.cluster import REDIRECTS, Cluster, run_cluster
from tests.promises.test_p5 import attempts_by_code, violations
from tests.promises.visits import Visitor

SEED = 20_261_127
REQUESTS = 10_000
ROUNDS = 12
CLIENTS = 24
LINKS = 40
VICTIMS = (*REDIRECTS, "links", "postgres", "worker")

POISON = (b"sleeps", b"loops", b"exits", b"crashes", b"eats", b"raises", b"recurses")
"""Agents of `tests/links/hostile_worker.py`, one visit each."""

RANDOM_EVERY = 100
"""Visits; one of them has an agent that no other has."""

NASTY = (
    b"(((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((",
    b"a" * 512,
    b"Mozilla/" * 200,
    b"'; DROP TABLE clicks; --",
    b"\xff\xfe\xc3\x28 \xf0\x9f\x92\xa9",
    "\u200b\u202e\ud55c\uad6d\uc5b4 \u00fc\u00df".encode(),
    b"%00%0d%0a\\x00\\0{{7*7}}${7*7}<script>",
    b"Mozilla/5.0 (" + b";" * 400 + b")",
)


class Hostility:
    """What the visitors do.

    Attributes:
        answered: Redirects by code.
        sent: Requests.
    """

    def __init__(self, codes: list[str]) -> None:
        self.answered: Counter[str] = Counter()
        self.sent = 0
        self._codes = codes
        self._chance = random.Random(SEED)
        # Each at its own moment; the links of these agents have no other visitors.
        self._poison = {REQUESTS * n // len(POISON): n for n in range(len(POISON))}

    async def visit(self, cluster: Cluster) -> None:
        with Visitor(cluster.port) as visitor:
            while self.sent < REQUESTS:
                number = self.sent
                self.sent += 1
                code, agent = self._draw(number)
                if (await visitor.visit(code, agent)).status == 302:
                    self.answered[code] += 1

    def _draw(self, number: int) -> tuple[str, bytes]:
        poison = self._poison.get(number)
        if poison is not None:
            return self._codes[poison], POISON[poison]
        code = self._chance.choice(self._codes[len(POISON) :])
        if number % RANDOM_EVERY == 0:
            return code, "".join(self._chance.choices(string.ascii_letters, k=512)).encode()
        return code, self._chance.choice(NASTY)


async def kill_in_rounds(cluster: Cluster) -> None:
    chance = random.Random(SEED)
    for _ in range(ROUNDS):
        await asyncio.sleep(chance.uniform(0.2, 0.8))
        name = chance.choice(VICTIMS)
        if name == "worker":
            kill_workers(cluster)
            continue
        await cluster.kill(name)
        await asyncio.sleep(chance.uniform(0.0, 0.3))
        await cluster.start(name)


def kill_workers(cluster: Cluster) -> None:
    for pid in children(cluster.processes["links"].pid):
        with contextlib.suppress(OSError):
            if b"hostile_worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


@pytest.mark.promise
@pytest.mark.timeout(300)
async def test_hostile_visitors_cost_their_own_clicks_alone() -> None:
    """10,000 visits with nasty agents while processes die; seven that harm the worker are set aside, all others count once."""
    print(f"seed {SEED}")
    async with run_cluster("poisoned") as cluster:
        codes = await create_links(cluster, LINKS)
        hostility = Hostility(codes)
        await asyncio.gather(kill_in_rounds(cluster), *(hostility.visit(cluster) for _ in range(CLIENTS)))
        await wait_until_shipped(cluster)
        (counted, refused), attempted = await counts_and_refused(cluster), attempts_by_code(cluster)
    poisoned = codes[: len(POISON)]
    answered = hostility.answered
    print(f"{answered.total()} answered, {sum(counted.values())} counted, {refused} set aside")

    assert {code: counted.get(code, 0) for code in poisoned} == dict.fromkeys(poisoned, 0)
    assert sum(answered[code] for code in poisoned) <= refused <= sum(attempted[code] for code in poisoned)
    assert refused > 0
    rest = Counter({code: count for code, count in answered.items() if code not in poisoned})
    assert violations(rest, counted, attempted) == []
    assert rest.total() > REQUESTS * 0.5
