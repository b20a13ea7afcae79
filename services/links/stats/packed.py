"""What the packed clicks add to an answer (`services/links/packed`): counts of days, and raw clicks out of chunks.

`routes.py`, `coverage.py` and `clicks.py` add it to what `rows.py` counts, in the same snapshot.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from services.links.packed.chunks import ChunkClicks, ChunkLinks, RawClick
from services.links.packed.days import DAY_US, EVERYTHING, IMPORTED, OWN, SLOT_US, DayCounts
from services.links.packed.rows import (
    select_chunk_spans,
    select_chunks,
    select_days_of_link,
    select_days_of_links,
    select_days_of_owners,
)
from services.links.stats.intervals import DAY, EPOCH, ceil_time, floor_time
from services.links.stats.scopes import ClickRow, Count, DaySpan, Period, StatsScope
from services.links.web.cursors import Position
from shared.api import Bots, Dimensions
from shared.postgres import Connection

CHUNKS_AT_ONCE = 8
DAYS_AT_ONCE = 31
MOST_CHUNKS = 500
"""Chunks that are opened for a part of a day: a few tenths of a second. Where it is in more, the whole day is counted."""

_FIRST_ID = -(2**62)
_FIRST_IMPORTED = -(2**62) - 2**61

_MICROSECOND = timedelta(microseconds=1)


class PackedPart(NamedTuple):
    """The packed clicks of a part of a day.

    Attributes:
        visitors: Clicks by owner, visitor and whether a bot clicked.
        values: Clicks by dimension, value and the same.
    """

    visitors: Counter[tuple[str, bytes | None, bool]]
    values: Counter[tuple[str, str | None, bool]]

    def count_clicks(self) -> Count:
        bots = sum(clicks for (_, _, is_bot), clicks in self.visitors.items() if is_bot)
        return Count(self.visitors.total() - bots, bots)

    def count_visitors(self) -> Count:
        """Those whom something told apart."""
        bots = [is_bot for _, visitor, is_bot in self.visitors if visitor is not None]
        return Count(len(bots) - sum(bots), sum(bots))


class PackedClicks:
    """The packed clicks of a link, of an owner or of everyone, on some days.

    Args:
        conn: In the snapshot.
        whose: Whose clicks.
        days: Own clicks' counts and imported ones', by days since 1970; those of a kind that is not asked for are left out.
    """

    def __init__(self, conn: Connection, whose: StatsScope, days: Mapping[int, dict[int, DayCounts]]) -> None:
        self._conn = conn
        self._whose = whose
        self._kinds = list(days)
        self._imported = days.get(IMPORTED, {})
        self._days = days.get(OWN, self._imported)
        if OWN in days:
            for day, counts in self._imported.items():
                self._days.setdefault(day, DayCounts()).add_day(counts)

    def totals(self, period: Period, starts: Sequence[datetime]) -> dict[int, Count]:
        """Count by intervals, as `rows.select_totals` does."""
        return _Intervals(period, starts).count(self._days.items())

    def imported(self, period: Period, starts: Sequence[datetime]) -> dict[int, Count]:
        """Count those of `totals` that were imported."""
        return _Intervals(period, starts).count(self._imported.items())

    def visitors(self, days: DaySpan) -> Count:
        """Add up the unique visitors of whole days."""
        return sum((Count(each.visitors(False), each.visitors(True)) for each in self._of(days)), Count())

    def values(self, days: DaySpan) -> dict[tuple[str, str | None, bool], int]:
        """The clicks of whole days by dimension, value and whether a bot clicked."""
        wanted = list(self._of(days))
        found: dict[tuple[str, str | None, bool], int] = {}
        for name in Dimensions._fields:
            for is_bot in (False, True):
                # A dictionary, which is twice as fast as a Counter: there may be a thousand values a day.
                values: dict[str | None, int] = {}
                for counts in wanted:
                    for value, clicks in counts.values(name, is_bot).items():
                        values[value] = values.get(value, 0) + clicks
                found |= {(name, value, is_bot): clicks for value, clicks in values.items()}
        return found

    async def count_part(self, part: Period) -> PackedPart:
        """Count the raw clicks of a part of a day; none where they are among too many others."""
        found = PackedPart(Counter(), Counter())
        since, until = _microseconds(part.since), _microseconds(part.until)
        day = since // DAY_US
        if day not in self._days:
            return found
        ranges = list(self._days[day].chunks())
        spans = await select_chunk_spans(self._conn, day, ranges, since, until, kinds=self._kinds)
        if len(spans) > MOST_CHUNKS:
            return found
        for first in range(0, len(spans), CHUNKS_AT_ONCE):
            numbers = [span.number for span in spans[first : first + CHUNKS_AT_ONCE]]
            for _, chunk in await select_chunks(self._conn, day, numbers):
                clicks = None
                for owner, places in self._places(ChunkLinks(chunk.links)):
                    clicks = clicks or ChunkClicks(chunk.since_us, chunk.clicks)
                    seen, values = clicks.count(places, since, until)
                    for (visitor, is_bot), count in seen.items():
                        found.visitors[owner, visitor, is_bot] += count
                    found.values.update(values)
        return found

    def _of(self, days: DaySpan) -> Iterator[DayCounts]:
        first, end = _day_number(days.first), _day_number(days.end)
        return (counts for day, counts in self._days.items() if first <= day < end)

    def _places(self, links: ChunkLinks) -> Iterator[tuple[str, range]]:
        if self._whose.link_id is None:
            return links.of_owners(self._whose.owner)
        return links.of_link(self._whose.link_id)


def add_counts(one: Mapping[int, Count], other: Mapping[int, Count]) -> dict[int, Count]:
    """Add what was counted by intervals."""
    return {number: one.get(number, Count()) + other.get(number, Count()) for number in {**one, **other}}


async def select_packed(
    conn: Connection, whose: StatsScope, period: Period, kinds: Sequence[int] = EVERYTHING
) -> PackedClicks:
    """Read the days of a period, whole ones at both ends."""
    first, end = floor_time(period.since, DAY).date(), ceil_time(period.until, DAY).date()
    days = {}
    for kind in kinds:
        if whose.link_id is not None:
            days[kind] = await select_days_of_link(conn, whose.link_id, first, end, kind=kind)
        else:
            days[kind] = await select_days_of_owners(conn, whose.owner, first, end, kind)
    return PackedClicks(conn, whose, days)


async def select_packed_totals(
    conn: Connection, link_ids: Sequence[int], period: Period, starts: Sequence[datetime]
) -> dict[int, dict[int, Count]]:
    """Count the clicks of many links by intervals, as `rows.select_totals_of_links` does."""
    first, end = floor_time(period.since, DAY).date(), ceil_time(period.until, DAY).date()
    days: dict[int, list[tuple[int, DayCounts]]] = {link_id: [] for link_id in link_ids}
    for link_id, day, counts in await select_days_of_links(conn, link_ids, first, end):
        days[link_id].append((day, counts))
    intervals = _Intervals(period, starts)
    return {link_id: intervals.count(of_link) for link_id, of_link in days.items()}


async def select_packed_clicks(
    conn: Connection,
    link_id: int,
    period: Period,
    *,
    bots: Bots,
    after: Position | None,
    limit: int,
    kinds: Sequence[int] = EVERYTHING,
) -> list[ClickRow]:
    """Read a page of a link's raw clicks, as `rows.select_clicks` does; `kinds` says whether own or imported ones.

    Their ids are below all others, those of imported clicks below all own ones. They number the clicks of one moment: in the
    order of chunks and places, which stays when chunks are merged.
    """
    rows = []
    for kind in kinds:
        rows += await _select_kind(conn, link_id, period, kind, bots=bots, after=after, limit=limit)
    return sorted(rows, key=lambda row: (row.clicked_at, row.id), reverse=True)[:limit]


async def _select_kind(
    conn: Connection, link_id: int, period: Period, kind: int, *, bots: Bots, after: Position | None, limit: int
) -> list[ClickRow]:
    first_id = _FIRST_ID if kind == OWN else _FIRST_IMPORTED
    since, until = _microseconds(period.since), _microseconds(period.until)
    at, listed = None, 0
    if after is not None:
        at, last = _microseconds(after.value), after.row_id
        # The own clicks of its moment come before an imported one. And the release before named a chunk and a place in it,
        # which a cursor may have from there.
        is_over = kind == OWN and (last <= _FIRST_IMPORTED or _FIRST_ID < last < 0)
        until = min(until, at if is_over else at + 1)
        listed = 0 if is_over or last > first_id else first_id - last + 1
    wanted = {"include": (False, True), "exclude": (False,), "only": (True,)}[bots]
    most = limit + listed
    found: list[tuple[int, int, RawClick]] = []
    async for day, counts in _days_back(conn, link_id, since, until, kind):
        if len(found) >= most:
            break
        spans = await select_chunk_spans(conn, day, list(counts.chunks()), since, until, kinds=[kind])
        for first in range(0, len(spans), CHUNKS_AT_ONCE):
            found = sorted(found, key=_listing)[:most]
            # The chunks to come have no later click than this one.
            if len(found) == most and found[-1][0] > spans[first].until_us:
                break
            numbers = [span.number for span in spans[first : first + CHUNKS_AT_ONCE]]
            for number, chunk in await select_chunks(conn, day, numbers):
                for _, places in ChunkLinks(chunk.links).of_link(link_id):
                    for click in ChunkClicks(chunk.since_us, chunk.clicks).rows(places):
                        if since <= click.time_us < until and click.is_bot in wanted:
                            found.append((click.time_us, number, click))
    rows = []
    for time_us, group in groupby(sorted(found, key=_listing)[:most], itemgetter(0)):
        for number, (_, _, click) in enumerate(group):
            if time_us != at or number >= listed:
                moment = EPOCH + timedelta(microseconds=time_us)
                rows.append(ClickRow(first_id - number, moment, click.is_bot, click.dimensions, kind == IMPORTED))
    return rows[:limit]


async def _days_back(
    conn: Connection, link_id: int, since: int, until: int, kind: int
) -> AsyncIterator[tuple[int, DayCounts]]:
    """The days of a link with clicks, the newest first."""
    first, end = _date(since // DAY_US), _date(-(-until // DAY_US))
    while True:
        days = await select_days_of_link(conn, link_id, first, end, DAYS_AT_ONCE, kind=kind)
        for each in days.items():
            yield each
        if len(days) < DAYS_AT_ONCE:
            return
        end = _date(min(days))


class _Intervals:
    """Counts the clicks of days by intervals, quarter-hour by quarter-hour where a day is not whole in one of them."""

    def __init__(self, period: Period, starts: Sequence[datetime]) -> None:
        self._since, self._until = _microseconds(period.since), _microseconds(period.until)
        self._edges = [_microseconds(start) for start in starts]

    def count(self, days: Iterable[tuple[int, DayCounts]]) -> dict[int, Count]:
        humans: Counter[int] = Counter()
        bots: Counter[int] = Counter()
        for day, counts in days:
            for kind, is_bot in ((humans, False), (bots, True)):
                self._add_day(kind, day * DAY_US, counts.slots(is_bot))
        return {number: Count(humans[number], bots[number]) for number in {*humans, *bots}}

    def _add_day(self, found: Counter[int], midnight: int, slots: Mapping[int, int]) -> None:
        edges, end = self._edges, midnight + DAY_US
        if end <= self._since or midnight >= self._until or not slots:
            return
        first = bisect_right(edges, midnight)
        if self._since <= midnight and end <= self._until and first == bisect_right(edges, end - SLOT_US):
            found[first - 1] += sum(slots.values())
            return
        for slot, clicks in slots.items():
            time = midnight + slot * SLOT_US
            if self._since <= time < self._until:
                found[bisect_right(edges, time) - 1] += clicks


def _listing(click: tuple[int, int, RawClick]) -> tuple[int, int, int]:
    """The latest first, those of one moment as they came."""
    time_us, number, raw = click
    return -time_us, number, raw.place


def _microseconds(instant: datetime) -> int:
    return (instant - EPOCH) // _MICROSECOND


def _day_number(day: date) -> int:
    return (day - EPOCH.date()).days


def _date(day: int) -> date:
    return EPOCH.date() + timedelta(days=day)
