"""The messages of a service and a process beside it (`child.py`): each is its length and msgpack, in a pipe."""

import asyncio
import os
import struct
from typing import Any

import msgpack

_length = struct.Struct("<I")


async def read_frame(reader: asyncio.StreamReader) -> Any:
    """Read one message.

    Raises:
        asyncio.IncompleteReadError: The other side has ended.
    """
    (length,) = _length.unpack(await reader.readexactly(_length.size))
    return msgpack.unpackb(await reader.readexactly(length))


def pack_frame(message: object) -> bytes:
    body: bytes = msgpack.packb(message)
    return _length.pack(len(body)) + body


def write_frame(descriptor: int, message: object) -> None:
    """Write one message, and wait while the pipe is full.

    Raises:
        BrokenPipeError: The other side has ended.
    """
    rest = memoryview(pack_frame(message))
    while rest:
        rest = rest[os.write(descriptor, rest) :]
