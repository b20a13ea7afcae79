"""`tinyurl bench`, j and k: the whole path on the same cores, without TLS and with it.

A visit passes nginx and redirect, its click redirect, links, the click worker and Postgres. It counts once its click is stored,
and the run's time ends with the last of them. nginx's `return 302` gets the same requests beside it.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg

from deploy.local.nginx import WHEEL, choose_binary, worker_user
from deploy.local.programs import Program, accepts_connections
from deploy.nginx.files import MAIN, NginxFiles
from tests.bench.candidates import DOMAIN, HOT_LINKS, RETURN_302, TARGET, Servers, free_port
from tests.bench.clicks import TOKEN
from tests.bench.creations import prepare_creations
from tests.bench.measure import Load, Measurement, MeasuringFailed, cpu_seconds, run_wrk, tree_cpu_seconds
from tests.bench.report import Report, say
from tests.bench.rounds import ROUNDS, median, summarise
from tests.bench.traffic import make_requests
from tests.tls import move_ports, self_signed

OLDEST_WITH_TLS = (1, 27, 4)
"""Of nginx: it brought `ssl_certificate_cache`. An older one is not measured with TLS, the wheel's is instead."""

REQUESTS = 100_000
"""Of as many visitors; a run that needs more begins again."""

STORED_TIMEOUT_S = 60.0
_LOOK_S = 0.02

NAME = "whole"


async def measure_whole(servers: Servers, report: Report, *, quick: bool, only: str) -> None:
    """`return 302` and the whole path, in rounds; without TLS and with it."""
    path = await start_path(servers)
    kept, closed = servers.folder / "kept.http", servers.folder / "closed.http"
    requests = list(make_requests(1, HOT_LINKS, REQUESTS))
    kept.write_bytes(b"".join(each + b"\0" for each in requests))
    closed.write_bytes(b"".join(each.replace(b": keep-alive", b": close", 1) + b"\0" for each in requests))
    limit = servers.candidates[0]
    load = f"zipf, {REQUESTS:,} visitors"
    pairs = [Pair("j", load, limit.port, limit.parts["nginx"], path, kept)] if "j" in only else []
    if "k" in only:
        port, pids, encrypted = await start_encrypted(servers, path)
        pairs += [
            Pair("k", f"TLS, {name} connections", port, pids, encrypted, file, "https")
            for name, file in (("new", closed), ("kept", kept))
        ]
    try:
        await path.measure(pairs[0].path_load(2))
        await _compare(pairs, report, seconds=3 if quick else 10, rounds=1 if quick else ROUNDS)
    finally:
        await path.close()


