"""What the write service and its click worker say to each other: batches one way, what became of them the other, in frames.

`queue.py` and `worker.py` are the two ends. A worker that dies or hangs says nothing any more, so it also keeps a mark of
what it is at, in memory that both see.
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
"""Of clicks: more than a batch can hold."""


class Stage(IntEnum):
    """What a worker is at. Only while it is reading can a click be to blame for what happens to it."""

    RESTING = 0
    READING = 1
    STORING = 2


class Place(NamedTuple):
    """Where a worker is.

    Attributes:
        stage: What it is at.
        record: Offset in the segment of the record that is read.
        click: Its number in that record, `WHOLE_RECORD` while the record is unpacked; of stored ones how many they are.
    """

    stage: Stage
    record: int
    click: int


WHOLE_RECORD = -1


class Mark:
    """A worker's place, in memory that outlives it.

    Args:
        memory: `SIZE` bytes that can be written.
    """

    SIZE = 3 * 8

    def __init__(self, memory: Any) -> None:
        self._words = memoryview(memory).cast("q")

    def read(self) -> Place:
        stage, record, click = self._words
        return Place(Stage(stage), record, click)

    def rest(self) -> None:
        self._words[0] = Stage.RESTING

    def begin_record(self, record: int) -> None:
        words = self._words
        words[0], words[1], words[2] = Stage.READING, record, WHOLE_RECORD

    def begin_click(self, click: int) -> None:
        self._words[2] = click

    def begin_storing(self, clicks: int) -> None:
        words = self._words
        words[0], words[2] = Stage.STORING, clicks


@dataclass(frozen=True, slots=True)
class Part:
    """How much of a batch a worker is to take: all of it, unless something went wrong before.

    Attributes:
        clicks: At most, in whole records, but at least one record.
        record: Offset of the record that went wrong, 0 for none. What comes before it is taken, and then it alone.
        first: The click of that record that is read before the others.
        reads: Clicks of that record that are read at once, at most.
        found: What is known of clicks of that record already; each is a `Taken.found`.
        is_refused: That record is set aside unread.
    """

    clicks: int = ANY_NUMBER
    record: int = 0
    first: int = 0
    reads: int = ANY_NUMBER
    found: tuple[bytes, ...] = ()
    is_refused: bool = False


EVERYTHING = Part()


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch.

    Attributes:
        status: 200, or 422 if a part was damaged. 202: nothing is stored yet, but `found` tells what was read. 503, 504:
            Postgres is away, or took too long.
        offset: Everything below it is taken.
        clicks: Stored.
        refused: Set aside: clicks, and one for what was damaged.
        newest: When the newest click was, Unix seconds; 0 without any.
        found: Packed, the clicks that were read of a record of which others are not.
    """

    status: HTTPStatus
    offset: int
    clicks: int = 0
    refused: int = 0
    newest: float = 0.0
    found: bytes = b""


def pack_found(found: Mapping[int, tuple[object, ...] | None]) -> bytes:
    """What is known of clicks of a record, by their number (`Taken.found`): what is stored of each, None if it is set aside."""
    packed: bytes = msgpack.packb(list(found.items()))
    return packed
