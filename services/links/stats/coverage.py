"""A range of time as the counts can answer it: whole UTC days, which the dimensions have, and parts of days.

Parts of days are counted from the raw clicks, as long as these are kept. `routes.py` asks for the coverage in the snapshot
in which it counts.
"""

from collections import Counter
from dataclasses import dataclass

from services.links.stats.intervals import DAY, ceil_time, floor_time
from services.links.stats.packed import PackedClicks, add_counts
from services.links.stats.rows import select_raw_counts, select_totals
from services.links.stats.scopes import Count, DaySpan, Period, StatsScope
from shared.postgres import Connection

LARGEST_PART = 10_000
"""Clicks of a part of a day that are counted one by one; of a larger one the whole day is taken. Bounds the time."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Where the numbers of a range come from.

    Attributes:
        period: What they cover: the range, or more of it where a whole day was taken instead of a part.
        days: Whole UTC days, from the counts.
        parts: Parts of other days, from the raw clicks; at most two.
        visitors: Unique visitors in the parts.
        values: The packed clicks in the parts, by dimension, value and whether a bot clicked.
    """

    period: Period
    days: DaySpan
    parts: tuple[Period, ...]
    visitors: Count
    values: Counter[tuple[str, str | None, bool]]


async def find_coverage(conn: Connection, whose: StatsScope, asked: Period, packed: PackedClicks) -> Coverage:
    """Find out where the numbers of a range come from."""
    values: Counter[tuple[str, str | None, bool]] = Counter()
    first, end = ceil_time(asked.since, DAY), floor_time(asked.until, DAY)
    if first > end:
        first = end
        edges = [asked]
    else:
        edges = [Period(asked.since, first), Period(end, asked.until)]
    since, until, parts, visitors = asked.since, asked.until, [], Count()
    for edge in edges:
        day = floor_time(edge.since, DAY)
        wanted = await _count_clicks(conn, whose, edge, packed)
        if wanted == Count():
            continue
        if wanted != await _count_clicks(conn, whose, Period(day, day + DAY), packed):
            if wanted.humans + wanted.bots <= LARGEST_PART:
                part = await packed.count_part(edge)
                found, seen = part.count_clicks(), part.count_visitors()
                if found != wanted:
                    # Some are in rows, and who is among them may be in the chunks, too.
                    found, seen = await select_raw_counts(conn, whose, edge, part.visitors)
                if found == wanted:
                    parts.append(edge)
                    visitors += seen
                    values.update(part.values)
                    continue
            since, until = min(since, day), max(until, day + DAY)
        first, end = min(first, day), max(end, day + DAY)
    return Coverage(Period(since, until), DaySpan(first.date(), end.date()), tuple(parts), visitors, values)


async def _count_clicks(conn: Connection, whose: StatsScope, period: Period, packed: PackedClicks) -> Count:
    starts = [period.since]
    counts = add_counts(await select_totals(conn, whose, period, starts), packed.totals(period, starts))
    return counts.get(0, Count())
