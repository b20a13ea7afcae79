"""The dimensions by which clicks are counted. No parser is imported here: the statistics read what `enrichment.py` found."""

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
    """Make a text that Postgres takes: bounded, and without controls. An empty one becomes `unknown`."""
    if text is None or text == "Other":
        return UNKNOWN
    return _CONTROLS.sub(" ", text).strip()[:LONGEST_VALUE].strip() or UNKNOWN
