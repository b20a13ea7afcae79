"""What the shipper sends: the whole records of a segment that follow what was taken, as many as fit into one request."""

import gzip
import os
import time
from dataclasses import dataclass, field

from services.redirect.journal.segments import RECORD_BYTES, Segment
from shared.journal import Damaged, count_clicks, first_record_bytes, split_records, unpack_clicks

BATCH_BYTES = 2 * 2**20
COMPRESSED_FROM_BYTES = 1024
COMPRESSION_LEVEL = 1

YIELD_EVERY_RECORDS = 64
"""So many are read in some 50 µs; then the event loop, which waits for the interpreter's lock, gets it at once, not after
the 5 ms of `sys.getswitchinterval`."""


@dataclass
class Batch:
    """Whole records of a segment.

    Attributes:
        body: As it is sent.
        ends: Where each record ends, from the beginning of the segment, and the number of its clicks.
        clicks: How many in all of them.
        is_damaged: What follows cannot be read.
        oldest_at: When the first click was made, Unix seconds.
        cpu_s: What making it cost.
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


def read_batch(segment: Segment) -> Batch:
    """Read the records that follow what was taken: as many as fit, or one that is larger.

    Raises:
        OSError: The disk cannot be read.
    """
    started = time.thread_time()
    batch = Batch()
    data = os.pread(segment.descriptor, min(BATCH_BYTES, segment.end - segment.taken), segment.taken)
    first_bytes = first_record_bytes(data)
    if len(data) < first_bytes <= segment.end - segment.taken:
        data = os.pread(segment.descriptor, first_bytes, segment.taken)
    # What a process left that died while it wrote is shorter than what any process writes.
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
    except Damaged:
        batch.is_damaged = True
    batch.is_gzip = last >= COMPRESSED_FROM_BYTES
    batch.body = gzip.compress(data[:last], COMPRESSION_LEVEL, mtime=0) if batch.is_gzip else data[:last]
    batch.cpu_s = time.thread_time() - started
    return batch


def read_oldest(segment: Segment) -> float | None:
    """When the first click was made that is not taken, Unix seconds; None if that cannot be told."""
    try:
        data = os.pread(segment.descriptor, min(BATCH_BYTES, segment.end - segment.taken), segment.taken)
        return next((_time_of(body) for _, body in split_records(data)), None)
    except (OSError, Damaged):
        return None


def _time_of(body: bytes) -> float | None:
    try:
        return unpack_clicks(body)[0][0]
    except (ValueError, IndexError):
        return None
