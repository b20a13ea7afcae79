"""What it costs to store the visits that links bring along, parsing and all: `python -m tests.bench.visits 1000000`.

The visits are those of five years, of 10,000 links as Zipf's law spreads them, by 200,000 addresses with 3,000 agents. They
come in the order of time, as in YOURLS' log, or with `links` in that of links, as from Shlink: every batch is of many days.
"""

import asyncio
import gc
import random
import resource
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Literal
from uuid import uuid4

import asyncpg

from deploy.local.database import prepare
from deploy.local.postgres import OWNER, ROLES, SUPERUSER, Postgres
from deploy.local.supervisor import Supervisor
from services.links.clicks.enrichment import Enricher
from services.links.imported.batches import ImportedBatch, ImportedTotal
from services.links.imported.keys import open_visitor_key
from services.links.imported.storing import store_imported
from services.links.imported.visits import VisitReader
from services.links.sources.found import FoundVisit
from shared.countries import COUNTRIES
from shared.postgres import Connection
from tests.bench.measure import tree_cpu_seconds
from tests.bench.report import say

Order = Literal["time", "links"]

BATCH = 10_000
LINKS = 10_000
ADDRESSES = 200_000
AGENTS = 3_000
YEARS = 5
KEPT_DAYS = 90

_TIMEOUT_S = 600


@dataclass(frozen=True)
class VisitCost:
    """What storing cost.

    Attributes:
        worker_us: CPU of the process that reads and stores, for each visit; those are made before.
        postgres_us: CPU of Postgres.
        memory: The most that the process had, bytes.
    """

    visits: int
    seconds: float
    worker_us: float
    postgres_us: float
    wal_bytes: float
    memory: int


async def measure_visits(folder: Path, visits: int, order: Order, links: int = LINKS) -> VisitCost:
    """Store visits in a database of its own."""
    sockets = folder / "postgres-socket"
    sockets.mkdir()
    sockets.chmod(0o777)
    postgres = Postgres(folder / "postgres", sockets, dict.fromkeys((SUPERUSER, OWNER, *ROLES), "benchmark"))
    supervisor = Supervisor(folder, say, lambda: None)
    try:
        postgres.init()
        await supervisor.start(postgres.program())
        await prepare(postgres, "visits")
        admin = await asyncpg.connect(postgres.url(SUPERUSER, "visits"), command_timeout=_TIMEOUT_S)
        await admin.execute(_LINKS, links)
        conn = await asyncpg.connect(postgres.url("tinyurl_links", "visits"), command_timeout=_TIMEOUT_S)
        pid = supervisor.processes["postgres"].pid
        wal, cpu = await admin.fetchval(_WAL), tree_cpu_seconds(pid)
        seconds, own = await _store(conn, visits, order, links)
        cost = VisitCost(
            visits,
            seconds,
            own / visits * 1e6,
            (tree_cpu_seconds(pid) - cpu) / visits * 1e6,
            (await admin.fetchval(_WAL) - wal) / visits,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )
        await conn.close()
        await admin.close()
        return cost
    finally:
        await supervisor.stop()


def make_visits(visits: int, order: Order, links: int) -> Iterator[tuple[int, FoundVisit]]:
    """Links and their visits, each time the same."""
    choose = random.Random(1)
    end = datetime.now(UTC).replace(microsecond=0)
    step = timedelta(days=365 * YEARS) / visits
    weights = list(accumulate(1 / number for number in range(1, links + 1)))
    for first in range(0, visits, BATCH):
        chosen = choose.choices(range(1, links + 1), cum_weights=weights, k=BATCH)
        if order == "links":
            # Each batch has the visits of some links, of all the time.
            chosen = sorted(
                choose.choices(range(first * links // visits + 1, (first + BATCH) * links // visits + 1), k=BATCH)
            )
        for number, link in zip(range(first, min(first + BATCH, visits)), chosen, strict=False):
            place = number if order == "time" else choose.randrange(visits)
            address = choose.randrange(ADDRESSES)
            yield (
                link,
                FoundVisit(
                    line=number,
                    code="",
                    at=end - step * (visits - place),
                    user_agent=_agent(address % AGENTS),
                    referrer=f"https://www.site-{int(choose.expovariate(0.1))}.example/page-{number % 50}",
                    address=f"198.{address >> 16}.{address >> 8 & 255}.{address & 255}",
                ),
            )


async def _store(conn: Connection, visits: int, order: Order, links: int) -> tuple[float, float]:
    """Returns the time that reading and storing took, and the process' CPU."""
    today = datetime.now(UTC).date()
    reader = await _begin(conn, links, visits)
    seconds, own = 0.0, 0.0
    # As in a click worker: counting references frees what a batch made.
    gc.disable()
    made = make_visits(visits, order, links)
    while some := list(islice(made, BATCH)):
        started, cpu = perf_counter(), process_time()
        batch = reader.read_batch("alice", some)
        async with conn.transaction():
            stored = await store_imported(conn, batch, today=today, kept_days=KEPT_DAYS)
        seconds, own = seconds + perf_counter() - started, own + process_time() - cpu
        assert stored.dated == len(some)
    return seconds, own


async def _begin(conn: Connection, links: int, visits: int) -> VisitReader:
    key = await open_visitor_key(conn, uuid4())
    async with conn.transaction():
        totals = [ImportedTotal(link, "alice", visits) for link in range(1, links + 1)]
        await store_imported(conn, ImportedBatch(totals), today=datetime.now(UTC).date(), kept_days=KEPT_DAYS)
    return VisitReader(Enricher(COUNTRIES), key)


def _agent(number: int) -> str:
    return (
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{100 + number % 60}.0.{number}.0 Safari/537.36"
    )


_LINKS = """
    INSERT INTO links (id, domain, code, owner, url) OVERRIDING SYSTEM VALUE
    SELECT n, 'sho.rt', 'code-' || n, 'alice', 'https://www.example.com/' FROM generate_series(1, $1) AS n
"""

_WAL = "SELECT pg_current_wal_insert_lsn() - '0/0'"


def main(visits: int, order: Order) -> None:
    with tempfile.TemporaryDirectory(prefix="tinyurl-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        cost = asyncio.run(measure_visits(Path(name), visits, order))
    say(
        f"{cost.visits:,} visits by {order}: {cost.seconds:.0f} s, {cost.visits / cost.seconds:,.0f}/s; "
        f"worker {cost.worker_us:.0f} + Postgres {cost.postgres_us:.0f} µs of CPU, {cost.wal_bytes:,.0f} bytes of WAL each; "
        f"{cost.memory / 2**20:.0f} MiB"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), "links" if sys.argv[2:] == ["links"] else "time")
