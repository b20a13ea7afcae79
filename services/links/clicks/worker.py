"""`python -m services.links.clicks.worker`: parses and stores clicks in a process of its own, beside links' event loop.

`queue.py` starts it, writes batches to its standard input, and reads what became of them from its standard output, one after
the other, each a frame: length, then msgpack. When its input ends, it ends. What it reads was written by visitors, so it has
bounds of its own on memory and time, and marks what it is at.
"""

import asyncio
import contextlib
import gc
import itertools
import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import structlog
import uvloop

from services.links.clicks.batches import Refused, decompress, take_batch
from services.links.clicks.enrichment import COUNTRIES, Enricher
from services.links.clicks.pipe import Mark, Part, Taken
from services.links.clicks.upkeep import create_partitions
from shared.frames import read_frame, write_frame
from shared.logs import configure_logs
from shared.postgres import CONNECT_TIMEOUT_S, UNAVAILABLE, server_settings
from shared.settings import Settings

STATEMENT_TIMEOUT_S = 10.0

NICENESS = 5
"""Where processors are short, the API's answers go first; clicks can wait in the journal."""

MEMORY_BYTES = 320 * 2**20
"""For data. A worker at rest has 60 MiB, one that stores 8 MiB of clicks 140; with the service it fits into 512."""

PARTITIONS_TIMEOUT_S = 3.0
"""Clicks are taken without their partitions; the service creates them by the clock."""

LONGEST_BATCH_S = 15.0
"""Longer than the service waits for one. A worker whose service has died while a click kept it busy ends by then."""

ORDINARY_CLICK = (
    b"/code HTTP/1.1\r\nHost: example.org",
    b"192.0.2.1",
    None,
    b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    b"https://example.com/",
    b"en",
    b"html",
)
"""Read by each new worker before any other: one that cannot read this has itself to blame, and no visitor's click."""

COLLECT_ALL_EVERY = 256
"""Batches. What a batch makes is freed by counting references when it is done; the collector, which would look at its
thousands of clicks again and again while they are made, found nothing and took a third of the worker's time."""

log = structlog.get_logger()


class ClickWorker:
    """Takes batches on one connection, which is opened when it is needed and given up after a failure.

    Args:
        database_url: As the write service's role.
        enricher: What tells what a click was.
        mark: Where it says what it is at.
    """

    def __init__(self, database_url: str, enricher: Enricher, mark: Mark) -> None:
        self._database_url = database_url
        self._enricher = enricher
        self._mark = mark
        self._conn: asyncpg.Connection[asyncpg.Record] | None = None

    async def take(self, segment: bytes, offset: int, is_gzip: bool, body: bytes, part: Part) -> Taken:
        """Take a part of a batch, whatever happens: what went wrong is in the status."""
        self._mark.rest()
        try:
            data = decompress(body) if is_gzip else body
            conn = await self._connect()
            return await take_batch(conn, self._enricher, UUID(bytes=segment), offset, data, part=part, mark=self._mark)
        except Refused as refused:
            return Taken(refused.status, refused.offset)
        except MemoryError:
            # The mark tells what was too much; a new process has the memory back.
            os._exit(1)
        except Exception as error:
            if isinstance(error, UNAVAILABLE):
                log.warning("clicks_not_stored", error=type(error).__name__)
            else:
                # Its text may quote a row.
                log.error("clicks_failed", error=type(error).__name__, sqlstate=getattr(error, "sqlstate", None))
            if self._conn is not None:
                self._conn.terminate()
            took_too_long = isinstance(error, asyncpg.QueryCanceledError)
            return Taken(HTTPStatus.GATEWAY_TIMEOUT if took_too_long else HTTPStatus.SERVICE_UNAVAILABLE, 0)

    async def _connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        if self._conn is None or self._conn.is_closed():
            settings = server_settings("clicks", statement_timeout_s=STATEMENT_TIMEOUT_S)
            self._conn = await asyncpg.connect(self._database_url, timeout=CONNECT_TIMEOUT_S, server_settings=settings)
            # Before the first clicks: those of a day without a partition would have to move into it later.
            try:
                async with asyncio.timeout(PARTITIONS_TIMEOUT_S):
                    await create_partitions(self._conn, datetime.now(UTC).date())
            except (asyncpg.PostgresError, TimeoutError) as error:
                log.warning("partitions_not_created", error=type(error).__name__)
        return self._conn


async def work(open_enricher: Callable[[Path | None], Enricher] = Enricher) -> None:
    """Take what comes, in order, until the input ends.

    Args:
        open_enricher: Makes what tells what a click was, from the country database.
    """
    reader = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    database_url, country_database, settings, mark_file = await read_frame(reader)
    configure_logs(Settings(**settings))
    # Whatever a library prints must not come between the answers.
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    enricher = open_enricher(Path(country_database) if country_database else COUNTRIES)
    enricher.enrich(ORDINARY_CLICK)
    worker = ClickWorker(database_url, enricher, Mark(mmap.mmap(mark_file, Mark.SIZE)))
    batches: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
    listening = asyncio.create_task(_listen(reader, batches))
    listening.add_done_callback(lambda _: os._exit(0))
    gc.disable()
    for number in itertools.count(1):
        segment, offset, is_gzip, body, part = await batches.get()
        # The kernel keeps this time, whatever the interpreter is busy with.
        signal.setitimer(signal.ITIMER_REAL, LONGEST_BATCH_S)
        taken = await worker.take(segment, offset, is_gzip, body, Part(*part))
        signal.setitimer(signal.ITIMER_REAL, 0)
        message = (taken.status.value, taken.offset, taken.clicks, taken.refused, taken.newest, taken.found)
        try:
            write_frame(answers, message)
        except BrokenPipeError:
            return
        gc.collect(0 if number % COLLECT_ALL_EVERY else 2)


def run(open_enricher: Callable[[Path | None], Enricher] = Enricher) -> None:
    """Be a worker: a process with its own bounds, which ends with its input."""
    # Ctrl-C and a stopped container signal whole groups; this process ends after its service, with its input.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(hard, MEMORY_BYTES)
    # Not every system lets it be set.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    uvloop.run(work(open_enricher))


async def _listen(reader: asyncio.StreamReader, batches: "asyncio.Queue[Any]") -> None:
    """Read on while a batch is taken: an end is noticed at once, also when Postgres hangs."""
    try:
        while True:
            await batches.put(await read_frame(reader))
    except asyncio.IncompleteReadError:
        return


if __name__ == "__main__":
    run()
