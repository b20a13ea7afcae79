"""The format of a day's counts: everything that is counted of a link, or of an owner's links, on one UTC day, as one value.

The click worker adds to it, statistics read it, and upkeep moves older counts into it. A value is a msgpack map from the number
of a part to the part. A part that is not known here stays as it is, so a newer release may add some within the same format.
What changes the meaning of a part is another format, and another row (`rows.py`).
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import msgpack

from shared.api import UNKNOWN, VARIANT, Dimensions

FORMAT = 1

OWN, IMPORTED = 1, -1
"""Clicks that were answered here, and those that were counted elsewhere and came with their links.

The same day has a row for each: the format of imported clicks' days and chunks is negative. So whoever does not know them
leaves them alone, and who stores own clicks has nothing to do with them.
"""
EVERYTHING = (OWN, IMPORTED)

SECOND_US = 1_000_000
SLOT_US = 900 * SECOND_US
DAY_US = 86_400 * SECOND_US
SLOTS = DAY_US // SLOT_US

MOST_VALUES_OF_LINK = 250
MOST_VALUES_OF_OWNER = 1_000
"""Values of each dimension, of people and of bots each, that a day has room for. Clicks with further ones count together."""

OTHER = None
"""The key of the further values' clicks."""

FEW_CLICKS = 30
"""So many are added one by one; more by column, which has a price of its own and is three times as fast for each."""

MOST_RANGES = 128
"""Ranges of chunks that a day names. Beyond it the two that are nearest become one, with chunks in it that others have."""

# Numbers of the parts. Those that tell people from bots have two numbers each, the even one for people.
_CHUNKS = 0
"""The ends of the ranges, each as what it has more than the one before it."""
_VISITORS = 2
_SLOTS = 4
_DIMENSIONS = 16
"""The first dimension has 16 and 17, and so on in their order: a new dimension goes to the end, and none ever moves."""


