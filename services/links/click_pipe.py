"""What the write service and its click worker say to each other: batches one way, what became of them the other, in frames.

`services/links/click_queue.py` and `services/links/click_worker.py` are the two ends.
"""

import asyncio
import struct
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgpack

LARGEST_BATCH = 8 * 2**20
"""Bytes, decompressed."""

_frame = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch.

    Attributes:
        status: 200, or 422 if a part was damaged.
        offset: Everything below it is taken.
        clicks: Stored.
        refused: Set aside: clicks, and one for what was damaged.
        newest: When the newest click was, Unix seconds; 0 without any.
    """

    status: HTTPStatus
    offset: int
    clicks: int = 0
    refused: int = 0
    newest: float = 0.0


async def read_frame(reader: asyncio.StreamReader) -> Any:
    """Read one message.

    Raises:
        asyncio.IncompleteReadError: The other side has ended.
    """
    (length,) = _frame.unpack(await reader.readexactly(_frame.size))
    return msgpack.unpackb(await reader.readexactly(length))


def pack_frame(message: object) -> bytes:
    body: bytes = msgpack.packb(message)
    return _frame.pack(len(body)) + body
