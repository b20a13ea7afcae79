"""The batches that the shipper sends: whole records of a segment, from the first that was not taken, as many as fit."""

import gzip
import os
import time
from dataclasses import dataclass, field

from services.redirect.journal.segments import RECORD_BYTES, Segment
from shared.journal import JournalDamaged, count_clicks, first_record_bytes, split_records, unpack_clicks

BATCH_BYTES = 2 * 2**20
COMPRESSED_FROM_BYTES = 1024
COMPRESSION_LEVEL = 1
"""An eighth of the bytes, for 0.5 µs a click here and 0.2 µs at the write service: ten times what a copy of them costs."""

YIELD_EVERY_RECORDS = 64
"""Reading so many takes some 50 µs. Then the event loop, which waits for the interpreter's lock, gets it at once, and not
after the 5 ms of `sys.getswitchinterval`."""


@dataclass
class JournalBatch:
    """Whole records of a segment.

    Attributes:
        body: The bytes that are sent.
        ends: For each record the offset of its end in the segment, and the number of its clicks.
        clicks: The number of clicks in all records.
        is_damaged: Whether what follows cannot be read.
        oldest_at: The time of the first click, Unix seconds.
        cpu_s: The CPU time that making the batch took.
    """

    body: bytes = b""
    is_gzip: bool = False
    ends: list[tuple[int, int]] = field(default_factory=list)
    clicks: int = 0
    is_damaged: bool = False
    oldest_at: float | None = None
    cpu_s: float = 0.0

    def clicks_below(self, offset: int) -> int:
        if offset >= self.ends[-1][0]:
            return self.clicks
        return sum(clicks for end, clicks in self.ends if end <= offset)


def read_batch(segment: Segment, *, compresses: bool) -> JournalBatch:
    """Read the records that were not taken: as many as fit, or one that is larger.

    Args:
        segment: The segment.
        compresses: Whether a batch that is not small is compressed.

    Raises:
        OSError: The disk cannot be read.
    """
    started = time.thread_time()
    batch = JournalBatch()
    data = os.pread(segment.descriptor, min(BATCH_BYTES, segment.end - segment.taken), segment.taken)
    first_bytes = first_record_bytes(data)
    if len(data) < first_bytes <= segment.end - segment.taken:
        data = os.pread(segment.descriptor, first_bytes, segment.taken)
    # A process that died while it wrote left a part of a record, and no process writes longer ones than `RECORD_BYTES`.
    batch.is_damaged = first_bytes > max(len(data), RECORD_BYTES)
    last = 0
    try:
        for last, body in split_records(data):
            if not batch.ends:
                batch.oldest_at = _time_of(body)
            clicks = count_clicks(body)
            batch.clicks += clicks
            batch.ends.append((segment.taken + last, clicks))
            if len(batch.ends) % YIELD_EVERY_RECORDS == 0:
                time.sleep(0)
    except JournalDamaged:
        batch.is_damaged = True
    batch.is_gzip = compresses and last >= COMPRESSED_FROM_BYTES
    batch.body = gzip.compress(data[:last], COMPRESSION_LEVEL, mtime=0) if batch.is_gzip else data[:last]
    batch.cpu_s = time.thread_time() - started
    return batch


def read_oldest(segment: Segment) -> float | None:
    """Returns the time of the first click that was not taken, Unix seconds; None if it is not known."""
    try:
        data = os.pread(segment.descriptor, min(BATCH_BYTES, segment.end - segment.taken), segment.taken)
        return next((_time_of(body) for _, body in split_records(data)), None)
    except (OSError, JournalDamaged):
        return None


def _time_of(body: bytes) -> float | None:
    try:
        return unpack_clicks(body)[0][0]
    except (ValueError, IndexError):
        return None