class DayCounts:
    """The counts of a day; `pack` makes the stored value of them.

    Args:
        packed: The stored value; without one there are no clicks yet.
    """

    __slots__ = ("_parts",)

    def __init__(self, packed: bytes | None = None) -> None:
        self._parts: dict[int, Any] = {} if packed is None else msgpack.unpackb(packed, strict_map_key=False)

    def pack(self) -> bytes:
        packed: bytes = msgpack.packb(self._parts)
        return packed

    def is_empty(self) -> bool:
        """Whether it counts nothing."""
        return not any(isinstance(part, dict) and part for part in self._parts.values())

    def clicks(self, is_bot: bool) -> int:
        return sum(self._parts.get(_SLOTS + is_bot, {}).values())

    def slots(self, is_bot: bool) -> dict[int, int]:
        """Clicks by the number of the quarter of an hour, from midnight."""
        slots: dict[int, int] = self._parts.get(_SLOTS + is_bot, {})
        return slots

    def values(self, dimension: str, is_bot: bool) -> dict[str | None, int]:
        """Clicks by the value of a dimension; `OTHER` for those that are not told apart."""
        values: dict[str | None, int] = self._parts.get(_PLACES[dimension] + is_bot, {})
        return values

    def visitors(self, is_bot: bool) -> int:
        """The number of unique visitors."""
        count: int = self._parts.get(_VISITORS + is_bot, 0)
        return count

    def chunks(self) -> Iterator[tuple[int, int]]:
        """The first and the last number of each range of chunks that the raw clicks are in."""
        ends = list(accumulate(self._parts.get(_CHUNKS, ())))
        return zip(ends[::2], ends[1::2], strict=True)

    def add_clicks(self, clicks: Sequence[tuple[int, Any, Any, Any, bool, Dimensions]], most: int) -> None:
        """Count some clicks of the day.

        Args:
            clicks: Microseconds since 1970, whatever, whether it was a bot, and the values of the dimensions.
            most: Values of a dimension that there is room for.
        """
        if len(clicks) > FEW_CLICKS:
            self._add_many(clicks, most)
            return
        parts = self._parts
        for time_us, _, _, _, is_bot, dimensions in clicks:
            slot, place = time_us // SLOT_US % SLOTS, _SLOTS + is_bot
            slots = parts.get(place)
            if slots is None:
                parts[place] = {slot: 1}
            else:
                slots[slot] = slots.get(slot, 0) + 1
            place = _DIMENSIONS + is_bot
            for value in dimensions if dimensions.variant != UNKNOWN else dimensions[:-1]:
                values = parts.get(place)
                if values is None:
                    parts[place] = {value: 1}
                elif value in values:
                    values[value] += 1
                else:
                    _add_value(values, value, 1, most)
                place += 2

    def _add_many(self, clicks: Sequence[tuple[int, Any, Any, Any, bool, Dimensions]], most: int) -> None:
        for is_bot in (False, True):
            chosen = [click for click in clicks if click[4] is is_bot]
            if chosen:
                times, _, _, _, _, dimensions = zip(*chosen, strict=True)
                for slot, count in Counter([time // SLOT_US % SLOTS for time in times]).items():
                    self.add_slot(slot, is_bot, count)
                for name, column in zip(_PLACES, zip(*dimensions, strict=True), strict=True):
                    counter = Counter(column)
                    if name == VARIANT:
                        del counter[UNKNOWN]
                    for value, count in counter.items():
                        self.add_value(name, value, is_bot, count, most)

    def add_slot(self, slot: int, is_bot: bool, clicks: int) -> None:
        slots = self._parts.setdefault(_SLOTS + is_bot, {})
        slots[slot] = slots.get(slot, 0) + clicks

    def add_value(self, dimension: str, value: str | None, is_bot: bool, clicks: int, most: int) -> None:
        _add_value(self._parts.setdefault(_PLACES[dimension] + is_bot, {}), value, clicks, most)

    def add_day(self, other: "DayCounts") -> None:
        """Add the counts of another link or owner to these, without a bound, to read them together."""
        for part, added in other._parts.items():
            kept = self._parts.get(part)
            if part == _CHUNKS:
                self._parts[part] = _steps([*accumulate(kept or ()), *accumulate(added)])
            elif isinstance(added, int):
                self._parts[part] = (kept or 0) + added
            elif kept is None:
                self._parts[part] = dict(added)
            else:
                for key, clicks in added.items():
                    kept[key] = kept.get(key, 0) + clicks

    def subtract(self, other: "DayCounts", most: int) -> None:
        """Take clicks away. Unique visitors stay: who followed one link may have followed another.

        A count may be below zero while its other part is in the tables of rows; both together are right.
        """
        for is_bot in (False, True):
            for slot, clicks in other.slots(is_bot).items():
                self.add_slot(slot, is_bot, -clicks)
            for name, place in _PLACES.items():
                values = self._parts.setdefault(place + is_bot, {})
                for value, clicks in other.values(name, is_bot).items():
                    # Those that came before there was room for the value, or while there was none, are in `other`.
                    named = min(clicks, values.get(value, 0)) if OTHER in values else clicks
                    _add_value(values, value, -named, most)
                    _add_value(values, OTHER, named - clicks, most)
        for number, part in self._parts.items():
            if isinstance(part, dict):
                self._parts[number] = {key: count for key, count in part.items() if count}

    def forget_visitors(self) -> None:
        self._parts.pop(_VISITORS, None)
        self._parts.pop(_VISITORS + 1, None)

    def add_visitors(self, is_bot: bool, count: int) -> None:
        self._parts[_VISITORS + is_bot] = self.visitors(is_bot) + count

    def add_chunk(self, number: int) -> None:
        """Note a chunk that has raw clicks of the day, and perhaps of this link."""
        ends = list(accumulate(self._parts.get(_CHUNKS, ())))
        _add_number(ends, number)
        self._parts[_CHUNKS] = _steps(ends)


def replace_chunks(packed: bytes | None, first: int, last: int, numbers: Sequence[int]) -> bytes:
    """Note in a stored day that of all chunks from the first to the last number only some are left that have clicks of it.

    Nothing else of the value is read, which makes it some times as fast.
    """
    unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=0)
    unpacker.feed(packed or msgpack.packb({}))
    for _ in range(unpacker.read_map_header()):
        part, start = unpacker.unpack(), unpacker.tell()
        if part == _CHUNKS and packed:
            ends = _without(list(accumulate(unpacker.unpack())), first, last)
            for number in numbers:
                _add_number(ends, number)
            changed: bytes = packed[:start] + msgpack.packb(_steps(ends)) + packed[unpacker.tell() :]
            return changed
        unpacker.skip()
    counts = DayCounts(packed)
    for number in numbers:
        counts.add_chunk(number)
    return counts.pack()


def _without(ends: Sequence[int], first: int, last: int) -> list[int]:
    """Take all numbers from the first to the last out of ranges."""
    start, end = bisect_left(ends, first), bisect_right(ends, last)
    # Odd is a place within a range.
    before = [*ends[:start], first - 1] if start % 2 else [*ends[:start]]
    return [*before, last + 1, *ends[end:]] if end % 2 else [*before, *ends[end:]]


def _add_number(ends: list[int], number: int) -> None:
    """Add a number to ranges, which stay sorted, apart and few."""
    place = bisect_left(ends, number)
    if place % 2 == 0 and ends[place : place + 1] != [number]:
        if place and number == ends[place - 1] + 1:
            ends[place - 1] = number
        else:
            ends[place:place] = [number, number]
        if len(ends) > 2 * MOST_RANGES:
            _join_nearest(ends)


def _add_value(values: dict[str | None, int], value: str | None, clicks: int, most: int) -> None:
    if value not in values and len(values) >= most:
        value = OTHER
    values[value] = values.get(value, 0) + clicks


def _steps(ends: Sequence[int]) -> list[int]:
    """The first number, and what each has more than the one before it: small numbers take little room."""
    return [end - before for before, end in zip((0, *ends), ends, strict=False)]


def _join_nearest(ends: list[int]) -> None:
    gaps: Sequence[int] = [after - before for before, after in zip(ends[1:-1:2], ends[2::2], strict=True)]
    place = gaps.index(min(gaps))
    del ends[2 * place + 1 : 2 * place + 3]


_PLACES = {name: _DIMENSIONS + 2 * place for place, name in enumerate(Dimensions._fields)}
