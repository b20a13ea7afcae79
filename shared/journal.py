"""The click journal's format: the redirect service writes it, the write service reads it.

A segment is a file: a header that names the format, then records. A record is the clicks of one event-loop tick, written by one
`write()`: length and CRC-32 of the body, then the body, a msgpack list of clicks (`shared/clicks.py`). An offset counts from
the beginning of the file. Reading stops at the first record that is incomplete or whose checksum is wrong.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence

import msgpack

from shared.clicks import Click

HEADER = b"tinyurl-clicks1\n"
"""The first bytes of every segment; the number is the format's."""

LARGEST_RECORD_BYTES = 16 * 2**20

_frame = struct.Struct("<II")
_pack = msgpack.Packer().pack


class Damaged(ValueError):
    """What follows cannot be a record that was written whole."""


def pack_record(clicks: Sequence[Click]) -> bytes:
    """The bytes of a record."""
    body: bytes = _pack(clicks)
    return _frame.pack(len(body), zlib.crc32(body)) + body


def split_records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split bytes that begin at a record into records, as far as they are complete.

    Yields:
        Where each record ends, counted from the beginning of `data`, and its body.

    Raises:
        Damaged: A record is there in full, but its checksum is wrong, or its length cannot be one.
    """
    start = 0
    while len(data) - start >= _frame.size:
        length, checksum = _frame.unpack_from(data, start)
        if not 0 < length <= LARGEST_RECORD_BYTES:
            raise Damaged(f"a record of {length} bytes at {start}")
        end = start + _frame.size + length
        if end > len(data):
            return
        body = data[start + _frame.size : end]
        if zlib.crc32(body) != checksum:
            raise Damaged(f"wrong checksum at {start}")
        yield end, body
        start = end


def unpack_clicks(body: bytes) -> list[Click]:
    """The clicks of a record's body.

    Raises:
        ValueError: It is no list of clicks.
    """
    try:
        clicks: list[Click] = [(time, link_id, tuple(request)) for time, link_id, request in msgpack.unpackb(body)]
    except (msgpack.UnpackException, TypeError) as error:
        raise ValueError(str(error)) from None
    return clicks
