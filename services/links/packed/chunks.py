"""The format of a chunk of raw clicks: some of one UTC day, as compressed columns in the order of links.

The click worker writes those of a batch, `merging.py` makes others of them, statistics read both. A chunk has a directory of
its links, so that a reader who looks for one need not open the columns of chunks without it. A column that is not known here
is passed over.
"""

import struct
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, compress, groupby, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

import msgpack

from shared.api import UNKNOWN, VARIANT, Dimensions

FORMAT = 1

MOST_CLICKS = 16_384
"""Clicks of a chunk; a larger batch makes several."""

VISITOR_BYTES = 8
"""So much of a visitor's hash tells the visitors in a part of a day apart: of 10,000 none is taken for another (1 in 10^11)."""

_LEVEL = 1

# Numbers of the columns; the dimensions follow in their order, and none ever moves.
TIMES = 0
_BOTS = 1
_DIMENSIONS = 16

_DIMENSION_COLUMNS = range(_DIMENSIONS, _DIMENSIONS + len(Dimensions._fields))

_NO_VISITOR = bytes(VISITOR_BYTES)


class Chunk(NamedTuple):
    """A chunk as it is stored.

    Attributes:
        day: Days since 1970.
        since_us: The time of the first click, microseconds since 1970.
        until_us: The time of the last one.
        links: The directory.
        clicks: The columns.
    """

    day: int
    since_us: int
    until_us: int
    links: bytes
    clicks: bytes


class RawClick(NamedTuple):
    """A click out of a chunk; `visitor` is None if nothing told visitors of its day apart."""

    place: int
    time_us: int
    is_bot: bool
    visitor: bytes | None
    dimensions: Dimensions


def pack_chunk(day: int, clicks: Sequence[tuple[int, int, str, bytes | None, bool, Dimensions]]) -> Chunk:
    """Pack some clicks of a day.

    Args:
        day: Days since 1970.
        clicks: Microseconds since 1970, link, owner, visitor, whether it was a bot, dimensions; in the order of the links.
    """
    times, links, owners, visitors, bots, dimensions = zip(*clicks, strict=True)
    since = min(times)
    columns: dict[int, Any] = {
        TIMES: pack_column([time - since for time in times]),
        _BOTS: bytes(bots),
    }
    for name, number, column in zip(Dimensions._fields, _DIMENSION_COLUMNS, zip(*dimensions, strict=True), strict=True):
        if name != VARIANT or set(column) != {UNKNOWN}:
            columns[number] = pack_column(column)
    seen = b"".join([_cut(visitor) for visitor in visitors])
    return Chunk(day, since, max(times), pack_links(links, owners), pack_columns(columns, seen))


class ChunkLinks:
    """A chunk's directory: whose its clicks are, and where the clicks of each link are.

    Args:
        packed: The directory as it is stored.

    Attributes:
        links: The ids of the links, in their order.
    """

    def __init__(self, packed: bytes) -> None:
        self._names, steps, self._owners, self._counts = msgpack.unpackb(zlib.decompress(packed))
        self.links: Sequence[int] = list(accumulate(steps))

    def __iter__(self) -> Iterator[tuple[int, str, int]]:
        """Each link, its owner, and how many clicks it has."""
        return zip(self.links, map(self._names.__getitem__, self._owners), self._counts, strict=True)

    def of_link(self, link_id: int) -> Iterator[tuple[str, range]]:
        """The places of a link's clicks, with its owner; none if the chunk has no click of it."""
        place = bisect_left(self.links, link_id)
        if place < len(self.links) and self.links[place] == link_id:
            start = sum(self._counts[:place])
            yield self._names[self._owners[place]], range(start, start + self._counts[place])

    def of_owners(self, wanted: str | None) -> Iterator[tuple[str, range]]:
        """The places of an owner's clicks, or of everyone's; those of links that follow each other are together."""
        start = 0
        for owner, group in groupby(zip(self._owners, self._counts, strict=True), itemgetter(0)):
            end = start + sum(count for _, count in group)
            if wanted is None or self._names[owner] == wanted:
                yield self._names[owner], range(start, end)
            start = end


