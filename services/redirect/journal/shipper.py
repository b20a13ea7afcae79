"""Sends the journal to the write service, in order, one batch at a time, and keeps each batch until it was taken.

Each click counts once, because a batch has its offset: this process, or one that adopted the segment, can send it again, and
the write service knows what it has. A thread reads and compresses, so no visitor waits for this.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import structlog

from services.redirect.journal.batches import BATCH_BYTES, JournalBatch, read_batch, read_oldest
from services.redirect.journal.intake import IntakeClient, Receipt
from services.redirect.journal.segments import FIRST_PAUSE_S, LONGEST_PAUSE_S, Segment
from services.redirect.journal.writer import ClickJournal, wait
from services.redirect.owner.connection import FAILURES
from shared.backoff import Backoff
from shared.journal import HEADER

SHIP_INTERVAL_S = 0.2
"""The time between two looks at the journal. A click waits no longer, unless there are many, or links is slow."""

LOADED_INTERVAL_S = 0.5
LOADED_BYTES = 64 * 2**10
"""After a batch of this size (some 300 clicks) the shipper waits longer: larger batches cost the write service a sixth less."""

REST = 2.0
"""After a batch the shipper rests for this many times its CPU time, so that it takes at most a third of a core."""

DRAIN_TIMEOUT_S = 2.5
"""The time to ship the rest when the service stops. Another process ships what is left then. `tinyurl up` gives its programs
longer to stop (`STOP_TIMEOUT_S` in `deploy/local/supervisor.py`)."""

log = structlog.get_logger()


class Shipper:
    """Ships the segments of a journal.

    Attributes:
        shipped: Clicks that the write service has taken.
        refused: Clicks that it has set aside because it could not read them.
        failures: Batches that were not taken at the first try, and connections that were not made.
        damaged: Segments set aside.
    """

    def __init__(self, journal: ClickJournal, intake: IntakeClient) -> None:
        self.shipped = 0
        self.refused = 0
        self.failures = 0
        self.damaged = 0
        self._journal = journal
        self._intake = intake
        # This backoff is for all segments: the write service does not answer.
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._is_draining = False
        self._last_bytes = 0
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Ship until `drain` was called and nothing is left."""
        while not self._is_draining or self._journal.segments:
            is_more = False
            for segment in self._next():
                try:
                    is_more |= await self._ship(segment)
                except Exception:
                    # The disk failed, or this code has a defect. The other segments go on.
                    log.exception("segment_not_shipped", segment=segment.name)
                    self._fail(segment.backoff)
            if not is_more:
                is_loaded = self._last_bytes >= LOADED_BYTES
                await wait(self._wake, LOADED_INTERVAL_S if is_loaded else SHIP_INTERVAL_S)
                self._wake.clear()

    def drain(self) -> None:
        """Ship the rest without pauses, and end."""
        self._is_draining = True
        self._backoff.reset()
        for segment in self._journal.segments:
            segment.backoff.reset()
        self._wake.set()

    def _next(self) -> Iterator[Segment]:
        """Yield the oldest complete segment that is due, and the live one, which does not wait for the others."""
        if not self._backoff.is_due():
            return
        for segment in self._journal.complete:
            if segment.backoff.is_due():
                yield segment
                break
        live = self._journal.live
        if live is not None and live.waiting_bytes and not live.is_damaged and live.backoff.is_due():
            yield live

    async def _ship(self, segment: Segment) -> bool:
        """Ship one batch.

        Returns:
            Whether there is more to ship now. A few new clicks wait, so that batches are not small.
        """
        if segment.is_complete and (segment.is_damaged or not segment.waiting_bytes):
            await self._end(segment)
            return True
        try:
            await self._intake.connect()
        except FAILURES as error:
            self._lose(error)
            if segment.oldest_at is None:
                segment.oldest_at = await asyncio.to_thread(read_oldest, segment)
            return False
        start = segment.taken
        batch = await asyncio.to_thread(read_batch, segment, compresses=not self._intake.is_on_this_host)
        segment.oldest_at = batch.oldest_at
        if not batch.ends:
            # The live segment ends with a whole record, unless someone else has written to it.
            segment.is_damaged = batch.is_damaged or not segment.is_complete
            if segment.is_complete:
                await self._end(segment)
            return segment.is_complete
        try:
            receipt = await self._intake.post(segment.name, start, batch.body, is_gzip=batch.is_gzip)
        except FAILURES as error:
            self._lose(error)
            return False
        is_taken = self._take(segment, batch, receipt)
        self._last_bytes = batch.ends[-1][0] - start
        await asyncio.sleep(REST * batch.cpu_s)
        return is_taken and (segment.is_complete or segment.waiting_bytes >= BATCH_BYTES)

    def _take(self, segment: Segment, batch: JournalBatch, receipt: Receipt) -> bool:
        """Move to the offset of the answer.

        Returns:
            Whether the batch was taken.
        """
        offset = None if receipt.offset is None else max(receipt.offset, len(HEADER))
        if receipt.status in (200, 422) and offset is not None and offset > segment.taken:
            clicks = batch.clicks_below(offset)
            if receipt.status == 200:
                self.shipped += clicks
            else:
                self.refused += clicks
                log.warning("clicks_refused", segment=segment.name, offset=segment.taken, clicks=clicks)
            if self._backoff.has_failed or segment.backoff.has_failed:
                log.info("clicks_taken_again", segment=segment.name)
            self._backoff.reset()
            segment.backoff.reset()
            segment.taken = offset
            # The write service has more of this segment than was written, so new clicks in it would never count.
            segment.is_damaged = offset > segment.end and not segment.is_complete
            if not segment.waiting_bytes:
                segment.oldest_at = None
            return True
        if not segment.backoff.has_failed:
            log.warning("clicks_not_taken", segment=segment.name, offset=segment.taken, status=receipt.status)
        if receipt.status == 409 and offset is not None and offset < segment.end:
            segment.taken = offset
        self._backoff.reset()
        self._fail(segment.backoff)
        return False

    async def _end(self, segment: Segment) -> None:
        """Delete a segment that was taken, or set it aside."""
        if segment.is_damaged:
            self.damaged += 1
            log.error("segment_damaged", segment=segment.name, offset=segment.taken, bytes=segment.waiting_bytes)
        self._journal.forget(segment)
        try:
            await asyncio.to_thread(segment.set_aside if segment.is_damaged else segment.delete)
        except OSError as error:
            log.warning("segment_not_removed", segment=segment.name, error=str(error))

    def _lose(self, error: BaseException) -> None:
        if not self._backoff.has_failed:
            log.warning("links_unreachable", error=type(error).__name__)
        self._fail(self._backoff)

    def _fail(self, backoff: Backoff) -> None:
        self.failures += 1
        backoff.record_failure()


@asynccontextmanager
async def run_shipper(
    journal: ClickJournal, intake: IntakeClient, *, drain_timeout_s: float = DRAIN_TIMEOUT_S
) -> AsyncIterator[Shipper]:
    """Ship a journal for the length of a block, and at its end what is left, as far as the time allows."""
    shipper = Shipper(journal, intake)
    task = asyncio.create_task(shipper.run())
    try:
        yield shipper
    finally:
        journal.finish()
        for segment in journal.segments:
            await asyncio.to_thread(segment.sync)
        shipper.drain()
        await asyncio.wait({task}, timeout=drain_timeout_s)
        task.cancel()
        await asyncio.wait({task})
        intake.close()
