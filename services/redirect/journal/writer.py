"""The click journal of one redirect process. The clicks of an event-loop tick are one record, written before any answer.

The lane and the app call `ClickJournal.record`, and `shipper.py` sends the records to the write service. A thread does whatever
may wait, once a second: it syncs, rotates and adopts segments, and measures the folder.
"""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from operator import attrgetter
from pathlib import Path
from time import monotonic

import structlog

from services.redirect.journal.folder import scan_folder
from services.redirect.journal.segments import RECORD_BYTES, Segment
from shared.backoff import Backoff
from shared.clicks import Click
from shared.journal import HEADER, pack_record

PASS_INTERVAL_S = 1.0
ADOPT_INTERVAL_S = 3.0
OPEN_TIMEOUT_S = 2.0
"""The time for the first pass, before the first visit. If the disk takes longer, the service starts without a journal."""

CLOSE_TIMEOUT_S = 2.0

SEGMENT_BYTES = 64 * 2**20
SEGMENT_AGE_S = 3600.0
"""A segment is complete at this size or age. It is deleted when it was taken. The write service keeps a row for each."""

SEGMENTS_IN_LIMIT = 8
"""A segment is complete at an eighth of the folder's limit, if that is smaller."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 5.0

log = structlog.get_logger()


class ClickJournal:
    """The journal of one process.

    Args:
        folder: The folder, which the redirect processes of a host share.
        max_bytes: The size that the folder may have; clicks beyond it are dropped.
        segment_age_s: A segment that is so old is complete.

    Attributes:
        live: The segment that is written to; None while the folder cannot be written.
        complete: The other segments that this process has locked, rotated or adopted, oldest first.
        recorded: The number of clicks that were written.
        written_bytes: The bytes that they took.
        dropped: The clicks that were not written, because the folder is `full` or because of an `error`.
        folder_bytes: The size of the folder at the last scan.
        passes: The number of scans.
    """

    def __init__(self, folder: Path, max_bytes: int, *, segment_age_s: float = SEGMENT_AGE_S) -> None:
        self.live: Segment | None = None
        self.complete: list[Segment] = []
        self.recorded = 0
        self.written_bytes = 0
        self.dropped = Counter({"full": 0, "error": 0})
        self.folder_bytes = 0
        self.passes = 0
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_age_s = segment_age_s
        self._segment_bytes = min(SEGMENT_BYTES, max_bytes // SEGMENTS_IN_LIMIT)
        # The bytes that may be written until the next scan.
        self._room = 0
        self._dropped_before = self.dropped.copy()
        self._adopt_at = 0.0
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._is_write_failing = False
        self._is_finished = False
        self._is_open = asyncio.Event()
        self._wake = asyncio.Event()

    @property
    def segments(self) -> list[Segment]:
        return [*self.complete, self.live] if self.live is not None else self.complete[:]

    def record(self, clicks: Sequence[Click]) -> None:
        """Write the clicks of a tick: it never waits for the disk and never raises (`RecordClicks`)."""
        try:
            data = pack_record(clicks)
            size = len(data)
            live = self.live
            if live is None:
                self.dropped["error"] += len(clicks)
            elif size > RECORD_BYTES:
                self._record_in_parts(clicks)
            elif size > self._room:
                self.dropped["full"] += len(clicks)
            elif os.write(live.descriptor, data) == size:
                live.end += size
                self._room -= size
                self.recorded += len(clicks)
                self.written_bytes += size
            else:
                self._repair(live, len(clicks), "short write")
        except Exception as error:
            if self.live is None:
                self.dropped["error"] += len(clicks)
            else:
                self._repair(self.live, len(clicks), str(error))

    async def keep(self) -> None:
        """Sync, rotate, measure and adopt once a second until `finish`."""
        while not self._is_finished:
            try:
                await self._pass()
            except Exception:
                log.exception("journal_pass_failed")
            self.passes += 1
            self._is_open.set()
            if not self._is_finished:
                await wait(self._wake, PASS_INTERVAL_S)

    async def wait_until_open(self) -> None:
        """Wait for the first pass, also one that fails, but not long."""
        await wait(self._is_open, OPEN_TIMEOUT_S)

    def finish(self) -> None:
        """Take no more clicks, so that the rest can be shipped."""
        self._is_finished = True
        self._wake.set()
        self._complete_live()

    def forget(self, segment: Segment) -> None:
        """Remove a complete segment from the list, because its file is gone or set aside."""
        self.complete.remove(segment)

    def close(self) -> None:
        """Release the locks: other processes adopt what is left."""
        for segment in self.segments:
            segment.close()
        self.live = None
        self.complete.clear()

    async def _pass(self) -> None:
        live, live_end = self.live, self.live.end if self.live else 0
        adopts = monotonic() >= self._adopt_at
        scan = await asyncio.to_thread(
            scan_folder, self._folder, self.segments, makes=self._needs_segment(), adopts=adopts
        )
        self.complete = sorted([*self.complete, *scan.adopted], key=attrgetter("name"))
        self._adopt_at = monotonic() + ADOPT_INTERVAL_S if adopts else self._adopt_at
        if scan.adopted:
            log.info("segments_adopted", segments=[segment.name for segment in scan.adopted])
        if scan.sync_error is not None:
            log.warning("journal_not_synced", error=scan.sync_error)
        if scan.create_error is not None:
            if not self._backoff.has_failed:
                log.warning("journal_not_writable", error=scan.create_error)
            self._backoff.record_failure()
        if scan.created is not None:
            if self._is_finished:
                scan.created.delete()
            else:
                self._backoff.reset()
                self._complete_live()
                self.live = scan.created
        if scan.folder_bytes is not None:
            self.folder_bytes = scan.folder_bytes
            written_since = live.end - live_end if live is not None else 0
            self._room = self._max_bytes - scan.folder_bytes - written_since

    def _needs_segment(self) -> bool:
        live = self.live
        is_full = self.dropped["full"] > self._dropped_before["full"]
        self._is_write_failing = self.dropped["error"] > self._dropped_before["error"]
        self._dropped_before = self.dropped.copy()
        if self._is_finished:
            return False
        if live is None or live.is_damaged or not os.fstat(live.descriptor).st_nlink:
            return self._backoff.is_due()
        return (
            live.end > len(HEADER)
            # In a full folder what was shipped can be deleted only if its segment is complete.
            and (is_full or live.end >= self._segment_bytes or monotonic() - live.opened_at >= self._segment_age_s)
            and self._backoff.is_due()
        )

    def _record_in_parts(self, clicks: Sequence[Click]) -> None:
        if len(clicks) == 1:
            self.dropped["error"] += 1
            return
        half = len(clicks) // 2
        self.record(clicks[:half])
        self.record(clicks[half:])

    def _repair(self, live: Segment, clicks: int, error: str) -> None:
        """Drop the clicks of a write that failed, and cut off what it left, so that later records can be read."""
        self.dropped["error"] += clicks
        if not self._is_write_failing:
            self._is_write_failing = True
            log.warning("journal_write_failed", error=error)
        try:
            os.ftruncate(live.descriptor, live.end)
        except OSError:
            self._complete_live()

    def _complete_live(self) -> None:
        if self.live is not None:
            self.live.is_complete = True
            self.complete.append(self.live)
            self.live = None
            self._is_write_failing = False


@asynccontextmanager
async def open_journal(
    folder: Path, max_bytes: int, *, segment_age_s: float = SEGMENT_AGE_S
) -> AsyncIterator[ClickJournal]:
    """Keep a journal for the length of a block; a folder that cannot be written is tried again and again."""
    journal = ClickJournal(folder, max_bytes, segment_age_s=segment_age_s)
    keeper = asyncio.create_task(journal.keep())
    try:
        await journal.wait_until_open()
        yield journal
    finally:
        journal.finish()
        await asyncio.wait({keeper}, timeout=CLOSE_TIMEOUT_S)
        keeper.cancel()
        journal.close()


async def wait(event: asyncio.Event, timeout_s: float) -> None:
    """Wait for an event, but not longer than that."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
