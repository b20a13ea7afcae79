"""The whole path of a visit: nginx and redirect, and its click through redirect, links and the click worker into Postgres.

A visit counts once its click is stored, and a run's time ends with the last of them.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from deploy.local.postgres import DATABASE
from shared.journal import HEADER
from tests.bench.candidates import Servers
from tests.bench.clicks import TOKEN
from tests.bench.creations import prepare_creations
from tests.bench.measure import Load, Measurement, MeasuringFailed, cpu_seconds, tree_cpu_seconds

STORED_TIMEOUT_S = 60.0
_LOOK_S = 0.02

NAME = "whole"


async def start_path(servers: Servers, name: str = NAME, database: str = DATABASE, **settings: str) -> "WholePath":
    """Start links with some settings, a redirect process that ships to it, and nginx before that."""
    url = servers.postgres.url("tinyurl_links", database)
    links = await prepare_creations(servers, f"links-{name}", INTERNAL_TOKEN=TOKEN, LINKS_DATABASE_URL=url, **settings)
    socket = servers.folder / f"redirect-{name}.sock"
    journal = {**servers.journal(f"journal-{name}"), "LINKS_ADDRESS": f"unix:{links.socket}"}
    await servers.start(servers.redirect(f"redirect-{name}", f"unix:{socket}", database=database, **journal))
    # The visitors' addresses come in a header, as from a proxy before this one: wrk has a single address.
    front, port = servers.front(f"front-{name}", redirect=[str(socket)], trusted_proxies=["127.0.0.1"])
    await servers.start(front)
    conn = await asyncpg.connect(url, timeout=10)
    return WholePath(servers, name, front.name, port, socket, Path(journal["JOURNAL_DIR"]), conn)


@dataclass
class WholePath:
    """The path, and a look into both of its ends.

    Attributes:
        name: Of the path; its programs have it behind their own.
        front: The name of nginx.
        port: nginx's.
        redirect: redirect's socket.
        journal: redirect's folder of clicks.
        conn: Tells what is stored.
    """

    servers: Servers
    name: str
    front: str
    port: int
    redirect: Path
    journal: Path
    conn: asyncpg.Connection

    async def measure(self, load: Callable[[], Load], stored_timeout_s: float = STORED_TIMEOUT_S) -> Measurement:
        """Run a load, wait until its clicks are stored, and count those that are.

        Raises:
            MeasuringFailed: No click was stored.
        """
        clicks, before = await self._clicks(), self.cpu_s()
        seen = await asyncio.to_thread(load)
        ended = time.monotonic()
        await self._wait_until_stored(stored_timeout_s)
        late_s = time.monotonic() - ended
        spent = {part: cpu_s - before[part] for part, cpu_s in self.cpu_s().items()}
        # Of those that were under way at the load's end wrk knows nothing, but their clicks are stored.
        stored = min(seen.requests, await self._clicks() - clicks)
        if not stored:
            raise MeasuringFailed("No click of the whole path was stored.")
        # wrk's own start is no part of it.
        seconds = seen.seconds + late_s
        return measurement(seen, stored, seconds, spent, late_s)

    def cpu_s(self) -> dict[str, float]:
        """The CPU time of each part so far, seconds."""
        processes = self.servers.supervisor.processes
        links = processes[f"links-{self.name}"].pid
        alone = cpu_seconds(links)
        return {
            "nginx": tree_cpu_seconds(processes[self.front].pid),
            "redirect": cpu_seconds(processes[f"redirect-{self.name}"].pid),
            "valkey": cpu_seconds(processes["valkey"].pid),
            "links": alone,
            "worker": tree_cpu_seconds(links) - alone,
            "postgres": tree_cpu_seconds(processes["postgres"].pid),
        }

    async def close(self) -> None:
        await self.conn.close()

    async def _clicks(self) -> int:
        return int(await self.conn.fetchval("SELECT coalesce(sum(clicks), 0) FROM links"))

    async def _wait_until_stored(self, timeout_s: float) -> None:
        """Wait until links has every segment to its end, or the time is over."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            written = {path.stem: _size(path) for path in self.journal.glob("*.journal")}
            rows = await self.conn.fetch("SELECT segment, reached FROM click_segments")
            reached = {str(row["segment"]): row["reached"] for row in rows}
            # One that has no click yet has nothing to be sent.
            if all(reached.get(name, len(HEADER)) >= size for name, size in written.items()):
                return
            await asyncio.sleep(_LOOK_S)


def _size(segment: Path) -> int:
    """0 of one that was deleted, because it was taken."""
    with contextlib.suppress(FileNotFoundError):
        return segment.stat().st_size
    return 0


def measurement(
    seen: Load, visits: int, seconds: float, spent: Mapping[str, float], late_s: float | None = None
) -> Measurement:
    """What was seen of a run, for each of its visits."""
    return Measurement(
        requests_per_second=visits / seconds,
        p50_ms=seen.p50_ms,
        p99_ms=seen.p99_ms,
        errors=seen.errors + seen.requests - visits,
        cpu_us={part: cpu_s / visits * 1e6 for part, cpu_s in spent.items()},
        late_s=late_s,
    )
