"""The messages between the write service and its click worker: batches one way, their results the other way, in frames.

`queue.py` and `worker.py` are the two ends. A worker that dies or hangs says nothing any more. So it also notes what it is
doing in memory that both processes share.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from http import HTTPStatus
from typing import Any, NamedTuple

import msgpack

LARGEST_BATCH = 8 * 2**20
"""Bytes, decompressed."""

ANY_NUMBER = 2**31
"""More clicks than a batch can hold."""


PACKED = "--store=packed"
"""The worker's argument where the setting PACKED_CLICKS is on."""


class WorkerStage(IntEnum):
    """What a worker is doing. A click can be to blame for the worker's end only while the worker is reading."""

    RESTING = 0
    READING = 1
    STORING = 2


class WorkerPlace(NamedTuple):
    """What a worker is doing, and with which click.

    Attributes:
        stage: What it is doing.
        record: The offset in the segment of the record that it reads.
        click: The number of the click in that record; `WHOLE_RECORD` while it unpacks the record. While it stores clicks, the
            number of them.
    """

    stage: WorkerStage
    record: int
    click: int


WHOLE_RECORD = -1


class WorkerMark:
    """The note of what a worker is doing, in memory that outlives the worker.

    Args:
        memory: `SIZE` bytes that can be written.
    """

    SIZE = 3 * 8

    def __init__(self, memory: Any) -> None:
        self._words = memoryview(memory).cast("q")

    def read(self) -> WorkerPlace:
        stage, record, click = self._words
        return WorkerPlace(WorkerStage(stage), record, click)

    def rest(self) -> None:
        self._words[0] = WorkerStage.RESTING

    def begin_record(self, record: int) -> None:
        words = self._words
        words[0], words[1], words[2] = WorkerStage.READING, record, WHOLE_RECORD

    def begin_click(self, click: int) -> None:
        self._words[2] = click

    def begin_storing(self, clicks: int) -> None:
        words = self._words
        words[0], words[2] = WorkerStage.STORING, clicks


@dataclass(frozen=True, slots=True)
class BatchPart:
    """The part of a batch that a worker takes: all of it, unless something went wrong before.

    Attributes:
        clicks: The largest number of clicks, in whole records. At least one record is taken.
        record: The offset of the record that went wrong, 0 for none. What stands before it is taken first, then this record.
        first: The click of that record that is read before the others.
        reads: The largest number of clicks of that record that are read at once.
        found: What is already known of clicks of that record; each is a `TakenBatch.found`.
        is_refused: Whether that record is set aside unread.
    """

    clicks: int = ANY_NUMBER
    record: int = 0
    first: int = 0
    reads: int = ANY_NUMBER
    found: tuple[bytes, ...] = ()
    is_refused: bool = False


EVERYTHING = BatchPart()


@dataclass(frozen=True, slots=True)
class TakenBatch:
    """The result of a batch.

    Attributes:
        status: 200, or 422 if a part was damaged. 202: nothing is stored yet, but `found` has what was read. 503, 504: Postgres
            is away, or took too long.
        offset: Everything below it is taken.
        clicks: The number of clicks that were stored.
        refused: The number of clicks that were set aside; a damaged piece counts as one.
        newest: The time of the newest click, Unix seconds; 0 without clicks.
        found: What was read of a record that is not read in full yet, packed.
    """

    status: HTTPStatus
    offset: int
    clicks: int = 0
    refused: int = 0
    newest: float = 0.0
    found: bytes = b""


def pack_found(found: Mapping[int, tuple[object, ...] | None]) -> bytes:
    """Packs what is known of a record's clicks, by their numbers (`TakenBatch.found`). None stands for a click set aside."""
    packed: bytes = msgpack.packb(list(found.items()))
    return packed
