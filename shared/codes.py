"""Defines the codes of short links: what a code looks like, which ones are reserved, and how one is drawn.

links checks and draws codes; redirect and nginx refuse a path that cannot be a code before any look-up.
"""

import re
import secrets
import string

CODE_PATTERN = r"[0-9A-Za-z_-]{1,64}"
GENERATED_LENGTH = 7

TRAILING = (
    "/.,;:!?'\"`)]}>*|\\~<"
    "\u2019\u201d\u201c\u2018\u201e\u00bb\u00ab\u203a\u2039\u2026\u2013\u2014"
    "\u3001\u3002\uff0c\uff0e\uff01\uff1f\uff1a\uff1b\uff09\u3009\u300b\u300d\u300f\u3011\u060c\u061b\u061f"
    " \t\n\r\u00a0\u00ad\u2028\u2029\u202f\u3000\u200b\u200c\u200d\u200e\u200f\u2060\ufe0f\ufeff"
)
"""The characters that a sentence, a bracket, a quotation or an editor leaves behind a link that someone copies. None of them
can be in a code, so a path may be a code and any number of them; `-` and `_` belong to the code itself."""

LONGEST_TRAIL = 16
TRAIL_PATTERN = f"[{re.escape(TRAILING)}]{{0,{LONGEST_TRAIL}}}"

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
"""Paths that are no links; upper and lower case are the same."""

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


def nginx_trail_pattern() -> str:
    """Return what nginx allows behind a code: the bytes of `TRAILING`, and all that is not ASCII, which redirect checks."""
    plain = "".join(f"\\x{ord(character):02x}" for character in TRAILING if character.isascii())
    return f"(?:[{plain}\\x80-\\xff]{{1,{3 * LONGEST_TRAIL}}})?"
