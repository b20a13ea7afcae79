"""Values of dimensions as other shorteners have them, and as statistics take them. `visits.py` and `counts.py` ask it."""

from shared.api import UNKNOWN

LONGEST_VALUE = 64
"""Characters, as of what own clicks tell."""


def read_country(text: str | None) -> str:
    """Returns an ISO 3166 code as statistics have it; anything else is unknown."""
    if text is None:
        return UNKNOWN
    code = text.strip().upper()
    return code if len(code) == 2 and code.isascii() and code.isalpha() else UNKNOWN


def read_value(text: str | None) -> str:
    """Returns a value of a dimension as text that Postgres takes: bounded, in one line, and `unknown` for nothing."""
    if text is None:
        return UNKNOWN
    encodable = text[: 4 * LONGEST_VALUE].encode("utf-8", "replace").decode()
    value = "".join(each if each.isprintable() else " " for each in encodable).strip()
    return value[:LONGEST_VALUE].strip() or UNKNOWN
