"""The codes of short links: what one may look like, which are reserved, and how one is made.

links checks and makes codes; redirect and nginx refuse a path that cannot be one before any look-up.
"""

import re
import secrets
import string

CODE_PATTERN = r"[0-9A-Za-z_-]{1,64}"
GENERATED_LENGTH = 7

RESERVED = frozenset(
    {
        "api",
        "dashboard",
        "docs",
        "favicon.ico",
        "internal",
        "livez",
        "metrics",
        "openapi.json",
        "readyz",
        "robots.txt",
        ".well-known",
    }
)
"""Paths that are something else than a link; compared without regard to case."""

_ALPHABET = string.digits + string.ascii_letters
_is_code = re.compile(CODE_PATTERN).fullmatch


def is_code(text: str) -> bool:
    """Tell whether the text has the shape of a code; it may still be reserved."""
    return _is_code(text) is not None


def is_reserved(code: str) -> bool:
    return code.lower() in RESERVED


def generate_code() -> str:
    """Draw a code of 7 base-62 characters (62^7 = 3.5e12 of them) from the system's random source."""
    number = secrets.randbelow(len(_ALPHABET) ** GENERATED_LENGTH)
    characters = []
    for _ in range(GENERATED_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return "".join(characters)
