"""Reads points in time as other shorteners write them, in UTC."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from services.links.sources.found import Hints
from shared.api import FIRST_YEAR, LAST_YEAR

_NONE = frozenset({"", "null", "none", "never", "n/a", "-", "0", "\\n"})
_MONTHS = {name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}  # noqa: SIM905

_zone_word = re.compile(r"(?: ?\+0000)? ?(?:UTC|GMT)$")
_number = re.compile(r"-?[0-9]+(?:\.[0-9]*)?").fullmatch
_TIME = (
    r"(?:,?[ T]+(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,][0-9]+)?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?)?"
)
_OFFSET = r" ?(?P<offset>Z|[+-][0-9]{2}:?(?:[0-9]{2})?)?"
_iso = re.compile(
    rf"(?P<year>[0-9]{{4}})[-/.](?P<month>[0-9]{{1,2}})[-/.](?P<day>[0-9]{{1,2}}){_TIME}{_OFFSET}"
).fullmatch
_slashed = re.compile(
    rf"(?P<first>[0-9]{{1,2}})(?P<between>[-/.])(?P<second_>[0-9]{{1,2}})(?P=between)(?P<year>[0-9]{{4}}|[0-9]{{2}}){_TIME}{_OFFSET}"
).fullmatch
_worded = re.compile(
    rf"(?:(?P<month>[A-Za-z]{{3,9}})\.? (?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?,? |"
    rf"(?P<day_>[0-9]{{1,2}})[ -](?P<month_>[A-Za-z]{{3,9}})\.?,?[ -])(?P<year>[0-9]{{4}}){_TIME}{_OFFSET}"
).fullmatch
_compact = re.compile(r"[0-9]{14}").fullmatch


def read_time(text: str | None, hints: Hints) -> datetime | None:
    """Read a time: ISO 8601 with or without offset, a date, seconds, milliseconds or microseconds since 1970, American and
    German dates, months as words. Without an offset it is of the zone of the hints.

    Returns:
        None for no time at all: `NULL`, nothing, MySQL's zeros.

    Raises:
        ValueError: It is none of these, or its day and month cannot be told apart.
    """
    if text is None:
        return None
    text = text.strip()
    try:
        # Nearly all are of this form, and this is the fast way.
        if text[4] == text[7] == "-" and text[5:7].isdecimal():
            found = datetime.fromisoformat(text)
            return found.replace(tzinfo=hints.zone).astimezone(UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, IndexError, OverflowError):
        pass
    if text.lower() in _NONE or text.startswith("0000-00-00"):
        return None
    try:
        return _read(text, hints)
    except (OverflowError, TypeError, LookupError, ValueError) as error:
        if isinstance(error, _Ambiguous):
            raise
        raise ValueError(f"{text[:40]} is no time that is known here") from None


def read_creation(text: str | None, hints: Hints, notices: list[str]) -> datetime | None:
    """Read when a link was made. Before 2000 there was no shortener: such a date is none, with a notice."""
    found = read_time(text, hints)
    if found is None:
        if text and text.startswith("0000"):
            notices.append("Its date of creation is empty there.")
        return None
    if not is_usable(found):
        notices.append(f"Its date of creation is {found:%Y-%m-%d}, which is none.")
        return None
    return found


def is_usable(moment: datetime) -> bool:
    """Tell whether a time lies in the years of this API."""
    return FIRST_YEAR <= moment.year <= LAST_YEAR


def spell_time(moment: datetime) -> str:
    """Spell a time as the API's JSON has it."""
    return moment.isoformat().replace("+00:00", "Z")


class _Ambiguous(ValueError):
    pass


def _read(text: str, hints: Hints) -> datetime:
    if _compact(text):
        return _localize(datetime.strptime(text, "%Y%m%d%H%M%S"), None, hints)  # noqa: DTZ007  # the zone follows
    if _number(text):
        return _from_number(float(text) if "." in text else int(text))
    bare = _zone_word.sub("+00:00", text)
    found = _iso(bare)
    if found is not None:
        return _build(found, int(found["year"]), int(found["month"]), int(found["day"]), hints)
    found = _slashed(bare)
    if found is not None:
        day, month = _day_and_month(text, int(found["first"]), int(found["second_"]), found["between"], hints)
        year = int(found["year"])
        return _build(found, year if year > 99 else 2000 + year, month, day, hints)
    found = _worded(bare)
    if found is not None:
        month = _MONTHS[(found["month"] or found["month_"])[:3].lower()]
        return _build(found, int(found["year"]), month, int(found["day"] or found["day_"]), hints)
    return _localize(parsedate_to_datetime(text), None, hints)


def _from_number(number: float) -> datetime:
    """Seconds, milliseconds or microseconds since 1970: which one, its size tells."""
    for limit, unit in ((1e11, 1), (1e14, 1_000), (1e17, 1_000_000)):
        if abs(number) < limit:
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number / unit)
    raise ValueError


def _day_and_month(text: str, first: int, second: int, between: str, hints: Hints) -> tuple[int, int]:
    if between == "." or first > 12:
        return first, second
    if second > 12 or first == second:
        return second, first
    if hints.day_first is not None:
        return (first, second) if hints.day_first else (second, first)
    raise _Ambiguous(f"{text[:40]} has a day and a month that cannot be told apart; say day_first")


def _build(found: re.Match[str], year: int, month: int, day: int, hints: Hints) -> datetime:
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    if found["half"] is not None:
        hour = hour % 12 + (12 if found["half"] in "Pp" else 0)
    return _localize(datetime(year, month, day, hour, minute, second), found["offset"], hints)  # noqa: DTZ001


def _localize(moment: datetime, offset: str | None, hints: Hints) -> datetime:
    if offset is not None:
        digits = offset.replace(":", "")
        zone = UTC if offset == "Z" else datetime.strptime(digits.ljust(5, "0"), "%z").tzinfo
        return moment.replace(tzinfo=zone).astimezone(UTC)
    return (moment.replace(tzinfo=hints.zone) if moment.tzinfo is None else moment).astimezone(UTC)
