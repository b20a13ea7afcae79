"""`tinyurl bench`, g: clicks from the journal into the counts, creations beside them, and how soon a click is counted."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import httpx

from services.redirect.journal.batches import BATCH_BYTES
from services.redirect.journal.intake import IntakeClient
from services.redirect.journal.segments import draw_name
from services.redirect.journal.shipper import LOADED_INTERVAL_S
from shared.journal import HEADER
from tests.agents import hostile_agents
from tests.bench.candidates import (
    DOMAIN,
    HOT_LINKS,
    MEMORY_LINKS,
    PACKED_DATABASE,
    Servers,
    make_key,
    make_packed_links,
)
from tests.bench.clicks import TOKEN
from tests.bench.creations import Creations, create, prepare_creations
from tests.bench.measure import Measurement, MeasuringFailed, cpu_seconds, tree_cpu_seconds
from tests.bench.report import Report, Result, say
from tests.bench.rounds import ROUNDS, median, summarise
from tests.bench.traffic import Packed, make_batches

SENDERS = 3
"""Redirect processes that ship at once."""

BESIDE_CLICKS_PER_S = 10_000
SHARE_OF_INTAKE = 0.8
"""A click has to be counted soon up to this part of what the intake can take."""

CLICKS_IN_FULL_BATCH = BATCH_BYTES // 250
HOSTILE_CLICKS_IN_FULL_BATCH = BATCH_BYTES // 750
LAG_TIMEOUT_S = 30.0
LAG_PAUSE_S = 0.3


async def measure_intake(servers: Servers, report: Report, *, quick: bool) -> None:
    """Start write services of their own, so that (e) is not measured with a click worker beside it.

    One stores clicks as rows, the other packs them, in a database of its own.
    """
    bench = await _open(servers, "links-intake")
    await make_packed_links(servers)
    packed = await _open(servers, "links-packed", PACKED_DATABASE, PACKED_CLICKS="true")
    rounds = 1 if quick else ROUNDS
    runs, packed_runs = [], []
    hostile_runs, hostile_packed_runs = [], []
    await bench.flood(CLICKS_IN_FULL_BATCH)
    await packed.flood(CLICKS_IN_FULL_BATCH)
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}: g  intake")
        count = 20_000 if quick else 60_000
        runs.append(await bench.flood(count))
        packed_runs.append(await packed.flood(count))
        hostile_runs.append(await bench.flood(count // 2, hostile_agents(seed=number)))
        hostile_packed_runs.append(await packed.flood(count // 2, hostile_agents(seed=number)))
    load = f"{SENDERS} senders, full batches"
    intake = summarise("g  intake (clicks)", load, runs)
    report.candidates += [
        intake,
        summarise("g  intake, packed", load, packed_runs),
        summarise("g  hostile agents (clicks)", "another one each click", hostile_runs),
        summarise("g  hostile agents, packed", "another one each click", hostile_packed_runs),
    ]
    report.bytes_per_click = {
        "rows": median(each.bytes_per_request for each in runs),
        "packed": median(each.bytes_per_request for each in packed_runs),
    }
    report.candidates += await bench.creations_beside(rounds, seconds=2 if quick else 5)
    report.candidates += await bench.lags(intake.requests_per_second * SHARE_OF_INTAKE, samples=5 if quick else 20)


async def _open(servers: Servers, name: str, database: str = "tinyurl", **settings: str) -> "_Bench":
    """Start a write service with a database's links."""
    url = servers.postgres.url("tinyurl_links", database)
    creations = await prepare_creations(servers, name, INTERNAL_TOKEN=TOKEN, LINKS_DATABASE_URL=url, **settings)
    conn = await asyncpg.connect(url, timeout=10)
    hot = await conn.fetch("SELECT id FROM links WHERE owner = 'bench' ORDER BY id LIMIT $1", HOT_LINKS)
    return _Bench(servers, name, creations, conn, [row["id"] for row in hot])


