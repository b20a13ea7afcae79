"""What clicks are counted by. No parser is imported here: the statistics read what `enrichment.py` found out."""

import re
from typing import NamedTuple

UNKNOWN = "unknown"

LONGEST_VALUE = 64
"""Characters of a browser's or a system's name."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class Dimensions(NamedTuple):
    """The names are those of the columns and of `dimension` in the counts."""

    country: str
    browser: str
    os: str
    device: str
    referrer: str
    language: str


def clean(text: str | None) -> str:
    """Text that Postgres takes: bounded, without controls; what is nothing is `unknown`."""
    if text is None or text == "Other":
        return UNKNOWN
    return _CONTROLS.sub(" ", text).strip()[:LONGEST_VALUE].strip() or UNKNOWN
