"""Ranges of time as people ask for them: by hour, day, week or month of a time zone, in quarters of an hour.

`routes.py` asks for these, and `rows.py` counts by them. Clicks are counted by quarter of an hour because every offset from
UTC that was in use since 2000 is a multiple of one (IANA time zone database).
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from shared.api import Interval

SLOT = timedelta(minutes=15)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

MOST_INTERVALS = 2_000

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TooManyIntervals(ValueError):
    """The range has more than `MOST_INTERVALS` of them."""


def floor_time(instant: datetime, step: timedelta) -> datetime:
    """The last multiple of a step of UTC, up to a day, that is not later."""
    return instant.astimezone(UTC) - (instant - EPOCH) % step


def ceil_time(instant: datetime, step: timedelta) -> datetime:
    """The first multiple of a step of UTC, up to a day, that is not earlier."""
    return instant.astimezone(UTC) + (EPOCH - instant) % step


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """When a day begins, in UTC: at midnight or, where the clocks were set forward over it, when they were."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def interval_starts(since: datetime, until: datetime, interval: Interval, zone: ZoneInfo) -> list[datetime]:
    """When the intervals of a range begin, in UTC and in order; the first may begin before the range.

    Raises:
        TooManyIntervals: A longer interval is needed.
    """
    starts = list(islice(_starts(since, until, interval, zone), MOST_INTERVALS + 1))
    if len(starts) > MOST_INTERVALS:
        raise TooManyIntervals
    return starts


def _starts(since: datetime, until: datetime, interval: Interval, zone: ZoneInfo) -> Iterator[datetime]:
    if interval == "hour":
        yield from _hours(since, until, zone)
        return
    first = _first_day(since.astimezone(zone).date(), interval)
    start = start_of_day(first, zone)
    while start < until:
        first = _next_first_day(first, interval)
        end = start_of_day(first, zone)
        # A date that a zone left out, to change sides of the date line, has no length.
        if start < end and since < end:
            yield start
        start = end


def _hours(since: datetime, until: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Hours of the clock on the wall: one that it shows twice is two, and a shift by half an hour makes short ones."""
    start = floor_time(since, SLOT)
    while not _begins_hour(start, zone):
        start -= SLOT
    while start < until:
        yield start
        start += SLOT
        while not _begins_hour(start, zone):
            start += SLOT


def _begins_hour(instant: datetime, zone: ZoneInfo) -> bool:
    local = instant.astimezone(zone)
    return local.minute == 0 or local.utcoffset() != (instant - SLOT).astimezone(zone).utcoffset()


def _first_day(day: date, interval: Interval) -> date:
    """The first day of the interval that a day is in; weeks begin on Monday (ISO 8601)."""
    if interval == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if interval == "week" else day


def _next_first_day(first: date, interval: Interval) -> date:
    if interval == "month":
        return (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    return first + timedelta(days=7 if interval == "week" else 1)
