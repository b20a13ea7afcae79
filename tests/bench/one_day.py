"""`tinyurl bench --one-day`: packed clicks of one day, all of one link or of one owner, beside those that Zipf's law spreads.

What an everyday link costs must not grow with its visitors and values. So two processes store a day's clicks, as two click
workers do, and its last tenth is measured.
"""

import asyncio
import itertools
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from pathlib import Path
from time import process_time

import asyncpg

from deploy.local.database import prepare
from deploy.local.postgres import OWNER, ROLES, SUPERUSER, Postgres
from deploy.local.supervisor import Supervisor
from services.links.clicks.counts import EnrichedClick
from services.links.clicks.packing import pack_clicks
from services.links.packed.days import DAY_US
from services.links.stats.intervals import EPOCH
from shared.api import Dimensions
from tests.bench.measure import tree_cpu_seconds
from tests.bench.report import say

WORKERS = 2
BATCH = 5_000
DAY = date(2026, 10, 20)

REFERRERS = 5_000
"""More than a day names: of a link 250, of an owner 1,000."""

LAST_PART = 10
"""The part of the day that is measured is the last of so many."""

_TIMEOUT_S = 600


@dataclass(frozen=True)
class Size:
    """Clicks of each day, and the visitors of the one link and of the one owner; Zipf's have a tenth of them."""

    clicks: int
    visitors: int


FULL = Size(clicks=5_000_000, visitors=2_000_000)
QUICK = Size(clicks=500_000, visitors=200_000)


@dataclass(frozen=True)
class Kind:
    """Whose the clicks of a day are."""

    name: str
    links: int
    owners: int
    visitors: int


@dataclass(frozen=True)
class Cost:
    """What a click of the last part of the day cost.

    Attributes:
        stored: Clicks of the whole day that the links have.
        worker_us: CPU of the processes that store, without making the clicks.
        postgres_us: CPU of all its processes, those that clean up included.
        dead_bytes: Of the row versions that were replaced or deleted, whether or not they are cleaned up already.
        deadlocks: Of the whole day.
    """

    name: str
    stored: int
    worker_us: float
    postgres_us: float
    wal_bytes: float
    dead_bytes: float
    deadlocks: int

    @property
    def cpu_us(self) -> float:
        return self.worker_us + self.postgres_us


