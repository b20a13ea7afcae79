"""The click journal's format: the redirect service writes it, the write service reads it.

A segment is a file: a header that names the format, then records. A record is the clicks of one event-loop tick, written by one
`write()`: length and CRC-32 of the body, then the body, a msgpack list of clicks (`shared/clicks.py`). An offset counts from
the beginning of the file. Reading stops at the first record that is incomplete or whose checksum is wrong.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence

import msgpack

from shared.clicks import Click, ClickParts, read_parts

FORMAT = "1"
"""The format's number. It changes only if an older release could not read the journal; a new part of a click is no reason."""

FORMAT_HEADER = "X-Journal-Format"
"""The header of a batch that names the format."""

_ANY_HEADER = b"tinyurl-clicks"

HEADER = b"%b%b\n" % (_ANY_HEADER, FORMAT.encode())
"""The first bytes of every segment."""

LARGEST_RECORD_BYTES = 16 * 2**20

_frame = struct.Struct("<II")
_pack = msgpack.Packer().pack


class JournalDamaged(ValueError):
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
            raise JournalDamaged(f"a record of {length} bytes at {start}")
        end = start + _frame.size + length
        if end > len(data):
            return
        body = data[start + _frame.size : end]
        if zlib.crc32(body) != checksum:
            raise JournalDamaged(f"wrong checksum at {start}")
        yield end, body
        start = end


def first_record_bytes(data: bytes) -> int:
    """How long the record is that `data` begins with, as it says itself; 0 if it cannot be so long."""
    if len(data) < _frame.size:
        return 0
    length: int = _frame.unpack_from(data)[0]
    return _frame.size + length if length <= LARGEST_RECORD_BYTES else 0


def count_clicks(body: bytes) -> int:
    """The number of clicks in a record's body, from the head of its msgpack array; they are not unpacked."""
    first = body[0]
    if first & 0xF0 == 0x90:
        return first & 0x0F
    if first == 0xDC:
        return int.from_bytes(body[1:3])
    return int.from_bytes(body[1:5]) if first == 0xDD else 0


def unpack_clicks(body: bytes) -> list[tuple[float, int, ClickParts]]:
    """The clicks of a record's body.

    Raises:
        ValueError: It is no list of clicks.
    """
    try:
        return [(time, link_id, read_parts(parts)) for time, link_id, parts, *_ in msgpack.unpackb(body)]
    except (msgpack.UnpackException, TypeError) as error:
        raise ValueError(str(error)) from None


def is_other_format(header: bytes) -> bool:
    """Tell whether the first bytes of a segment name the format of another release."""
    return len(header) == len(HEADER) and header.startswith(_ANY_HEADER) and header != HEADER