class ChunkClicks:
    """A chunk's columns, of which only what is asked for is read.

    Args:
        since_us: The time of its first click.
        packed: The columns as they are stored.
    """

    def __init__(self, since_us: int, packed: bytes) -> None:
        self._columns, self._visitors = unpack_columns(packed)
        self._since_us = since_us

    def rows(self, places: range) -> Iterator[RawClick]:
        """The clicks at some places; a dimension that the chunk does not have is unknown."""
        part = slice(places.start, places.stop)
        columns = [self._values(number, part) for number in _DIMENSION_COLUMNS]
        dimensions = zip(*([names[code] for code in codes] for names, codes in columns), strict=True)
        for place, time, is_bot, values in zip(
            places, self._times(part), self._columns[_BOTS][part], dimensions, strict=True
        ):
            yield RawClick(place, self._since_us + time, is_bot == 1, self._visitor(place), Dimensions(*values))

    def count(
        self, places: range, since_us: int, until_us: int
    ) -> tuple[Counter[tuple[bytes | None, bool]], Counter[tuple[str, str, bool]]]:
        """Count the clicks at some places from a moment up to, and without, another (microseconds since 1970).

        Returns:
            Clicks by visitor and whether a bot clicked; clicks by dimension, value and the same.
        """
        part = slice(places.start, places.stop)
        since, until = since_us - self._since_us, until_us - self._since_us
        chosen = [since <= time < until for time in self._times(part)]
        bots = list(map(bool, compress(self._columns[_BOTS][part], chosen)))
        values: Counter[tuple[str, str, bool]] = Counter()
        for name, number in zip(Dimensions._fields, _DIMENSION_COLUMNS, strict=True):
            names, codes = self._values(number, part)
            for (code, is_bot), clicks in Counter(zip(compress(codes, chosen), bots, strict=True)).items():
                if name != VARIANT or names[code] != UNKNOWN:
                    values[name, names[code], is_bot] += clicks
        visitors = map(self._visitor, compress(places, chosen))
        return Counter(zip(visitors, bots, strict=True)), values

    def _values(self, number: int, part: slice) -> tuple[Sequence[str], Sequence[int]]:
        """The values that a dimension's column has, and which of them some clicks have."""
        if number not in self._columns:
            return [UNKNOWN], bytes(part.stop - part.start)
        names, codes = self._columns[number]
        return names, _read_codes(names, codes, part)

    def _visitor(self, place: int) -> bytes | None:
        visitor = self._visitors[place * VISITOR_BYTES : (place + 1) * VISITOR_BYTES]
        return None if visitor == _NO_VISITOR else visitor

    def _times(self, part: slice) -> tuple[int, ...]:
        """The times of some clicks, since that of the first one of the chunk.

        The planes from the first to the last have the bytes of a number, the lowest first.
        """
        planes, total = self._columns[TIMES], len(self._columns[_BOTS])
        count = part.stop - part.start
        numbers = bytearray(8 * count)
        for place, start in enumerate(range(0, len(planes), total)):
            numbers[place::8] = planes[start + part.start : start + part.stop]
        return struct.unpack(f"<{count}Q", numbers)


def drop_link(chunk: Chunk, link_id: int) -> Chunk | None:
    """Take a link's clicks out of a chunk, also out of columns that are not known here.

    Every column of this format is either planes of bytes, as many as it needs, or values and their codes.

    Returns:
        The chunk itself if it has none of them, and None if it has no others.
    """
    names, steps, owners, counts = msgpack.unpackb(zlib.decompress(chunk.links))
    links = list(accumulate(steps))
    if link_id not in links:
        return chunk
    if links == [link_id]:
        return None
    place, total = links.index(link_id), sum(counts)
    start = sum(counts[:place])
    gone = slice(start, start + counts[place])
    for column in (links, owners, counts):
        del column[place]
    used = sorted(set(owners))
    directory = (
        [names[owner] for owner in used],
        [link - before for before, link in pairwise((0, *links))],
        [used.index(owner) for owner in owners],
        counts,
    )
    columns, seen = unpack_columns(chunk.clicks)
    columns = {number: _drop(column, gone, total) for number, column in columns.items()}
    return chunk._replace(
        links=zlib.compress(msgpack.packb(directory), _LEVEL),
        clicks=pack_columns(columns, _drop(seen, gone, total, VISITOR_BYTES)),
    )


