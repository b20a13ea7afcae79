"""Dates as Shlink writes and reads them: ATOM with whole seconds in answers, nearly anything in requests."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def write_date(moment: datetime | None) -> str | None:
    """Write a time as ATOM: its importer stops at a fraction of a second, and at `Z`."""
    return None if moment is None else moment.astimezone(UTC).replace(microsecond=0).isoformat()


def read_date(text: str) -> datetime:
    """Read a date or time of ISO 8601, or of an e-mail (RFC 5322); without an offset it is UTC.

    Raises:
        ValueError: It is neither.
    """
    # A plus that was not encoded arrives as a blank.
    spelled = text.strip()
    if len(spelled) > 6 and spelled[-6] == " ":
        spelled = f"{spelled[:-6]}+{spelled[-5:]}"
    try:
        moment = datetime.fromisoformat(spelled)
    except ValueError:
        moment = parsedate_to_datetime(text)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("is not a time that exists") from None
