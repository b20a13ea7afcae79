"""P1: a link whose creation was acknowledged is never lost, whatever process is killed when; it resolves at once."""

import asyncio
import random
import time
from dataclasses import dataclass, field

import httpx
import pytest

from tests.promises.cluster import REDIRECTS, Cluster, Kind, run_cluster
from tests.promises.visits import Visitor

SEED = 20_261_124
KILLS = 25
CLIENTS = 6
CUSTOM_CODE_VISIBLE_S = 1.0


@dataclass
class CreationLedger:
    """What clients were promised, and what they saw that they should not have."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    attempts: int = 0


async def create_and_follow(cluster: Cluster, ledger: CreationLedger, number: int, done: asyncio.Event) -> None:
    """One client: creates links of every kind, repeats what may be repeated, and follows each at once."""
    sent = 0
    async with cluster.client() as client:
        with Visitor(cluster.port) as visitor:
            while not done.is_set():
                sent += 1
                url = f"https://www.example.com/{number}/{sent}"
                body: dict[str, str] = {"url": url}
                headers = {}
                if sent % 3 == 1:
                    body["code"] = f"custom-{number}-{sent}"
                if sent % 3 == 2:
                    headers["Idempotency-Key"] = f"{number}-{sent}"
                response = await post_until_answered(client, ledger, body, headers, done)
                if response is None or response.status_code != 201:
                    continue
                if headers:
                    ledger.repeated.append(url)
                code = response.json()["code"]
                ledger.acknowledged[code] = url
                acknowledged_at = time.monotonic()
                seen = await visitor.visit(code)
                while (
                    "code" in body and seen.status == 404 and time.monotonic() < acknowledged_at + CUSTOM_CODE_VISIBLE_S
                ):
                    seen = await visitor.visit(code)
                # 503 and a broken connection are what a visitor of a dying process may see; anything else is not.
                if seen.status not in (0, 503) and (seen.status, seen.location) != (302, url):
                    ledger.violations.append(f"{code}: {seen} right after it was acknowledged for {url}")


async def post_until_answered(
    client: httpx.AsyncClient,
    ledger: CreationLedger,
    body: dict[str, str],
    headers: dict[str, str],
    done: asyncio.Event,
) -> httpx.Response | None:
    """Send a creation; with an `Idempotency-Key` again and again until it is answered for good."""
    while True:
        ledger.attempts += 1
        try:
            response = await client.post("/api/v1/links", json=body, headers=headers)
        except httpx.HTTPError:
            response = None
        if not headers or done.is_set() or (response is not None and response.status_code < 500):
            return response
        await asyncio.sleep(0.05)


async def kill_at_random(cluster: Cluster, done: asyncio.Event) -> None:
    chance = random.Random(SEED)
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.1, 0.4))
        name = chance.choice(cluster.names)
        await cluster.kill(name)
        await cluster.start(name)
    done.set()


async def run(cluster: Cluster) -> CreationLedger:
    """Create and follow while processes die, then look for everything that was promised."""
    print(f"seed {SEED}")
    ledger, done = CreationLedger(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for number in range(CLIENTS):
            tasks.create_task(create_and_follow(cluster, ledger, number, done))
        tasks.create_task(kill_at_random(cluster, done))
    for name in REDIRECTS:
        with Visitor(cluster.socket(name)) as visitor:
            for code, url in ledger.acknowledged.items():
                deadline = time.monotonic() + 10
                while (seen := await visitor.visit(code)).status in (0, 503) and time.monotonic() < deadline:
                    await asyncio.sleep(0.05)
                if (seen.status, seen.location) != (302, url):
                    ledger.violations.append(f"{code}: {seen} at {name} in the end, acknowledged for {url}")
    return ledger


@pytest.mark.promise
async def test_acknowledged_links_are_never_lost() -> None:
    """Clients create, repeat and follow while every kind of process is killed; nothing that was acknowledged is missing."""
    async with run_cluster() as cluster:
        ledger = await run(cluster)
        conn = await cluster.connect()
        urls = [row["url"] for row in await conn.fetch("SELECT url FROM links")]
        stored = {row["code"]: row["url"] for row in await conn.fetch("SELECT code, url FROM links")}
        await conn.close()

    print(f"{ledger.attempts} attempts, {len(ledger.acknowledged)} acknowledged, {KILLS} kills")
    assert ledger.violations == []
    assert len(ledger.acknowledged) > 300
    assert {code: stored.get(code) for code in ledger.acknowledged} == ledger.acknowledged
    assert [url for url in ledger.repeated if urls.count(url) != 1] == []


@pytest.mark.promise
@pytest.mark.parametrize("kind", ["naive"])
async def test_control_that_acknowledges_too_early_is_caught(kind: Kind) -> None:
    """The control, which answers before it has stored a link, fails this very test."""
    async with run_cluster(kind) as cluster:
        ledger = await run(cluster)

    assert any("in the end" in violation for violation in ledger.violations)