def cut_visitor(visitor: bytes | None) -> bytes | None:
    """What a chunk keeps of a visitor's hash."""
    return None if visitor is None else _cut(visitor)


def pack_columns(columns: dict[int, Any], seen: bytes) -> bytes:
    """Pack columns and, apart from them, the visitors: hashes do not become smaller."""
    packed: bytes = msgpack.packb((zlib.compress(msgpack.packb(columns), _LEVEL), seen))
    return packed


def unpack_columns(packed: bytes) -> tuple[dict[int, Any], bytes]:
    """The columns by their numbers, also those that are not known here, and the visitors."""
    columns, seen = msgpack.unpackb(packed)
    return msgpack.unpackb(zlib.decompress(columns), strict_map_key=False), seen


def pack_links(links: Sequence[int], owners: Sequence[str]) -> bytes:
    """Pack the directory of some clicks, of each its link and its owner."""
    steps, owner_numbers, counts, before = [], [], [], 0
    names: dict[str, int] = {}
    for link, group in groupby(zip(links, owners, strict=True), itemgetter(0)):
        clicks = list(group)
        steps.append(link - before)
        owner_numbers.append(names.setdefault(clicks[0][1], len(names)))
        counts.append(len(clicks))
        before = link
    return zlib.compress(msgpack.packb((list(names), steps, owner_numbers, counts)), _LEVEL)


def pack_column(cells: Sequence[Any]) -> Any:
    """A column of texts as its values and their codes, one of numbers as their bytes.

    The first bytes of all numbers are together, then the second ones and so on, which compresses well.
    """
    if isinstance(cells[0], str):
        numbers: dict[str, int] = {}
        codes = [numbers.setdefault(value, len(numbers)) for value in cells]
        return list(numbers), bytes(codes) if len(numbers) <= 256 else struct.pack(f"<{len(codes)}H", *codes)
    width = max(1, -(-max(cells).bit_length() // 8))
    raw = b"".join([number.to_bytes(width, "little") for number in cells])
    return b"".join([raw[place::width] for place in range(width)])


def unpack_column(column: Any, total: int) -> list[Any]:
    """The texts or the numbers of a column, known or not."""
    if isinstance(column, bytes):
        planes = [column[start : start + total] for start in range(0, len(column), total)]
        return [int.from_bytes(each, "little") for each in zip(*planes, strict=True)]
    values, codes = column
    return [values[code] for code in _read_codes(values, codes, slice(0, total))]


def _cut(visitor: bytes | None) -> bytes:
    return _NO_VISITOR if visitor is None else visitor[:VISITOR_BYTES].ljust(VISITOR_BYTES, b"\0")


def _read_codes(values: Sequence[str], codes: bytes, part: slice) -> Sequence[int]:
    if len(values) <= 256:
        return codes[part]
    return struct.unpack_from(f"<{part.stop - part.start}H", codes, 2 * part.start)


def _drop(column: Any, gone: slice, total: int, width: int = 1) -> Any:
    """Take some places out of a column; `width` bytes of it that belong together stay together."""
    if isinstance(column, bytes):
        plane = total * width
        first, end = gone.start * width, gone.stop * width
        parts = [column[start : start + plane] for start in range(0, len(column), plane)]
        return b"".join([part[:first] + part[end:] for part in parts])
    kept = unpack_column(column, total)
    del kept[gone]
    return pack_column(kept)
