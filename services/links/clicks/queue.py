"""The queue before the click worker. It is bounded, each batch has a deadline, and a worker that dies is started again.

`routes.py` puts batches in, `worker.py` is the process. A batch whose result is not known is simply sent again: its offset
tells what was taken. A batch that made a worker die or hang is taken in smaller parts (`suspects.py`).
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
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

TRIES = 2
"""So many workers may die in one request with no click to blame. After one that hangs the sender has waited long enough."""

RESTART_PAUSE_S = 0.5
LONGEST_RESTART_PAUSE_S = 30.0
STEADY_S = 60.0
"""A worker that lived for so long is started again without a longer pause."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ClickTimes:
    """The deadlines of a batch, in seconds. The sender waits for 10 s and then sends it again.

    Attributes:
        body: For the body to come in. A sender that hangs must not keep its place for ever.
        turn: For the wait behind other batches.
        patience: No part of a batch is begun later than that.
        batch: For the worker's answer, longer than its statements may take. A worker that misses it is killed.
        click: For one click, or for unpacking one record. Either takes milliseconds at most.
        rest: A worker that had nothing to do for so long is ended: its parsers and what it remembers take 60 to 90 MB.
    """

    body: float = 10.0
    turn: float = 5.0
    patience: float = 4.0
    batch: float = 12.0
    click: float = 2.0
    rest: float = 120.0


CLICK_TIMES = ClickTimes()


class ClickQueue:
    """One worker process and the batches that wait for it.

    Args:
        settings: The service's settings.
        metrics: The metrics that count the starts.
        command: The worker's command line.
        times: The deadlines of a batch.
    """

    def __init__(
        self,
        settings: LinksSettings,
        metrics: Metrics,
        command: Sequence[str] = WORKER,
        times: ClickTimes = CLICK_TIMES,
    ) -> None:
        self.times = times
        self._settings = settings
        self._metrics = metrics
        self._command = (*command, PACKED) if settings.packed_clicks else command
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._worker: WorkerProcess | None = None
        self._used_at = monotonic()
        self._is_wanted = asyncio.Event()
        self._has_rested = False
        self._suspects = Suspects()
        # Clicks that are stored at once: less while Postgres is slow.
        self._most = ANY_NUMBER

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
        until, tries = monotonic() + self.times.patience, 0
        while tries < TRIES and monotonic() < until:
            async with self._my_turn():
                part = self._suspects.part(segment, self._most)
                self._is_wanted.set()
                self._used_at = monotonic()
                try:
                    worker = await self._start()
                    taken = await worker.take(
                        segment,
                        offset,
                        is_gzip,
                        body,
                        part,
                        timeout_s=self.times.batch,
                        click_timeout_s=self.times.click,
                    )
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
                self._used_at = monotonic()
                self._note_answer(segment, taken)
            if taken.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT):
                break
            if taken.status is not HTTPStatus.ACCEPTED:
                return taken
        raise Unavailable("The clicks could not be stored.")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep a worker for the length of a block: it is ready before the first batch, started again if it dies, and rests."""
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
            async with asyncio.timeout(self.times.turn):
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
                if await self._rests(worker):
                    await self._is_wanted.wait()
                    continue
                log.warning("click_worker_ended", status=worker.child.process.returncode)
            except Exception:
                log.exception("click_worker_not_started")
            if monotonic() - started >= STEADY_S:
                backoff.reset()
            await asyncio.sleep(backoff.record_failure())

    async def _rests(self, worker: WorkerProcess) -> bool:
        """Wait until a worker ends, or end it because it had nothing to do for long.

        Returns:
            Whether it was ended, so that none is needed before the next batch.
        """
        while worker.child.is_running:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._used_at + self.times.rest - monotonic())):
                    await worker.child.process.wait()
            async with self._turn:
                if worker.child.is_running and monotonic() >= self._used_at + self.times.rest:
                    await self._end()
                    self._has_rested = True
                    self._is_wanted.clear()
                    return True
        return False

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
        if self._worker is None or not self._worker.child.is_running:
            await self._end()
            self._worker = await start_worker(self._command, self._settings)
            if not self._has_rested:
                self._metrics.count_worker_start()
            self._has_rested = False
        return self._worker

    async def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.child.end()
