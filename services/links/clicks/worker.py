"""`python -m services.links.clicks.worker` parses and stores clicks in a process of its own, beside the write service.

`queue.py` starts it and asks it to take one batch after the other (`shared/child.py`). Visitors wrote what it reads, so it has
limits of memory and time, and notes what it is doing.
"""

import asyncio
import gc
import itertools
import mmap
import os
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

from services.links.clicks.batches import BatchRefused, Store, decompress, take_batch
from services.links.clicks.enrichment import Enricher
from services.links.clicks.packing import pack_clicks
from services.links.clicks.pipe import PACKED, BatchPart, TakenBatch, WorkerMark
from services.links.clicks.rows import insert_clicks
from services.links.clicks.upkeep import create_partitions
from shared.child import limit_child, open_pipes
from shared.clicks import ClickParts
from shared.countries import COUNTRIES
from shared.frames import read_frame, write_frame
from shared.logs import configure_logs
from shared.postgres import UNAVAILABLE, OwnConnection, connect
from shared.settings import Settings

STATEMENT_TIMEOUT_S = 10.0

NICENESS = 5
"""When processors are short, the answers of the API go first. Clicks can wait in the journal."""

MEMORY_BYTES = 320 * 2**20
"""The limit of data. A worker at rest has 60 MiB, one that stores 8 MiB of clicks 140. With the service it fits into 512."""

PARTITIONS_TIMEOUT_S = 3.0
"""The worker waits no longer for the partitions. It takes clicks without them, and the service creates them by the clock."""

LONGEST_BATCH_S = 15.0
"""A batch that takes longer ends the worker. The service waits less, but may have died while a click kept the worker busy."""

ORDINARY_CLICK = ClickParts(
    address=b"192.0.2.1",
    agent=b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    referrer=b"https://example.com/",
    language=b"en",
)
"""Each new worker reads this click first. If that fails, the worker is to blame, and no visitor's click."""

COLLECT_ALL_EVERY = 256
"""Batches. Counting references frees what a batch made. The collector would look at its thousands of clicks again and again
while they are made; it found nothing, and took a third of the worker's time."""

log = structlog.get_logger()


class ClickWorker:
    """Takes batches on one connection, which it opens when it needs one and gives up after a failure.

    Args:
        database_url: The database, as the write service's role.
        enricher: The parsers.
        mark: Where the worker notes what it is doing.
        store: How clicks are stored.
    """

    def __init__(self, database_url: str, enricher: Enricher, mark: WorkerMark, store: Store) -> None:
        self._database_url = database_url
        self._enricher = enricher
        self._mark = mark
        self._store = store
        self._conn: OwnConnection | None = None

    async def take(self, segment: bytes, offset: int, is_gzip: bool, body: bytes, part: BatchPart) -> TakenBatch:
        """Take a part of a batch. Whatever happens, the status says what went wrong."""
        self._mark.rest()
        try:
            data = decompress(body) if is_gzip else body
            conn = await self._connect()
            return await take_batch(
                conn,
                self._enricher,
                UUID(bytes=segment),
                offset,
                data,
                part=part,
                mark=self._mark,
                store=self._store,
            )
        except BatchRefused as refused:
            return TakenBatch(refused.status, refused.offset)
        except MemoryError:
            # The service reads in the mark which click took too much; a new process has the memory back.
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
            return TakenBatch(HTTPStatus.GATEWAY_TIMEOUT if took_too_long else HTTPStatus.SERVICE_UNAVAILABLE, 0)

    async def _connect(self) -> OwnConnection:
        if self._conn is None or self._conn.is_closed():
            self._conn = await connect(self._database_url, "clicks", statement_timeout_s=STATEMENT_TIMEOUT_S)
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
        open_enricher: Opens the parsers, with the country database.
    """
    reader, answers = await open_pipes()
    database_url, country_database, settings, mark_file = await read_frame(reader)
    configure_logs(Settings(**settings))
    enricher = open_enricher(Path(country_database) if country_database else COUNTRIES)
    enricher.enrich(ORDINARY_CLICK)
    mark = WorkerMark(mmap.mmap(mark_file, WorkerMark.SIZE))
    worker = ClickWorker(database_url, enricher, mark, pack_clicks if PACKED in sys.argv else insert_clicks)
    batches: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
    listening = asyncio.create_task(_listen(reader, batches))
    listening.add_done_callback(lambda _: os._exit(0))
    gc.disable()
    for number in itertools.count(1):
        segment, offset, is_gzip, body, part = await batches.get()
        # The kernel keeps this time, whatever the interpreter is busy with.
        signal.setitimer(signal.ITIMER_REAL, LONGEST_BATCH_S)
        taken = await worker.take(segment, offset, is_gzip, body, BatchPart(*part))
        signal.setitimer(signal.ITIMER_REAL, 0)
        message = (taken.status.value, taken.offset, taken.clicks, taken.refused, taken.newest, taken.found)
        try:
            write_frame(answers, message)
        except BrokenPipeError:
            return
        gc.collect(0 if number % COLLECT_ALL_EVERY else 2)


def run(open_enricher: Callable[[Path | None], Enricher] = Enricher) -> None:
    """Run a worker: a process with bounds of its own, which ends with its input."""
    limit_child(niceness=NICENESS, memory_bytes=MEMORY_BYTES)
    uvloop.run(work(open_enricher))


async def _listen(reader: asyncio.StreamReader, batches: "asyncio.Queue[Any]") -> None:
    """Read on while a batch is taken, so that the end of the input is noticed at once, even when Postgres hangs."""
    try:
        while True:
            await batches.put(await read_frame(reader))
    except asyncio.IncompleteReadError:
        return


if __name__ == "__main__":
    run()
