"""P4: redirects survive the loss of Redis, of Postgres (for links seen before) and of links; never a false 404."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from services.redirect.memory import LIFETIME_S
from tests.promises.cluster import REDIRECTS, Cluster, run_cluster
from tests.promises.visits import Visitor
from tests.serving import NO_TLS

SEED = 20_261_124
KNOWN_LINKS = 40
UNSEEN_LINKS = 400
READ_PAUSE_S = 0.005
OUTAGE_S = 3.0


@dataclass
class VisitLoad:
    """Visitors at every redirector who know what each code leads to."""

    cluster: Cluster
    known: dict[str, str] = field(default_factory=dict)
    unseen: dict[str, str] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    phase: str = "all up"

    async def create(self) -> None:
        """Create links, and visit the known ones at each redirector once."""
        async with self.cluster.client() as client:
            for n in range(KNOWN_LINKS + UNSEEN_LINKS):
                url = f"https://www.example.com/{n}"
                response = await client.post("/api/v1/links", json={"url": url, "code": f"link-{n}"})
                (self.known if n < KNOWN_LINKS else self.unseen)[response.json()["code"]] = url
        for name in REDIRECTS:
            with Visitor(self.cluster.socket(name)) as visitor:
                for code, url in self.known.items():
                    seen = await visitor.visit(code)
                    assert (seen.status, seen.location) == (302, url)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Visit known and unseen links all the time."""
        tasks = [asyncio.create_task(self._visit(name)) for name in REDIRECTS]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _visit(self, name: str) -> None:
        chance, unseen = random.Random(SEED), list(self.unseen)
        with Visitor(self.cluster.socket(name)) as visitor:
            while True:
                is_known = chance.random() < 0.9
                code = chance.choice(list(self.known)) if is_known else chance.choice(unseen)
                phase, url = self.phase, self.known[code] if is_known else self.unseen[code]
                seen = await visitor.visit(code)
                kind = "known" if is_known else "unseen"
                self.answers[f"{phase}: {kind} {seen.status}"] += 1
                is_right = (seen.status, seen.location) == (302, url)
                # Who has never seen a link may have to come again; who has, not; a 404 is a lie for both.
                if not is_right and (is_known or seen.status != 503):
                    self.faults[f"{phase}: {kind} answered {seen}"] += 1
                await asyncio.sleep(READ_PAUSE_S)


async def create_until(client: httpx.AsyncClient, status: int) -> None:
    """Create links until the answer has a status."""
    async with asyncio.timeout(20):
        while True:
            response = await client.post("/api/v1/links", json={"url": "https://www.example.com/new"})
            if response.status_code == status:
                return
            await asyncio.sleep(0.05)


async def metric(cluster: Cluster, name: str, line: str) -> float:
    """A value of a redirector's metrics."""
    transport = httpx.AsyncHTTPTransport(verify=NO_TLS, uds=str(cluster.socket(name)))
    async with httpx.AsyncClient(transport=transport) as client:
        text = (await client.get("http://service/metrics")).text
    found = re.search(rf"^{re.escape(line)} (.+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


@pytest.mark.promise
async def test_redirects_survive_each_store() -> None:
    """Redis stopped, paused and restarted empty, Postgres likewise, links gone, all of them gone: known links always work."""
    async with run_cluster() as cluster, cluster.client() as client:
        load = VisitLoad(cluster)
        await load.create()
        async with load.running():
            await asyncio.sleep(1)
            for store in ("valkey", "postgres"):
                load.phase = f"{store} stopped"
                await cluster.kill(store)
                await asyncio.sleep(OUTAGE_S)
                load.phase = f"{store} restarted"
                await cluster.start(store)
                await asyncio.sleep(OUTAGE_S)
                load.phase = f"{store} paused"
                cluster.pause(store)
                await asyncio.sleep(OUTAGE_S)
                load.phase = f"{store} resumed"
                cluster.resume(store)
                await asyncio.sleep(OUTAGE_S)
            load.phase = "links stopped"
            await cluster.kill("links")
            assert (await client.post("/api/v1/links", json={"url": "https://www.example.com/"})).status_code == 503
            await asyncio.sleep(1)
            await cluster.start("links")
            await create_until(client, 201)
            load.phase = "postgres paused, and a creation"
            cluster.pause("postgres")
            creation = await client.post("/api/v1/links", json={"url": "https://www.example.com/"})
            assert (creation.status_code, creation.headers["retry-after"]) == (503, "1")
            cluster.resume("postgres")
            await create_until(client, 201)

    print(dict(load.answers))
    assert dict(load.faults) == {}
    assert load.answers["valkey stopped: unseen 302"] > 0
    assert load.answers["postgres stopped: known 302"] > 500


@pytest.mark.promise
async def test_memory_outlives_its_lifetime_while_everything_is_gone() -> None:
    """Cut off from every store for longer than an entry lives, a redirector serves what it knew, and a metric tells."""
    async with run_cluster() as cluster:
        load = VisitLoad(cluster)
        await load.create()
        async with load.running():
            load.phase = "all gone"
            for name in ("links", "valkey", "postgres"):
                await cluster.kill(name)
            await asyncio.sleep(LIFETIME_S + 2)
            ages = [await metric(cluster, name, "redirect_feed_age_seconds") for name in REDIRECTS]
            stale = [await metric(cluster, name, "redirect_stale_answers_total") for name in REDIRECTS]
            up = [await metric(cluster, name, 'redirect_store_up{store="postgres"}') for name in REDIRECTS]
            load.phase = "all back"
            await asyncio.gather(*map(cluster.start, ("postgres", "valkey")))
            await cluster.start("links")
            await asyncio.sleep(OUTAGE_S)
        async with cluster.client() as client:
            await create_until(client, 201)

    print(dict(load.answers))
    assert dict(load.faults) == {}
    assert min(ages) > LIFETIME_S
    assert all(count > 0 for count in stale)
    assert up == [0.0] * 3
    assert load.answers["all gone: unseen 503"] > 0
    assert load.answers["all back: unseen 302"] > 0


@pytest.mark.promise
async def test_control_without_a_way_on_is_caught() -> None:
    """The control, which needs Redis for every visit, fails when Redis is gone."""
    async with run_cluster("naive") as cluster:
        load = VisitLoad(cluster)
        await load.create()
        async with load.running():
            load.phase = "valkey stopped"
            await cluster.kill("valkey")
            await asyncio.sleep(1)

    assert load.faults.total() > 0
