"""Chooses a language for a visitor: reads Accept-Language (RFC 9110, 12.5.4), and looks up the best tag (RFC 4647, 3.4).

`rules.py` asks it which of the languages that a link's rules name a visitor gets.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

LONGEST_ACCEPTED = 512
"""The bytes of an Accept-Language that are read."""

MOST_RANGES = 20

LANGUAGE_PATTERN = r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,8}"
"""A language range of RFC 4647 (section 2.1), of bounded length, and every tag that one can match."""

_match_range = re.compile(
    rf"\s*({LANGUAGE_PATTERN}|\*)\s*(?:;\s*[Qq]\s*=\s*(0(?:\.[0-9]{{0,3}})?|1(?:\.0{{0,3}})?)\s*)?"
).fullmatch


class Accepted(NamedTuple):
    """The languages that a visitor accepts, in lower case: the best one first, and those that are not acceptable."""

    wanted: tuple[str, ...] = ()
    refused: frozenset[str] = frozenset()


def read_accepted(header: str) -> Accepted:
    """Read an Accept-Language. Ranges that cannot be read are left out, and so is `*`, as RFC 4647 says of a lookup."""
    parts = map(_match_range, header[:LONGEST_ACCEPTED].split(",")[:MOST_RANGES])
    weighted = [(float(part[2] or "1"), part[1].lower()) for part in parts if part is not None and part[1] != "*"]
    refused = frozenset(name for weight, name in weighted if not weight)
    # The sort is stable: of equal weights the first one goes first.
    wanted = tuple(name for weight, name in sorted(weighted, key=lambda each: -each[0]) if weight)
    return Accepted(wanted, refused)


def look_up(accepted: Accepted, tags: Collection[str]) -> str | None:
    """Find the best of some tags for a visitor.

    Each range is shortened from its end until it is one of the tags; then the next range is tried.

    Args:
        accepted: What the visitor accepts.
        tags: In lower case.
    """
    for wanted in accepted.wanted:
        subtags = wanted.split("-")
        while subtags:
            tag = "-".join(subtags)
            if tag in tags and tag not in accepted.refused:
                return tag
            subtags.pop()
            while subtags and len(subtags[-1]) == 1:
                subtags.pop()
    return None
