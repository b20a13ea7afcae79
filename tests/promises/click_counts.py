"""Links whose clicks are counted, and the counts once every redirector has shipped what it had."""

import asyncio
import time
from collections import Counter

import httpx

from tests.links.packed_data import count_raw, select_counts, select_raw
from tests.promises.cluster import REDIRECTS, Cluster
from tests.serving import NO_TLS

SHIPPED_TIMEOUT_S = 90.0


async def create_links(cluster: Cluster, count: int) -> list[str]:
    codes = [f"p5-{number}" for number in range(count)]
    async with cluster.client() as client:
        for code in codes:
            response = await client.post("/api/v1/links", json={"url": f"https://www.example.com/{code}", "code": code})
            assert response.status_code == 201, response.text
    return codes


async def wait_until_shipped(cluster: Cluster) -> None:
    """Wait until no redirector has a click left, and none is left of a process that died."""
    deadline = time.monotonic() + SHIPPED_TIMEOUT_S
    while (waiting := [await waiting_bytes(cluster, name) for name in REDIRECTS]) != [0, 0, 0] or orphans(cluster):
        assert time.monotonic() < deadline, (waiting, orphans(cluster))
        await asyncio.sleep(0.1)


async def waiting_bytes(cluster: Cluster, name: str) -> int:
    transport = httpx.AsyncHTTPTransport(verify=NO_TLS, uds=str(cluster.socket(name)))
    async with httpx.AsyncClient(transport=transport, base_url="http://redirect") as client:
        text = (await client.get("/metrics")).text
    (line,) = (line for line in text.splitlines() if line.startswith("redirect_journal_waiting_bytes "))
    return int(float(line.split()[1]))


def orphans(cluster: Cluster) -> int:
    """Segments beyond the live ones of the running redirectors."""
    return max(0, len(list((cluster.folder / "journal").glob("*.journal"))) - len(REDIRECTS))


async def counts_by_code(cluster: Cluster) -> dict[str, int]:
    """The raw clicks of each link, after every count was compared with them; none was set aside."""
    counted, refused = await counts_and_refused(cluster)

    assert refused == 0
    return counted


async def counts_and_refused(cluster: Cluster) -> tuple[dict[str, int], int]:
    """The raw clicks of each link, after every count was compared with them, and how many were set aside."""
    conn = await cluster.connect()
    try:
        stored = await select_raw(conn)
        assert await select_counts(conn) == count_raw(stored)
        raw = Counter(click.link_id for click in stored)
        assert {
            row["id"]: row["clicks"] for row in await conn.fetch("SELECT id, clicks FROM links WHERE clicks > 0")
        } == raw
        codes = {row["id"]: row["code"] for row in await conn.fetch("SELECT id, code FROM links")}
        refused = await conn.fetchval("SELECT coalesce(sum(refused), 0)::integer FROM click_segments")
    finally:
        await conn.close()

    return {codes[link_id]: count for link_id, count in raw.items()}, refused