async def _compare(pairs: Sequence["Pair"], report: Report, seconds: int, rounds: int) -> None:
    limits: dict[str, list[Measurement]] = defaultdict(list)
    runs: dict[str, list[Measurement]] = defaultdict(list)
    for number in range(rounds):
        for pair in pairs:
            say(f"round {number + 1} of {rounds}: {pair.letter}  {pair.load}")
            limits[pair.load].append(await pair.measure_limit(seconds // 2 + 1))
            runs[pair.load].append(await pair.path.measure(pair.path_load(seconds)))
    for pair in pairs:
        rate = median(each.requests_per_second for each in limits[pair.load])
        report.candidates += [
            summarise(f"{pair.letter}  nginx return 302", pair.load, limits[pair.load], rate),
            summarise(f"{pair.letter}  until clicks are stored", pair.load, runs[pair.load], rate),
        ]


@dataclass(frozen=True)
class Pair:
    """`return 302` and the whole path under the same load.

    Attributes:
        load: As it is printed.
        limit_port: Of the nginx that says `return 302`.
        limit_pids: Its processes.
        requests: The file with the requests.
    """

    letter: str
    load: str
    limit_port: int
    limit_pids: Sequence[int]
    path: "WholePath"
    requests: Path
    scheme: str = "http"

    async def measure_limit(self, seconds: int) -> Measurement:
        before = sum(map(cpu_seconds, self.limit_pids))
        seen = await asyncio.to_thread(self._load, self.limit_port, seconds)
        spent = {"nginx": sum(map(cpu_seconds, self.limit_pids)) - before}
        return _measurement(seen, seen.requests, seen.seconds, spent)

    def path_load(self, seconds: int) -> Callable[[], Load]:
        return lambda: self._load(self.path.port, seconds)

    def _load(self, port: int, seconds: int) -> Load:
        return run_wrk(
            port=port, request=self.requests, order="listed", links=HOT_LINKS, seconds=seconds, scheme=self.scheme
        )


async def start_path(servers: Servers) -> "WholePath":
    """Start links, a redirect process that ships to it, and nginx before that."""
    links = await prepare_creations(servers, f"links-{NAME}", INTERNAL_TOKEN=TOKEN)
    socket = servers.folder / f"redirect-{NAME}.sock"
    journal = {**servers.journal(f"journal-{NAME}"), "LINKS_ADDRESS": f"unix:{links.socket}"}
    await servers.start(servers.redirect(f"redirect-{NAME}", f"unix:{socket}", **journal))
    # The visitors' addresses come in a header, as from a proxy before this one: wrk has a single address.
    front, port = servers.front(f"front-{NAME}", redirect=[str(socket)], trusted_proxies=["127.0.0.1"])
    await servers.start(front)
    conn = await asyncpg.connect(servers.postgres.url("tinyurl_links"), timeout=10)
    return WholePath(servers, front.name, port, socket, Path(journal["JOURNAL_DIR"]), conn)


async def start_encrypted(servers: Servers, path: "WholePath") -> tuple[int, Sequence[int], "WholePath"]:
    """Start nginx with TLS as production has it, before the path and as `return 302`.

    Returns:
        The port and the processes of `return 302`, and the path.
    """
    binary = choose_binary(str(servers.nginx_binary) if servers.nginx_binary else WHEEL)
    if binary.release < OLDEST_WITH_TLS:
        binary = choose_binary(WHEEL)
    say(f"k  with {binary}")
    certificate = servers.folder / "certificate.pem"
    certificate.write_bytes(self_signed([DOMAIN]))
    certificate.chmod(0o644)
    front, returning = servers.folder / f"front-{NAME}-tls", servers.folder / f"return-{NAME}-tls"
    ports = {80: free_port(), 443: free_port(), 8081: free_port()}
    NginxFiles(
        run=str(front),
        access_log=f"{front}.log json buffer=64k flush=1s",
        domains=[DOMAIN],
        links=["unix:/nonexistent"],
        redirect=[f"unix:{path.redirect}"],
        certificate=str(certificate),
        challenges=str(front),
        user=worker_user(),
        limits=False,
        trusted_proxies=["127.0.0.1"],
    ).write(front)
    move_ports(front / "tls.conf", ports)
    port = free_port()
    returning.mkdir()
    # The same TLS: the settings are the lines of the outermost level.
    lines = [line for line in (front / "tls.conf").read_text().splitlines() if line.startswith("ssl_")]
    lines += [f"ssl_certificate {certificate};", f"ssl_certificate_key {certificate};"]
    text = RETURN_302.format(folder=returning, port=f"{port} ssl", target=f"{TARGET}1")
    (returning / MAIN).write_text(text.replace("server {", "\n".join([*lines, "server {"]), 1))
    for folder, listens in ((front, ports[443]), (returning, port)):
        await servers.start(nginx_program(binary.path, folder, listens))
    return port, servers.pids(returning.name), replace(path, front=front.name, port=ports[443])


def nginx_program(binary: Path, folder: Path, port: int) -> Program:
    command = [str(binary), "-p", str(folder), "-c", str(folder / MAIN), "-e", "stderr", "-g", "daemon off;"]
    return Program(folder.name, command, is_ready=lambda: accepts_connections(port), address=port)


@dataclass
class WholePath:
    """The path, and a look into both of its ends.

    Attributes:
        front: The name of nginx.
        port: nginx's.
        redirect: redirect's socket.
        journal: redirect's folder of clicks.
        conn: Tells what is stored.
    """

    servers: Servers
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
        return _measurement(seen, stored, seconds, spent, late_s)

    def cpu_s(self) -> dict[str, float]:
        """The CPU time of each part so far, seconds."""
        processes = self.servers.supervisor.processes
        links = processes[f"links-{NAME}"].pid
        alone = cpu_seconds(links)
        return {
            "nginx": tree_cpu_seconds(processes[self.front].pid),
            "redirect": cpu_seconds(processes[f"redirect-{NAME}"].pid),
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
            if all(reached.get(name, 0) >= size for name, size in written.items()):
                return
            await asyncio.sleep(_LOOK_S)


def _size(segment: Path) -> int:
    """0 of one that was deleted, because it was taken."""
    with contextlib.suppress(FileNotFoundError):
        return segment.stat().st_size
    return 0


def _measurement(
    seen: Load, visits: int, seconds: float, spent: Mapping[str, float], late_s: float | None = None
) -> Measurement:
    return Measurement(
        requests_per_second=visits / seconds,
        p50_ms=seen.p50_ms,
        p99_ms=seen.p99_ms,
        errors=seen.errors + seen.requests - visits,
        cpu_us={part: cpu_s / visits * 1e6 for part, cpu_s in spent.items()},
        late_s=late_s,
    )
