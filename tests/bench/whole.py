"""`tinyurl bench`, j and k: the whole path on the same cores, without TLS and with it, beside nginx's `return 302`."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.candidates import BROWSER, HOT_LINKS, PACKED_DATABASE, Servers, make_packed_links
from tests.bench.encrypted import start_encrypted
from tests.bench.measure import Load, Measurement, cpu_seconds, run_wrk
from tests.bench.path import NAME, WholePath, measurement, start_path
from tests.bench.report import Report, say
from tests.bench.rounds import ROUNDS, median, summarise
from tests.bench.traffic import make_requests

REQUESTS = 100_000
"""Of as many visitors; a run that needs more begins again."""

WARM_UP_S = 2


async def measure_whole(servers: Servers, report: Report, *, quick: bool, only: str) -> None:
    """`return 302` and the whole path, in rounds; without TLS and with it."""
    path = await start_path(servers)
    paths = [path]
    kept, closed, each_link = (servers.folder / f"{name}.http" for name in ("kept", "closed", "each-link"))
    each_link.write_text(BROWSER)
    requests = list(make_requests(1, HOT_LINKS, REQUESTS))
    kept.write_bytes(b"".join(each + b"\0" for each in requests))
    closed.write_bytes(b"".join(each.replace(b": keep-alive", b": close", 1) + b"\0" for each in requests))
    limit = servers.candidates[0]
    load = f"{REQUESTS:,} visitors"
    pairs = []
    if "j" in only:
        await make_packed_links(servers)
        packed = await start_path(servers, f"{NAME}-packed", PACKED_DATABASE, PACKED_CLICKS="true")
        paths.append(packed)
        pairs += [
            Pair("j", each_load, limit.port, limit.parts["nginx"], each, kept, each_link)
            for each_load, each in ((load, path), (f"{load}, packed", packed))
        ]
    if "k" in only:
        port, pids, encrypted = await start_encrypted(servers, path)
        pairs += [
            Pair("k", f"TLS, {name} connections", port, pids, encrypted, file, each_link, "https")
            for name, file in (("new", closed), ("kept", kept))
        ]
    try:
        await _compare(pairs, report, seconds=3 if quick else 10, rounds=1 if quick else ROUNDS)
    finally:
        for each in paths:
            await each.close()


async def _compare(pairs: Sequence["Pair"], report: Report, seconds: int, rounds: int) -> None:
    limits: dict[str, list[Measurement]] = defaultdict(list)
    runs: dict[str, list[Measurement]] = defaultdict(list)
    for number in range(rounds):
        for pair in pairs:
            say(f"round {number + 1} of {rounds}: {pair.letter}  {pair.load}")
            limits[pair.load].append(await pair.measure_limit(seconds // 2 + 1))
            runs[pair.load].append(await pair.measure_path(seconds))
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
        each_link: The file with the request of a link.
    """

    letter: str
    load: str
    limit_port: int
    limit_pids: Sequence[int]
    path: WholePath
    requests: Path
    each_link: Path
    scheme: str = "http"

    async def measure_limit(self, seconds: int) -> Measurement:
        """`return 302` for some seconds."""
        before = sum(map(cpu_seconds, self.limit_pids))
        seen = await asyncio.to_thread(self._load, self.limit_port, self.requests, "listed", seconds)
        spent = {"nginx": sum(map(cpu_seconds, self.limit_pids)) - before}
        return measurement(seen, seen.requests, seen.seconds, spent)

    async def measure_path(self, seconds: int) -> Measurement:
        """The whole path for some seconds. As with the other candidates, no visit is the first one of its link."""
        port = self.path.port
        await self.path.measure(lambda: self._load(port, self.each_link, "once", WARM_UP_S))
        return await self.path.measure(lambda: self._load(port, self.requests, "listed", seconds))

    def _load(self, port: int, requests: Path, order: str, seconds: int) -> Load:
        return run_wrk(port=port, request=requests, order=order, links=HOT_LINKS, seconds=seconds, scheme=self.scheme)
