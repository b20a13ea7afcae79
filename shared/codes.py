"""Defines the codes of short links: what a code looks like, how it is spelled, which ones are reserved, and how one is drawn.

links checks and draws codes; redirect and nginx refuse a path that cannot be a code before any look-up.
"""

import re
import secrets
import string
import unicodedata
from functools import lru_cache
from urllib.parse import quote

CODE_PATTERN = r"[0-9A-Za-z_-]{1,64}"
"""Of ordinary codes, and so of all that are drawn. The fast lane knows these alone; `spell_code` tells of the others."""

GENERATED_LENGTH = 7
LONGEST_CODE = 255
MOST_SEGMENTS = 5
MOST_MARKS = 30
"""The most combining marks in a row (UAX #15, Stream-Safe Text Format). Sorting a thousand of them takes 2 ms."""

TAIL_MARKS = ".~+"
"""Marks of a code that may also follow one: the end of a sentence, and the plus of a preview."""

TRAILING = (
    "/.,;:!?'\"`)]}>*|\\~<"
    "\u2019\u201d\u201c\u2018\u201e\u00bb\u00ab\u203a\u2039\u2026\u2013\u2014"
    "\u3001\u3002\uff0c\uff0e\uff01\uff1f\uff1a\uff1b\uff09\u3009\u300b\u300d\u300f\u3011\u060c\u061b\u061f"
    " \t\n\r\u00a0\u00ad\u2028\u2029\u202f\u3000\u200b\u200c\u200d\u200e\u200f\u2060\ufe0f\ufeff"
)
"""The characters that a sentence, a bracket, a quotation or an editor leaves behind a link that someone copies. Of these only
`.` and `~` can end a code, so a path may be a code and any number of them; `-` and `_` belong to the code itself."""

LONGEST_TRAIL = 16

OWN_PATHS = frozenset(
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
"""Paths of the site itself, which no link ever had; upper and lower case are the same."""

RESERVED = OWN_PATHS | {
    "ads.txt",
    "api-create.php",
    "app-ads.txt",
    "apple-touch-icon-precomposed.png",
    "apple-touch-icon.png",
    "humans.txt",
    "llms.txt",
    "rest",
    "security.txt",
    "share",
    "shorten",
    "sitemap.xml",
    "yourls-api.php",
}
"""Codes that no new link gets. Those beside `OWN_PATHS` came later: links that have them keep working."""

_ALPHABET = string.digits + string.ascii_letters
_is_ordinary = re.compile(CODE_PATTERN).fullmatch
_ASCII = frozenset(string.digits + string.ascii_letters + "-_" + TAIL_MARKS)
_TOO_MANY_MARKS = "m" * (MOST_MARKS + 1)
_LONGEST_SPELLING = 4 * LONGEST_CODE + LONGEST_TRAIL
"""A letter has up to three marks that NFC joins to it."""

_JOINERS = "\u200c\u200d"
_FLAG = "\U0001f3f4"
_VARIANTS = dict.fromkeys([*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])
"""They ask for another shape, such as an emoji in colour. Keyboards send them or not, so no code has them."""

_SIGNS = frozenset("\u203c\u2049\u2194\u25fb\u25fc\u25fd\u25fe\u2934\u2935\u3030")
"""Emoji that Unicode counts as punctuation or mathematics."""

_NO_LETTERS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\ufffc\ufffd\U00016fe4\U0001d159"
)
"""Letters, marks and symbols without a shape of their own."""


def is_code(text: str) -> bool:
    """Tell whether the text is a code as it is stored; it may still be reserved, or have a slash that its domain refuses."""
    if _is_ordinary(text):
        return True
    try:
        return spell_code(text) == text
    except ValueError:
        return False


def spell_code(text: str) -> str:
    """Return a code as it is stored, whatever form of Unicode it comes in: NFC, without variation selectors.

    Codes have 1 to 255 characters: letters, marks and digits of any script, emoji, and `-_.~+`. A slash is between two of up to
    five segments; only some domains have such codes.

    Raises:
        ValueError: It is no code; the text says why, to go behind the name of a field.
    """
    if _is_ordinary(text):
        return text
    code = unicode_form(text)
    if not 1 <= len(code) <= LONGEST_CODE:
        raise ValueError(f"must have 1 to {LONGEST_CODE} characters")
    wrong = {character for character in set(code) if not _may_stand(character)}
    if wrong:
        _check_places(code, wrong)
    segments = code.split("/")
    if len(segments) > MOST_SEGMENTS:
        raise ValueError(f"must not have more than {MOST_SEGMENTS} segments")
    if "" in segments:
        raise ValueError("must not have an empty segment")
    if "." in segments or ".." in segments:
        raise ValueError("must not have a segment . or ..")
    return code


