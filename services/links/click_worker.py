"""`python -m services.links.click_worker`: parses and stores clicks in a process of its own, so that links' event loop is free.

`services/links/click_queue.py` starts it, writes batches to its standard input, and reads what became of them from its standard
output, one after the other, each a frame: length, then msgpack. When its input ends, it ends.
"""

import asyncio
import gc
import itertools
import os
import signal
import sys
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import structlog
import uvloop

from services.links.click_batches import Refused, decompress, take_batch
from services.links.click_pipe import Taken, pack_frame, read_frame
from services.links.click_upkeep import create_partitions
from services.links.enrichment import Enricher
from shared.logs import configure_logs
from shared.postgres import CONNECT_TIMEOUT_S, UNAVAILABLE, server_settings
from shared.settings import Settings

STATEMENT_TIMEOUT_S = 10.0

NICENESS = 5
"""Where processors are short, the API's answers go first; clicks can wait in the journal."""

COLLECT_ALL_EVERY = 256
"""Batches. What a batch makes is freed by counting references when it is done; the collector, which would look at its
thousands of clicks again and again while they are made, found nothing and took a third of the worker's time."""

log = structlog.get_logger()


class ClickWorker:
    """Takes batches on one connection, which is opened when it is needed and given up after a failure."""

    def __init__(self, database_url: str, enricher: Enricher) -> None:
        self._database_url = database_url
        self._enricher = enricher
        self._conn: asyncpg.Connection[asyncpg.Record] | None = None

    async def take(self, segment: bytes, offset: int, is_gzip: bool, body: bytes) -> Taken:
        """Take a batch, whatever happens: what went wrong is in the status."""
        try:
            data = decompress(body) if is_gzip else body
            return await take_batch(await self._connect(), self._enricher, UUID(bytes=segment), offset, data)
        except Refused as refused:
            return Taken(refused.status, refused.offset)
        except Exception as error:
            if isinstance(error, UNAVAILABLE):
                log.warning("clicks_not_stored", error=type(error).__name__)
            else:
                # Its text may quote a row.
                log.error("clicks_failed", error=type(error).__name__, sqlstate=getattr(error, "sqlstate", None))
            if self._conn is not None:
                self._conn.terminate()
            return Taken(HTTPStatus.SERVICE_UNAVAILABLE, 0)

    async def _connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        if self._conn is None or self._conn.is_closed():
            settings = server_settings("clicks", statement_timeout_s=STATEMENT_TIMEOUT_S)
            self._conn = await asyncpg.connect(self._database_url, timeout=CONNECT_TIMEOUT_S, server_settings=settings)
            # Before the first clicks: those of a day without a partition would have to move into it later.
            try:
                await create_partitions(self._conn, datetime.now(UTC).date())
            except asyncpg.PostgresError as error:
                log.warning("partitions_not_created", error=type(error).__name__)
        return self._conn


async def work() -> None:
    """Take what comes, in order, until the input ends."""
    reader = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    database_url, country_database, settings = await read_frame(reader)
    configure_logs(Settings(**settings))
    worker = ClickWorker(database_url, Enricher(Path(country_database) if country_database else None))
    batches: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
    listening = asyncio.create_task(_listen(reader, batches))
    listening.add_done_callback(lambda _: os._exit(0))
    gc.disable()
    for number in itertools.count(1):
        taken = await worker.take(*await batches.get())
        message = (taken.status.value, taken.offset, taken.clicks, taken.refused, taken.newest)
        try:
            os.write(sys.stdout.fileno(), pack_frame(message))
        except BrokenPipeError:
            return
        gc.collect(0 if number % COLLECT_ALL_EVERY else 2)


async def _listen(reader: asyncio.StreamReader, batches: "asyncio.Queue[Any]") -> None:
    """Read on while a batch is taken: an end is noticed at once, also when Postgres hangs."""
    try:
        while True:
            await batches.put(await read_frame(reader))
    except asyncio.IncompleteReadError:
        return


if __name__ == "__main__":
    # Ctrl-C and a stopped container signal whole groups; this process ends after its service, with its input.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    uvloop.run(work())
