"""Validated kinds of input: texts that are shown to people, and points in time."""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, StringConstraints

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that a reader does not see: controls, bidirectional overrides, zero widths, line separators."""

_rfc3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)").fullmatch

FIRST_YEAR, LAST_YEAR = 2000, 2199


def check_visible(text: str) -> str:
    """Refuse characters that hide, or that make a text read other than it is stored."""
    for character in text:
        if unicodedata.category(character) in _HIDDEN:
            raise ValueError(f"must not contain the invisible character U+{ord(character):04X}")
    return text


def refuse_nul(text: str) -> str:
    """Refuse the one character that Postgres cannot compare with."""
    if "\0" in text:
        raise ValueError("must not contain the character U+0000")
    return text


def parse_instant(value: object) -> object:
    """Read an RFC 3339 time. A number is refused (are they seconds or milliseconds?), and so is a time without offset."""
    if isinstance(value, datetime) or value is None:
        return value
    if not isinstance(value, str) or not _rfc3339(value):
        raise ValueError("must be a time like 2027-01-31T12:00:00Z, with an offset from UTC")
    try:
        instant = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a time that exists") from None
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        raise ValueError(f"must lie between the years {FIRST_YEAR} and {LAST_YEAR}; leave it out for no limit")
    return instant


def drop_repeats(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


Wanted = Annotated[str, AfterValidator(refuse_nul)]
"""A text that is looked for."""

Instant = Annotated[datetime, BeforeValidator(parse_instant)]
Title = Annotated[str, StringConstraints(strip_whitespace=True, max_length=512), AfterValidator(check_visible)]
Tag = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64), AfterValidator(check_visible)
]
Tags = Annotated[list[Tag], AfterValidator(drop_repeats)]