def unicode_form(text: str) -> str:
    """Return the form of Unicode that codes have. All spellings of a code that browsers and keyboards send have it in common.

    Raises:
        ValueError: It takes too long, and is no code.
    """
    if text.isascii():
        return text
    if len(text) > _LONGEST_SPELLING:
        raise ValueError(f"must have 1 to {LONGEST_CODE} characters")
    if _TOO_MANY_MARKS in "".join(["m" if unicodedata.combining(character) else " " for character in text]):
        raise ValueError(f"must not have more than {MOST_MARKS} combining marks in a row")
    return unicodedata.normalize("NFC", text.translate(_VARIANTS))


def code_path(code: str) -> str:
    """Return a code as it stands in an address: what is not ASCII is percent-encoded."""
    return quote(code, safe="/+~")


def fold_code(code: str) -> str:
    """Return a code without regard to case: what a link has that `folds_case`."""
    return code.lower() if code.isascii() else unicode_form(code.casefold())


def stem_of(code: str) -> str:
    """Return the first segment without the marks at its end. Codes that could be taken for each other have it in common."""
    return code.partition("/")[0].rstrip(TAIL_MARKS)


def is_reserved(code: str) -> bool:
    """Tell whether no new link gets this code, because of its first segment."""
    return bool(RESERVED & _first_words(code))


def is_own_path(code: str) -> bool:
    """Tell whether a code is a path of the site, and surely no link's."""
    return bool(OWN_PATHS & _first_words(code))


def generate_code() -> str:
    """Draw a code of 7 base-62 characters (62^7 = 3.5e12 of them) from the system's random source."""
    number = secrets.randbelow(len(_ALPHABET) ** GENERATED_LENGTH)
    characters = []
    for _ in range(GENERATED_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return "".join(characters)


def nginx_code_pattern() -> str:
    """Return the paths that nginx gives to redirect: bytes that can be in a code, and what may trail it, or a path.

    What follows does not begin with a byte that can be in a code, so no path takes longer than its length.
    """
    letters, trailing = "".join(sorted(_ASCII)), "".join(filter(str.isascii, TRAILING))
    ends = "".join(character for character in trailing if character not in _ASCII | {"/"})
    code = f"[{_nginx_class(letters)}]{{1,{4 * _LONGEST_SPELLING}}}"
    return f"{code}(?:|[{_nginx_class(ends, '')}][{_nginx_class(trailing)}]{{0,{3 * LONGEST_TRAIL - 1}}}|/.{{0,8000}})"


def _nginx_class(characters: str, others: str = "\\x80-\\xff") -> str:
    return "".join(f"\\x{ord(character):02x}" for character in characters) + others


def _first_words(code: str) -> set[str]:
    return {code.partition("/")[0].lower(), stem_of(code).lower()}


def _check_places(code: str, wrong: set[str]) -> None:
    for place, character in enumerate(code):
        if character in wrong and not _is_joined(code, place):
            shown = character if character.isprintable() else f"U+{ord(character):04X}"
            raise ValueError(f"must have letters, digits, emoji and -_.~+ alone, and no {shown!r}")


def _is_joined(code: str, place: int) -> bool:
    """Tell whether a character without a shape belongs to those beside it."""
    before, after = code[:place][-1:], code[place + 1 : place + 2]
    if code[place] in _JOINERS:
        # Spelling in Persian and the scripts of India, and the glue of emoji; at an end joiners are what was copied along.
        return not (before.isascii() or after.isascii())
    # The letters in flags such as Scotland's.
    return _is_tag(code[place]) and (before == _FLAG or _is_tag(before))


def _is_tag(character: str) -> bool:
    return "\U000e0020" <= character <= "\U000e007f"


@lru_cache(maxsize=4096)
def _may_stand(character: str) -> bool:
    """Tell whether a character may be anywhere in a code, a slash too."""
    if character in _ASCII or character == "/":
        return True
    if character.isascii() or character in _NO_LETTERS:
        return False
    if "\U0001f000" <= character <= "\U0001faff":
        # Emoji, also those that are younger than this Python's tables.
        return True
    return unicodedata.category(character)[0] in "LMN" or unicodedata.category(character) == "So" or character in _SIGNS
