"""Times as clients write them: RFC 3339 and what common libraries make of it is taken, what could mean two things is not."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.links.web.texts import parse_asked_instant, parse_instant
from tests.links.conftest import fields_at_fault

LINKS = "/api/v1/links"
NOON = datetime(2030, 1, 31, 12, 30, 15, tzinfo=UTC)

TAKEN = {
    "2030-01-31T12:30:15Z": NOON,
    "2030-01-31t12:30:15z": NOON,
    "2030-01-31 12:30:15Z": NOON,
    "2030-01-31T12:30:15+00:00": NOON,
    "2030-01-31T12:30:15-00:00": NOON,
    "2030-01-31T13:30:15+01:00": NOON,
    "2030-01-31T18:15:15+05:45": NOON,
    "2030-01-30T22:30:15-14:00": NOON,
    # Java's Jackson, Ruby and strftime's %z; Postgres.
    "2030-01-31T13:30:15.000+0100": NOON,
    "2030-01-31 13:30:15+01": NOON,
    # JavaScript, Python, .NET, Go, and finer ones.
    "2030-01-31T12:30:15.1Z": NOON + timedelta(milliseconds=100),
    "2030-01-31T12:30:15.123Z": NOON + timedelta(milliseconds=123),
    "2030-01-31T12:30:15.123456Z": NOON + timedelta(microseconds=123456),
    "2030-01-31T12:30:15.1234567Z": NOON + timedelta(microseconds=123456),
    "2030-01-31T12:30:15.123456789Z": NOON + timedelta(microseconds=123456),
    "2030-01-31T12:30:15.999999999Z": NOON + timedelta(microseconds=999999),
    "2030-01-31T12:30:15.000000000000000000000001Z": NOON,
    "2030-01-31T13:30:15.1234567+01:00": NOON + timedelta(microseconds=123456),
    # Leap seconds.
    "2030-06-30T23:59:60Z": datetime(2030, 7, 1, tzinfo=UTC),
    "2030-07-01T01:59:60+02:00": datetime(2030, 7, 1, tzinfo=UTC),
    "2028-02-29T00:00:00Z": datetime(2028, 2, 29, tzinfo=UTC),
}

REFUSED = [
    *(
        "",
        " ",
        "now",
        "tomorrow",
        "2030",
        "2030-01",
        "2030-01-31",
        "12:30:15Z",
        "2030-01-31T12:30Z",
        "20300131T123015Z",
    ),
    *("2030-01-31T12:30:15", "2030-01-31 12:30:15.123", "2030-01-31T12:30:15 UTC", "2030-01-31T12:30:15 Europe/Berlin"),
    *("2030-01-31T12:30:15.Z", "2030-01-31T12:30:15,5Z", "2030-01-31T12:30:15Z\n", " 2030-01-31T12:30:15Z"),
    *("2030-01-31T24:00:00Z", "2030-01-31T25:00:00Z", "2030-01-31T12:60:00Z", "2030-01-31T12:30:61Z"),
    *("2030-01-31T12:30:60Z", "2030-01-31T12:59:60+01:00", "2030-02-30T00:00:00Z", "2030-13-01T00:00:00Z"),
    *("2029-02-29T00:00:00Z", "0000-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "2200-01-01T00:00:00Z"),
    *("9999-12-31T23:59:59-01:00", "10000-01-01T00:00:00Z", "+010000-01-01T00:00:00Z", "2030-01-31T12:30:15+24:00"),
    *("2030-01-31T12:30:15+1:00", "2030-01-31T12:30:15+01:", "2030-01-31T12:30:15Z+01:00", "٢٠٣٠-٠١-٣١T12:30:15Z"),
    *("1893456000", 1893456000, 1893456000000, 1893456000.5, 0, -1, True, [], {}),
]


@pytest.mark.parametrize(("text", "instant"), TAKEN.items())
def test_time_is_read(text: str, instant: datetime) -> None:
    """Any number of digits, any offset, either case; what is finer than a microsecond is cut off, never rounded up."""
    assert parse_instant(text) == instant


@pytest.mark.parametrize("value", REFUSED, ids=str)
def test_what_is_no_certain_time_is_refused(value: object) -> None:
    """Numbers (seconds or milliseconds?), dates, times without an offset and times that do not exist say what is wanted."""
    with pytest.raises(ValueError, match=r"time|years"):
        parse_instant(value)


@given(st.datetimes(datetime(2001, 1, 1), datetime(2198, 1, 1), timezones=st.timezones()))  # noqa: DTZ001  # of the bounds
def test_every_time_that_python_writes_is_read(instant: datetime) -> None:
    """What `isoformat` writes is the same instant again, whatever the zone, where its offset is whole minutes."""
    offset = instant.utcoffset()
    if offset is None or offset % timedelta(minutes=1):
        return

    assert parse_instant(instant.isoformat()) == instant.astimezone(UTC)


@pytest.mark.parametrize("text", ["2030-01-31T13:30:15 01:00", "2030-01-31T13:30:15.5 0100", "2030-01-31T13:30:15 01"])
def test_lost_plus_is_found_again(text: str) -> None:
    """In an address a plus that was not encoded arrives as a blank."""
    assert parse_asked_instant(text) == parse_instant(text[:19] + text[19:].replace(" ", "+"))
    with pytest.raises(ValueError, match="time"):
        parse_instant(text)


async def test_times_of_other_languages(alice: httpx.AsyncClient) -> None:
    """The API takes them in bodies and in queries, and answers what it stored."""
    sent = {"url": "https://example.com/", "valid_from": "2030-01-31T12:30:15.1234567Z"}
    sent["expires_at"] = "2031-01-31T12:30:15.123456789+01:00"
    link = (await alice.post(LINKS, json=sent)).json()

    assert link["valid_from"] == "2030-01-31T12:30:15.123456Z"
    assert link["expires_at"] == "2031-01-31T11:30:15.123456Z"
    after = link["created_at"].replace("Z", "")
    for query in (f"created_after={after}7Z", f"created_before={after}+00:00", f"created_after={after}000%2B0000"):
        assert (await alice.get(f"{LINKS}?{query}")).status_code == 200
    assert fields_at_fault(await alice.get(f"{LINKS}?created_after=1893456000")) == {"created_after"}
