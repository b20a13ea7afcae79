"""Intervals of time zones: they fit together, begin when the wall clock says so, and days have 23 to 25 hours."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.links.stats.intervals import (
    DAY,
    MOST_INTERVALS,
    SLOT,
    TooManyIntervals,
    ceil_time,
    floor_time,
    interval_starts,
    start_of_day,
)
from shared.api import Interval

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)

zones = st.sampled_from(sorted(available_timezones())).map(ZoneInfo)
instants = st.datetimes(datetime(2000, 1, 2), datetime(2050, 1, 1)).map(lambda naive: naive.replace(tzinfo=UTC))  # noqa: DTZ001
lengths = st.timedeltas(SLOT, timedelta(days=40))


@given(instants, lengths, st.sampled_from(["hour", "day", "week", "month"]), zones)
def test_intervals_fit_together(since: datetime, length: timedelta, interval: Interval, zone: ZoneInfo) -> None:
    """The first interval holds the range's beginning, each ends where the next begins, and none begins after the range."""
    starts = interval_starts(since, since + length, interval, zone)
    longest = {"hour": HOUR, "day": timedelta(hours=26), "week": timedelta(days=8), "month": timedelta(days=32)}[
        interval
    ]

    assert starts[0] <= since < starts[0] + longest
    assert starts[-1] < since + length <= starts[-1] + longest
    assert all(timedelta(0) < after - before <= longest for before, after in pairwise(starts))


@given(instants, lengths, zones)
def test_days_begin_where_the_date_changes(since: datetime, length: timedelta, zone: ZoneInfo) -> None:
    """Just before a day's beginning the wall shows an earlier date, and at it the new one."""
    for start in interval_starts(since, since + length, "day", zone):
        assert (start - timedelta(seconds=1)).astimezone(zone).date() < start.astimezone(zone).date()


@given(instants, lengths, zones, st.sampled_from(["hour", "day"]))
def test_intervals_begin_on_a_quarter_of_an_hour(
    since: datetime, length: timedelta, zone: ZoneInfo, interval: Interval
) -> None:
    """No interval cuts a slot in which clicks were counted in two."""
    assert all(floor_time(each, SLOT) == each for each in interval_starts(since, since + length, interval, zone))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Europe/Berlin", date(2026, 10, 26), 24),
        ("Africa/Cairo", date(2026, 4, 24), 23),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("America/Santiago", date(2026, 9, 6), 23),
    ],
)
def test_days_have_their_length(zone: str, day: date, hours: float) -> None:
    """A day on which clocks are set is shorter or longer, also where that is done at midnight."""
    name = ZoneInfo(zone)
    first, second = interval_starts(start_of_day(day, name), start_of_day(day + 2 * DAY, name), "day", name)

    assert second - first == hours * HOUR


def test_an_hour_that_the_clock_shows_twice_is_two() -> None:
    """The night when Berlin's clocks go back has 02:00 twice, an hour apart."""
    starts = interval_starts(
        datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 3, tzinfo=UTC), "hour", BERLIN
    )

    assert [each.astimezone(BERLIN).isoformat()[11:] for each in starts] == [
        "00:00:00+02:00",
        "01:00:00+02:00",
        "02:00:00+02:00",
        "02:00:00+01:00",
        "03:00:00+01:00",
    ]


def test_hours_follow_an_offset_of_45_minutes() -> None:
    """Nepal's hours begin at a quarter past, in UTC."""
    since = datetime(2026, 1, 1, tzinfo=UTC)

    starts = interval_starts(since, since + 2 * HOUR, "hour", ZoneInfo("Asia/Kathmandu"))

    assert [each.minute for each in starts] == [15, 15, 15]


def test_a_date_that_was_left_out_is_no_interval() -> None:
    """Samoa had no 30 December 2011."""
    apia = ZoneInfo("Pacific/Apia")
    starts = interval_starts(start_of_day(date(2011, 12, 29), apia), start_of_day(date(2012, 1, 1), apia), "day", apia)

    assert [each.astimezone(apia).date().isoformat() for each in starts] == ["2011-12-29", "2011-12-31"]


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    """A range in mid-week and mid-month begins with the week and the month around it."""
    since, until = datetime(2026, 11, 25, 12, tzinfo=UTC), datetime(2026, 12, 8, tzinfo=UTC)
    weeks = interval_starts(since, until, "week", ZoneInfo("UTC"))
    months = interval_starts(since, until, "month", ZoneInfo("UTC"))

    assert [each.date().isoformat() for each in weeks] == ["2026-11-23", "2026-11-30", "2026-12-07"]
    assert [each.date().isoformat() for each in months] == ["2026-11-01", "2026-12-01"]


def test_too_many_intervals_are_refused() -> None:
    """A range may have as many intervals as it says, and not one more."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    utc = ZoneInfo("UTC")

    assert len(interval_starts(since, since + MOST_INTERVALS * HOUR, "hour", utc)) == MOST_INTERVALS
    with pytest.raises(TooManyIntervals):
        interval_starts(since, since + MOST_INTERVALS * HOUR + SLOT, "hour", utc)


@given(instants, st.sampled_from([SLOT, DAY]))
def test_times_are_rounded_to_steps(instant: datetime, step: timedelta) -> None:
    """Down is not later, up is not earlier, both are multiples, and they are at most a step apart."""
    down, up = floor_time(instant, step), ceil_time(instant, step)

    assert down <= instant <= up <= down + step
    assert floor_time(down, step) == down == ceil_time(down, step)
    assert ceil_time(up, step) == up
