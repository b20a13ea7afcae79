"""Finds the characters of a text that hide, and leaves invisible ones that belong to the spelling.

`texts.py` refuses the characters that are found. Persian, Kurdish, the scripts of India, emoji and flags need joiners (Unicode
16.0, sections 9.2, 12.1 and 23.2; UTS #51). Overrides of the reading direction and blanks without width can make one text look
like another (UTR #36).
"""

import re
import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, format characters, half surrogate pairs, line separators."""

_VISIBLE_FORMATS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Visible signs around the digits after them, such as the end of a verse. Unicode calls them format characters."""

_JOINERS = frozenset("\u00ad\u180e\u200c\u200d")
"""Soft hyphen, Mongolian vowel separator, zero width non-joiner and joiner. Between two characters they are spelling."""

_ZERO_WIDTH_SPACE = "\u200b"
_WITHOUT_BLANKS = ("THAI ", "LAO ", "KHMER ", "MYANMAR ")
"""Scripts without blanks between words, which the zero width space separates. The names of their characters begin so."""

_VIRAMA = 9
"""The combining class of the sign that removes the vowel of a consonant. A joiner after it may end a word."""

_subdivision_flag = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
"""A black flag and the code of a region in tag characters, such as Scotland's."""


def find_hidden(text: str) -> str | None:
    """Return the first character of a text that hides, or None."""
    if text.isprintable():
        return None
    text = _subdivision_flag.sub("\U0001f3f4", text)
    for place, character in enumerate(text):
        if unicodedata.category(character) in _HIDDEN and not _is_spelling(text, place):
            return character
    return None


def _is_spelling(text: str, place: int) -> bool:
    character, before, after = text[place], text[place - 1 : place], text[place + 1 : place + 2]
    if character in _VISIBLE_FORMATS:
        return True
    if character == _ZERO_WIDTH_SPACE:
        return _has_no_blanks(before) and _has_no_blanks(after)
    return character in _JOINERS and _stands(before) and (_stands(after) or _may_end(before))


def _stands(character: str) -> bool:
    """Return whether there is a visible character that a joiner can join."""
    return character != "" and unicodedata.category(character) not in _HIDDEN and not character.isspace()


def _may_end(before: str) -> bool:
    """Return whether a word may end with a joiner after this character, because the joiner changes its shape."""
    return unicodedata.combining(before) == _VIRAMA or unicodedata.bidirectional(before) == "AL"


def _has_no_blanks(character: str) -> bool:
    return unicodedata.name(character, "").startswith(_WITHOUT_BLANKS) if character else False