@dataclass
class _Bench:
    """The write service, the links that are clicked, and the senders."""

    servers: Servers
    name: str
    creations: Creations
    conn: "asyncpg.Connection[asyncpg.Record]"
    link_ids: Sequence[int]
    senders: list["_Sender"] = field(init=False)
    seed: int = 0

    def __post_init__(self) -> None:
        self.senders = [_Sender(IntakeClient(f"unix:{self.creations.socket}", TOKEN)) for _ in range(SENDERS)]

    def batches(self, count: int, clicks_per_batch: int, agents: Iterator[bytes] | None = None) -> list[Packed]:
        """Other clicks each time: visitors who were seen already cost less."""
        self.seed += 1
        return list(make_batches(self.seed, self.link_ids, count, clicks_per_batch, agents))

    async def flood(self, count: int, agents: Iterator[bytes] | None = None) -> Measurement:
        """Hand over clicks as fast as they are taken."""
        size = CLICKS_IN_FULL_BATCH if agents is None else HOSTILE_CLICKS_IN_FULL_BATCH
        batches = iter(self.batches(count, size, agents))
        before = self.cpu_s()
        size_before = await self.size()
        took: list[float] = []
        started = time.monotonic()

        async def send(sender: "_Sender") -> None:
            took.extend([await sender.send(batch) for batch in batches])

        await asyncio.gather(*map(send, self.senders))
        seconds = time.monotonic() - started
        spent = {part: cpu_s - before[part] for part, cpu_s in self.cpu_s().items()}
        return Measurement(
            requests_per_second=count / seconds,
            p50_ms=statistics.median(took) * 1e3,
            p99_ms=max(took) * 1e3,
            errors=0,
            cpu_us={part: cpu / count * 1e6 for part, cpu in spent.items()},
            bytes_per_request=(await self.size() - size_before) / count,
        )

    async def size(self) -> int:
        """Bytes of the database, indexes, dead rows and all."""
        size: int = await self.conn.fetchval("SELECT pg_database_size(current_database())")
        return size

    def cpu_s(self) -> dict[str, float]:
        """The CPU time of each part so far, seconds; of PostgreSQL's children also those that ended meanwhile."""
        processes = self.servers.supervisor.processes
        links = processes[self.name].pid
        alone = cpu_seconds(links)
        return {
            "links": alone,
            "worker": tree_cpu_seconds(links) - alone,
            "postgres": tree_cpu_seconds(processes["postgres"].pid),
        }

    @asynccontextmanager
    async def clicking(self, clicks_per_s: float, seconds: float) -> AsyncIterator["_Stream"]:
        """Hand over clicks at a steady rate, as shippers do that have much to send."""
        size = max(1, round(clicks_per_s * LOADED_INTERVAL_S / SENDERS))
        batches = iter(self.batches(round(clicks_per_s * seconds), size))
        stream = _Stream()
        sending = [asyncio.create_task(stream.send(sender, batches)) for sender in self.senders]
        try:
            yield stream
        finally:
            for task in sending:
                task.cancel()
            ends = await asyncio.gather(*sending, return_exceptions=True)
            for sender in self.senders:
                sender.begin()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def creations_beside(self, rounds: int, seconds: int) -> list[Result]:
        """Creations by themselves and beside clicks, in turn."""
        alone, beside, rates = [], [], []
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}: g  creations without and beside clicks")
            alone.append(await create(self.servers, self.creations, seconds, counts_postgres=False))
            async with self.clicking(BESIDE_CLICKS_PER_S, seconds + 5) as stream:
                beside.append(await create(self.servers, self.creations, seconds, counts_postgres=False))
                rates.append(stream.clicks_per_s)
        return [
            summarise("g  creations", "no clicks", alone),
            summarise("g  creations", f"beside {median(rates):,.0f} clicks/s", beside),
        ]

    async def lags(self, clicks_per_s: float, samples: int) -> list[Result]:
        """From a visit to the number that the API tells; the slowest stands for the 99th percentile."""
        say("g  lag")
        socket = self.servers.folder / "redirect-intake.sock"
        journal = {**self.servers.journal("journal-intake"), "LINKS_ADDRESS": f"unix:{self.creations.socket}"}
        await self.servers.start(self.servers.redirect("redirect-intake", f"unix:{socket}", **journal))
        key = await make_key(self.servers.postgres)
        results = []
        async with _client(socket) as visitor, _client(self.creations.socket, Authorization=f"Bearer {key}") as api:
            probe = _Probe(visitor, api)
            await probe.lag_s()
            for wanted in (0.0, clicks_per_s):
                async with self.clicking(wanted, samples * 1.5 + 5) as stream:
                    lags = [await probe.lag_s() for _ in range(samples)]
                    rate = stream.clicks_per_s
                load = f"beside {rate:,.0f} clicks/s" if wanted else "no other clicks"
                p50, slowest = median(lags) * 1e3, max(lags) * 1e3
                results.append(Result("g  lag of a click", load, rate, None, p50, slowest, 0.0, 0))
        return results


@dataclass
class _Sender:
    """Ships a segment: each batch begins where the one before it ended."""

    intake: IntakeClient
    segment: str = field(default_factory=draw_name)
    offset: int = len(HEADER)

    def begin(self) -> None:
        """Take a new segment: what became of the last batch of the old one is not known."""
        self.segment, self.offset = draw_name(), len(HEADER)

    async def send(self, batch: Packed) -> float:
        """Hand over a batch.

        Returns:
            Seconds until it was taken.
        """
        started = time.monotonic()
        receipt = await self.intake.post(self.segment, self.offset, batch.body, is_gzip=True)
        self.offset += batch.length
        if (receipt.status, receipt.offset) != (200, self.offset):
            raise MeasuringFailed(f"the intake answered {receipt.status} to a batch")
        return time.monotonic() - started


@dataclass
class _Stream:
    """What was handed over so far, at a rate that is a wish: a slow intake makes it slower."""

    clicks: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def clicks_per_s(self) -> float:
        return self.clicks / (time.monotonic() - self.started)

    async def send(self, sender: _Sender, batches: Iterator[Packed]) -> None:
        """Send one batch in each interval; what is late follows at once."""
        due = time.monotonic()
        for batch in batches:
            await sender.send(batch)
            self.clicks += batch.clicks
            due += LOADED_INTERVAL_S
            await asyncio.sleep(due - time.monotonic())


@dataclass
class _Probe:
    """Clicks a link that nobody else clicks, and waits until it is counted."""

    visitor: httpx.AsyncClient
    api: httpx.AsyncClient
    code: str = f"b{MEMORY_LINKS - 1:06d}"
    clicks: int = 0

    async def lag_s(self) -> float:
        await asyncio.sleep(LAG_PAUSE_S)
        self.clicks += 1
        started = time.monotonic()
        answer = await self.visitor.get(f"/{self.code}")
        if answer.status_code != 302:
            raise MeasuringFailed(f"a visit was answered {answer.status_code}")
        async with asyncio.timeout(LAG_TIMEOUT_S):
            while (await self.api.get(f"/api/v1/links/{self.code}")).json()["clicks"] < self.clicks:
                await asyncio.sleep(0.01)
        return time.monotonic() - started


def _client(socket: object, **headers: str) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    return httpx.AsyncClient(transport=transport, base_url=f"http://{DOMAIN}", headers=headers, timeout=LAG_TIMEOUT_S)
