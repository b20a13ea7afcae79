"""The format of the click journal. The redirect service writes the journal, and the write service reads it.

A segment is a file: a header that names the format, then records. A record has the clicks of one event-loop tick and is written
by one `write()`. It is the length and the CRC-32 of the body, and then the body, a msgpack list of clicks (`shared/clicks.py`).
An offset counts from the beginning of the file. Reading stops at the first record that is incomplete or has a wrong checksum.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence

import msgpack

from shared.clicks import Click, ClickParts, read_parts

FORMAT = "1"
"""The number of the format. It changes only if an older release could not read the journal. It can read new parts of clicks."""

FORMAT_HEADER = "X-Journal-Format"
"""The header of a batch that names the format."""

_ANY_HEADER = b"tinyurl-clicks"

HEADER = b"%b%b\n" % (_ANY_HEADER, FORMAT.encode())
"""The first bytes of every segment."""

LARGEST_RECORD_BYTES = 16 * 2**20

_frame = struct.Struct("<II")
_pack = msgpack.Packer().pack


class JournalDamaged(ValueError):
    """The bytes that follow are no record that was written whole."""


def pack_record(clicks: Sequence[Click]) -> bytes:
    """Return the bytes of a record."""
    body: bytes = _pack(clicks)
    return _frame.pack(len(body), zlib.crc32(body)) + body


def split_records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split bytes that begin at a record into records, as far as they are complete.

    Yields:
        Where each record ends, counted from the beginning of `data`, and its body.

    Raises:
        JournalDamaged: A record has a wrong checksum, or a length that no record has.
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
    """Return the length of the first record, which its first bytes name; 0 if no record is so long."""
    if len(data) < _frame.size:
        return 0
    length: int = _frame.unpack_from(data)[0]
    return _frame.size + length if length <= LARGEST_RECORD_BYTES else 0


def count_clicks(body: bytes) -> int:
    """Return the number of clicks in the body of a record. The head of the msgpack array has it, so nothing is unpacked."""
    first = body[0]
    if first & 0xF0 == 0x90:
        return first & 0x0F
    if first == 0xDC:
        return int.from_bytes(body[1:3])
    return int.from_bytes(body[1:5]) if first == 0xDD else 0


def unpack_clicks(body: bytes) -> list[tuple[float, int, ClickParts]]:
    """Read the clicks in the body of a record.

    Raises:
        ValueError: The body is no list of clicks.
    """
    try:
        return [(time, link_id, read_parts(parts)) for time, link_id, parts, *_ in msgpack.unpackb(body)]
    except (msgpack.UnpackException, TypeError) as error:
        raise ValueError(str(error)) from None


def is_other_format(header: bytes) -> bool:
    """Return whether the first bytes of a segment name the format of another release."""
    return len(header) == len(HEADER) and header.startswith(_ANY_HEADER) and header != HEADER
