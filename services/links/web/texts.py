"""Types of input with checks: texts that people see, and points in time."""

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints

from services.links.web.invisible import find_hidden
from shared.api import (
    FIRST_YEAR,
    LAST_YEAR,
    LONGEST_NOTES,
    LONGEST_PASSWORD,
    LONGEST_SEARCH,
    LONGEST_TAG,
    LONGEST_TITLE,
)

MOST_MARKS = 30
"""The most combining marks in a row, as in the Stream-Safe Text Format (UAX #15). Sorting a thousand of them takes 2 ms."""

_COPIED_ALONG = "\u200b\u200e\u200f\u2060\ufeff \t\r\n"
"""Characters that messengers and word processors put around a copied text."""

_rfc3339 = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ](?P<minute>(?:[01][0-9]|2[0-3]):[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
    r"(?:\.(?P<fraction>[0-9]+))?(?:[Zz]|(?P<hours>[+-][0-9]{2})(?::?(?P<minutes>[0-9]{2}))?)"
).fullmatch
"""RFC 3339, and the offsets `+0100` and `+01` of ISO 8601, which several languages write."""

_breaks = re.compile(r"\r?\n|\t")

_lost_plus = re.compile(r" (?=[0-9]{2}(?::?[0-9]{2})?$)")


def normalize(value: object) -> object:
    """Spell a text in Unicode's form NFC, so that texts that look alike are equal."""
    if not isinstance(value, str) or value.isascii():
        return value
    for is_mark, run in groupby(value, lambda character: unicodedata.combining(character) > 0):
        if is_mark and sum(1 for _ in run) > MOST_MARKS:
            raise ValueError(f"must not have more than {MOST_MARKS} combining marks in a row")
    return unicodedata.normalize("NFC", value)


def trim(value: object) -> object:
    return value.strip(_COPIED_ALONG) if isinstance(value, str) else value


def empty_is_null(value: object) -> object:
    """Return None for an empty text, which forms send for an empty field."""
    return None if isinstance(value, str) and not value.strip() else value


def check_visible(text: str) -> str:
    """Refuse characters that hide, or that make a text look other than it is."""
    hidden = find_hidden(text)
    if hidden is not None:
        raise ValueError(f"must not contain the invisible character U+{ord(hidden):04X}")
    return text


def check_visible_lines(text: str) -> str:
    """Like `check_visible`, for a text of several lines."""
    check_visible(_breaks.sub("", text))
    return text


def spell_password(text: str) -> str:
    """Spell a password in Unicode's form NFC: keyboards write the same letter in several ways (RFC 8265, 4.2)."""
    return unicodedata.normalize("NFC", text)


def check_password(password: SecretStr) -> SecretStr:
    text = spell_password(password.get_secret_value())
    if not 1 <= len(text) <= LONGEST_PASSWORD:
        raise ValueError(f"must have 1 to {LONGEST_PASSWORD} characters")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise ValueError("must not contain control characters")
    return SecretStr(text)


def refuse_nul(text: str) -> str:
    """Refuse NUL, which Postgres cannot compare with."""
    if "\0" in text:
        raise ValueError("must not contain the character U+0000")
    return text


def parse_instant(value: object) -> object:
    """Read an RFC 3339 time. A number is refused (are they seconds or milliseconds?), and so is a time without offset.

    Digits beyond a microsecond are cut off. The second 60 of a leap second is the first one of the next day, as in POSIX.
    """
    if isinstance(value, datetime) or value is None:
        return value
    found = _rfc3339(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a time like 2027-01-31T12:00:00Z, with an offset from UTC")
    is_leap = found["second"] == "60"
    second = "59" if is_leap else found["second"]
    micro = (found["fraction"] or "")[:6].ljust(6, "0")
    offset = f"{found['hours'] or '+00'}:{found['minutes'] or '00'}"
    try:
        instant = datetime.fromisoformat(f"{found['day']}T{found['minute']}:{second}.{micro}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a time that exists") from None
    if is_leap:
        if (instant.hour, instant.minute) != (23, 59):
            raise ValueError("is not a time that exists")
        instant += timedelta(seconds=1)
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        raise ValueError(f"must lie between the years {FIRST_YEAR} and {LAST_YEAR}; leave it out for no limit")
    return instant


def parse_asked_instant(value: object) -> object:
    """Read a time from an address. A plus that was not encoded arrives there as a blank."""
    return parse_instant(_lost_plus.sub("+", value) if isinstance(value, str) else value)


def check_zone(name: str) -> str:
    if name not in _zones():
        raise ValueError("must be a time zone of the IANA database, like Europe/Berlin")
    return name


@cache
def _zones() -> frozenset[str]:
    """All names but those that stand for a machine's own zone, or for none."""
    return frozenset(available_timezones() - {"Factory", "localtime", "posixrules"})


def drop_repeats(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


# pydantic calls the last validator of the list first.
Wanted = Annotated[
    str, StringConstraints(strip_whitespace=True), AfterValidator(refuse_nul), BeforeValidator(normalize)
]
"""A text to search for."""

Search = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_SEARCH),
    AfterValidator(refuse_nul),
    BeforeValidator(trim),
    BeforeValidator(normalize),
]

Instant = Annotated[datetime, BeforeValidator(parse_instant)]
AskedInstant = Annotated[datetime, BeforeValidator(parse_asked_instant)]
"""A time in a query."""

TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(check_zone)]

Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=LONGEST_TITLE),
    AfterValidator(check_visible),
    BeforeValidator(normalize),
]
Tag = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_TAG),
    AfterValidator(check_visible),
    BeforeValidator(normalize),
]
Tags = Annotated[list[Tag], AfterValidator(drop_repeats)]
Notes = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=LONGEST_NOTES),
    AfterValidator(check_visible_lines),
    BeforeValidator(normalize),
]
Password = Annotated[
    SecretStr,
    AfterValidator(check_password),
    Field(json_schema_extra={"minLength": 1, "maxLength": LONGEST_PASSWORD}),
]
"""No error quotes it, and no text shows it."""

OptionalTitle = Annotated[Title | None, BeforeValidator(empty_is_null)]
OptionalNotes = Annotated[Notes | None, BeforeValidator(empty_is_null)]
