"""P10: no visitor and no tenant takes the service from the others."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice

import asyncpg
import httpx
import pytest

from services.links.keys.rows import create_key
from tests.agents import hostile_agents
from tests.promises.click_counts import wait_until_shipped
from tests.promises.cluster import Cluster, Kind, run_cluster
from tests.promises.visits import Visitor

SEED = 20_261_127
EDITS = 60
"""Of one owner, all of a link that it cannot have yet: far more than there are connections."""

CREATIONS = 20
VISITS = 450
OTHERS_TIMEOUT_S = 8.0


@dataclass
class Others:
    """What became of the requests of everybody else meanwhile."""

    created: int = 0
    followed: int = 0
    failed: Counter[str] = field(default_factory=Counter)


async def do_as_others(cluster: Cluster, key: str) -> Others:
    """Create links under codes of another owner, and follow each at once."""
    others = Others()
    async with cluster.client(OTHERS_TIMEOUT_S) as client:
        client.headers["Authorization"] = f"Bearer {key}"

        async def create_and_follow(number: int) -> None:
            try:
                made = await client.post(
                    "/api/v1/links", json={"url": f"https://www.example.com/{number}", "code": f"other-{number}"}
                )
                others.created += made.status_code == 201
                seen = await client.get(f"/other-{number}")
                others.followed += seen.status_code == 302
            except httpx.HTTPError as error:
                others.failed[type(error).__name__] += 1

        await asyncio.gather(*(create_and_follow(number) for number in range(CREATIONS)))
    return others


async def run(cluster: Cluster, kind: Kind) -> tuple[Others, int]:
    """Let one owner's edits wait for a row that something else holds, while visitors send agents that are dear to read.

    Returns:
        What became of the others' requests, and how many hostile visits were answered.
    """
    conn = await cluster.connect()
    _, key = await create_key(conn, owner="others", scopes=["links:read", "links:write"])
    async with cluster.client(60.0) as tenant:
        made = await tenant.post("/api/v1/links", json={"url": "https://www.example.com/held", "code": "held"})
        assert made.status_code == 201
        table = "naive_links" if kind == "naive" else "links"
        holder = conn.transaction()
        await holder.start()
        await conn.execute(f"SELECT FROM {table} WHERE code = 'held' FOR UPDATE")
        edits = [
            asyncio.create_task(tenant.patch("/api/v1/links/held", json={"url": f"https://www.example.com/{number}"}))
            for number in range(EDITS)
        ]
        await wait_for_waiters(cluster)
        answered = 0
        with Visitor(cluster.port) as visitor:
            for agent in islice(hostile_agents(SEED), VISITS) if kind == "real" else ():
                answered += (await visitor.visit("held", agent)).status == 302
        others = await do_as_others(cluster, key)
        await holder.rollback()
        await asyncio.gather(*edits, return_exceptions=True)
    await conn.close()
    print(f"{others}, {answered} hostile visits answered")
    return others, answered


async def wait_for_waiters(cluster: Cluster) -> None:
    conn = await cluster.connect()
    async with asyncio.timeout(20):
        while not await conn.fetchval("SELECT count(*) > 1 FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.05)
    await conn.close()


@pytest.mark.promise
async def test_one_owner_and_one_visitor_leave_the_others_alone() -> None:
    """Others create and follow while an owner's edits all wait; each hostile visit is answered, and its click counted."""
    async with run_cluster() as cluster:
        others, answered = await run(cluster, "real")
        await wait_until_shipped(cluster)
        conn: asyncpg.Connection[asyncpg.Record] = await cluster.connect()
        counted = await conn.fetchval(
            "SELECT count(*) FROM clicks JOIN links ON links.id = link_id WHERE code = 'held'"
        )
        await conn.close()

    assert (others.created, others.followed, others.failed) == (CREATIONS, CREATIONS, Counter())
    assert answered == VISITS
    assert counted == VISITS


@pytest.mark.promise
async def test_naive_design_lets_one_owner_stop_the_others() -> None:
    """The control: with one pool for everybody the same edits leave no connection to anybody else."""
    async with run_cluster("naive") as cluster:
        others, _ = await run(cluster, "naive")

    assert others.created < CREATIONS
