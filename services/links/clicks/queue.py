"""The queue before the click worker. It is bounded, each batch has a deadline, and a worker that dies is started again.

`routes.py` puts batches in, `worker.py` is the process. A batch whose result is not known is simply sent again: its offset
tells what was taken. A batch that made a worker die or hang is taken in smaller parts (`suspects.py`).
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from time import monotonic
from uuid import UUID

import structlog

from services.links.clicks.pipe import ANY_NUMBER, PACKED, TakenBatch, WorkerStage
from services.links.clicks.process import WorkerLost, WorkerProcess, start_worker
from services.links.clicks.suspects import Suspects
from services.links.metrics import Metrics
from services.links.web.errors import Unavailable
from shared.backoff import Backoff
from shared.settings import LinksSettings

WORKER = (sys.executable, "-m", "services.links.clicks.worker")

WAITING_LIMIT = 16
"""Batches, of at most 8 MiB each."""

BATCH_TIMEOUT_S = 12.0
"""The worker's time for a batch, longer than its statements may take. A process that misses it is killed."""

WAIT_TIMEOUT_S = 5.0
"""A batch waits no longer for its turn."""

PATIENCE_S = 4.0
"""No part of a batch is begun later than that. The sender, who waits for 10 s, sends the batch again."""

TRIES = 2
"""So many workers may die in one request with no click to blame. After one that hangs the sender has waited long enough."""

RESTART_PAUSE_S = 0.5
LONGEST_RESTART_PAUSE_S = 30.0
STEADY_S = 60.0
"""A worker that lived for so long is started again without a longer pause."""

log = structlog.get_logger()


class ClickQueue:
    """One worker process and the batches that wait for it.

    Args:
        settings: The service's settings.
        metrics: The metrics that count the starts.
        command: The worker's command line.
    """

    def __init__(self, settings: LinksSettings, metrics: Metrics, command: Sequence[str] = WORKER) -> None:
        self._settings = settings
        self._metrics = metrics
        self._command = (*command, PACKED) if settings.packed_clicks else command
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._worker: WorkerProcess | None = None
        self._suspects = Suspects()
        # Clicks that are stored at once: less while Postgres is slow.
        self._most = ANY_NUMBER

    @property
    def pid(self) -> int | None:
        """The worker's process id, if there is a worker."""
        return None if self._worker is None else self._worker.pid

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place in the queue, from before the body is read.

        Raises:
            Unavailable: All places are held.
        """
        if self._waiting >= WAITING_LIMIT:
            raise Unavailable("Too many batches of clicks wait already.")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def take(self, segment: UUID, offset: int, *, is_gzip: bool, body: bytes) -> TakenBatch:
        """Let the worker take a batch, or its first part (`take_batch`).

        Raises:
            Unavailable: The worker took too long or died more than once, or Postgres is away.
        """
        until, tries = monotonic() + PATIENCE_S, 0
        while tries < TRIES and monotonic() < until:
            async with self._my_turn():
                part = self._suspects.part(segment, self._most)
                try:
                    worker = await self._start()
                    taken = await worker.take(segment, offset, is_gzip, body, part, timeout_s=BATCH_TIMEOUT_S)
                except WorkerLost as lost:
                    # If it was reading, the next try is another one: less of the batch, or without a click.
                    if not self._note_loss(segment):
                        tries += TRIES if lost.hangs else 1
                    await self._end()
                    continue
                except BaseException:
                    # Half a conversation must not stay in the pipe.
                    await self._end()
                    raise
                self._note_answer(segment, taken)
            if taken.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT):
                break
            if taken.status is not HTTPStatus.ACCEPTED:
                return taken
        raise Unavailable("The clicks could not be stored.")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep a worker running for the length of a block: it is ready before the first batch, and started again if it dies."""
        keeper = asyncio.create_task(self._keep_running())
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])
            await self._end()

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(WAIT_TIMEOUT_S):
                await self._turn.acquire()
        except TimeoutError:
            raise Unavailable("Too many batches of clicks wait already.") from None
        try:
            yield
        finally:
            self._turn.release()

    async def _keep_running(self) -> None:
        backoff = Backoff(RESTART_PAUSE_S, LONGEST_RESTART_PAUSE_S)
        while True:
            started = monotonic()
            try:
                async with self._turn:
                    worker = await self._start()
                status = await worker.wait()
                log.warning("click_worker_ended", status=status)
            except Exception:
                log.exception("click_worker_not_started")
            if monotonic() - started >= STEADY_S:
                backoff.reset()
            await asyncio.sleep(backoff.record_failure())

    def _note_loss(self, segment: UUID) -> bool:
        """Remember what the worker was doing.

        Returns:
            Whether a click may be to blame.
        """
        if self._worker is None:
            return False
        place = self._worker.place
        if place.stage is WorkerStage.STORING:
            self._most = max(1, place.click // 2)
        if place.stage is WorkerStage.READING:
            self._suspects.note_failure(segment, place)
        return place.stage is WorkerStage.READING

    def _note_answer(self, segment: UUID, taken: TakenBatch) -> None:
        if taken.status is HTTPStatus.ACCEPTED:
            self._suspects.note_found(segment, taken.offset, taken.found)
        elif taken.status is HTTPStatus.GATEWAY_TIMEOUT:
            self._note_loss(segment)
        elif taken.status in (HTTPStatus.OK, HTTPStatus.UNPROCESSABLE_ENTITY):
            self._suspects.note_reached(segment, taken.offset)
            self._most = min(2 * self._most, ANY_NUMBER)

    async def _start(self) -> WorkerProcess:
        if self._worker is None or not self._worker.is_running:
            await self._end()
            self._worker = await start_worker(self._command, self._settings)
            self._metrics.count_worker_start()
        return self._worker

    async def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.end()