async def measure_one_day(folder: Path, size: Size, links: int = 100_000) -> list[Cost]:
    """Store three days, each in a database of its own: as Zipf's law has it, of one link, of one owner of all links."""
    sockets = folder / "postgres-socket"
    sockets.mkdir()
    sockets.chmod(0o777)
    passwords = dict.fromkeys((SUPERUSER, OWNER, *ROLES), "benchmark")
    postgres = Postgres(folder / "postgres", sockets, passwords)
    supervisor = Supervisor(folder, say, lambda: None)
    kinds = [
        Kind("as Zipf has it", links, 20, size.visitors // 10),
        Kind("one link", 1, 1, size.visitors),
        Kind("one owner of all links", links, 1, size.visitors),
    ]
    try:
        postgres.init()
        await supervisor.start(postgres.program())
        pid = supervisor.processes["postgres"].pid
        return [await _measure(postgres, pid, f"day{number}", kind, size.clicks) for number, kind in enumerate(kinds)]
    finally:
        await supervisor.stop()


def show_costs(costs: Sequence[Cost]) -> str:
    """A table; the shares are of the first line."""
    first = costs[0]
    head = (
        f"{'a click of the last tenth':26} {'worker µs':>9} {'Postgres µs':>11} {'share':>6} {'WAL bytes':>9} {'share':>6} "
        f"{'dead bytes':>10} {'share':>6} {'deadlocks':>9}  of a day of"
    )
    lines = [
        f"{each.name:26} {each.worker_us:9.1f} {each.postgres_us:11.1f} {each.cpu_us / first.cpu_us:6.2f} "
        f"{each.wal_bytes:9,.0f} {each.wal_bytes / first.wal_bytes:6.2f} "
        f"{each.dead_bytes:10,.0f} {each.dead_bytes / first.dead_bytes:6.2f} {each.deadlocks:9}  {each.stored:,} clicks"
        for each in costs
    ]
    return "\n".join([head, *lines])


async def _measure(postgres: Postgres, pid: int, database: str, kind: Kind, clicks: int) -> Cost:
    await prepare(postgres, database)
    conn = await asyncpg.connect(postgres.url(SUPERUSER, database), timeout=10, command_timeout=_TIMEOUT_S)
    await conn.execute(_LINKS, kind.links, kind.owners)
    await conn.execute("VACUUM ANALYZE links")
    url = postgres.url("tinyurl_links", database)
    edge = clicks - clicks // LAST_PART
    say(f"{kind.name}: {edge:,} clicks")
    await _store(url, kind, range(edge), clicks)
    await conn.execute("ANALYZE")
    say(f"{kind.name}: the last {clicks - edge:,}")
    dead, wal, cpu = await conn.fetchval(_DEAD), await conn.fetchval(_WAL), tree_cpu_seconds(pid)
    worker_s = await _store(url, kind, range(edge, clicks), clicks)
    cpu, wal, dead = tree_cpu_seconds(pid) - cpu, await conn.fetchval(_WAL) - wal, await conn.fetchval(_DEAD) - dead
    stored = await conn.fetchval("SELECT sum(clicks)::bigint FROM links")
    deadlocks = await conn.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    await conn.close()
    last = clicks - edge
    return Cost(
        kind.name,
        stored,
        worker_s / last * 1e6,
        cpu / last * 1e6,
        float(wal) / last,
        float(dead) / last,
        deadlocks,
    )


async def _store(url: str, kind: Kind, part: range, clicks: int) -> float:
    """Store a part of a day in processes that begin and end with it: a connection of Postgres' tells its counters at its end.

    Returns:
        Their CPU time, seconds.
    """
    loop = asyncio.get_running_loop()
    parts = [part[number::WORKERS] for number in range(WORKERS)]
    with ProcessPoolExecutor(WORKERS) as workers:
        storing = [loop.run_in_executor(workers, store_clicks, url, kind, each, clicks) for each in parts]
        return sum(await asyncio.gather(*storing))


def store_clicks(url: str, kind: Kind, places: range, clicks: int) -> float:
    """Make some clicks of a day and store them, batch by batch; for a process of its own.

    Returns:
        The CPU time of storing, seconds.
    """
    return asyncio.run(_store_clicks(url, kind, places, clicks))


async def _store_clicks(url: str, kind: Kind, places: range, clicks: int) -> float:
    conn = await asyncpg.connect(url, timeout=10, command_timeout=_TIMEOUT_S)
    spent = 0.0
    made = make_clicks(kind, places, clicks)
    while batch := list(itertools.islice(made, BATCH)):
        started = process_time()
        async with conn.transaction():
            await pack_clicks(conn, batch)
        spent += process_time() - started
    await conn.close()
    return spent


def make_clicks(kind: Kind, places: range, clicks: int) -> Iterator[EnrichedClick]:
    """Make some of a day's clicks, in the order of time; the link of rank r is drawn in proportion to 1/r.

    Args:
        kind: Whose they are.
        places: Which of the day's clicks.
        clicks: The day's clicks.
    """
    chance = random.Random(places.start)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, kind.links + 1)))
    ids = range(1, kind.links + 1)
    midnight = (DAY - EPOCH.date()).days * DAY_US
    for place in places:
        (link,) = chance.choices(ids, cum_weights=weights)
        visitor = chance.randrange(kind.visitors)
        yield EnrichedClick(
            midnight + DAY_US * place // clicks,
            link,
            f"owner-{link % kind.owners}",
            blake2b(visitor.to_bytes(8, "big"), digest_size=16).digest(),
            visitor % 20 == 0,
            # The third power of an even distribution makes a few values frequent and many rare.
            Dimensions(
                country=f"C{int(60 * chance.random() ** 3)}",
                browser=f"Browser {visitor % 12}",
                os=f"System {visitor % 8}",
                device=("mobile", "desktop", "tablet")[visitor % 3],
                referrer=f"site-{int(REFERRERS * chance.random() ** 3)}.example",
                language=f"l{visitor % 25}",
            ),
        )


_LINKS = """
    INSERT INTO links (id, domain, code, owner, url) OVERRIDING SYSTEM VALUE
    SELECT n, '127.0.0.1', 's' || n, 'owner-' || n % $2::bigint, 'https://www.example.com/' || n
    FROM generate_series(1, $1::bigint) AS n
"""

_WAL = "SELECT pg_current_wal_lsn() - '0/0'"

# The versions that updates and deletions left behind, at the usual width of the table's rows. A piece of a large value is a row
# of 2 kB.
_DEAD = """
    SELECT coalesce(sum((n_tup_upd + n_tup_del) * CASE schemaname WHEN 'pg_toast' THEN 2048 ELSE 24 + coalesce(
        (SELECT sum(avg_width) FROM pg_stats WHERE (pg_stats.schemaname, tablename) = (stat.schemaname, relname)), 0) END), 0)
    FROM pg_stat_all_tables AS stat WHERE schemaname IN ('public', 'pg_toast')
"""
