"""Makes texts of users safe where Streamlit reads Markdown, and writes words that several pages share.

`plain` is for every text of a user in a label, a title, a message or a tooltip. Tables, `st.text` and `st.code` need nothing.
"""

import re
from datetime import datetime, tzinfo
from urllib.parse import urlsplit

ELLIPSIS = "…"

_MARKDOWN = re.compile(r"[!-/:-@\[-`{-~]")
"""The punctuation of ASCII. In CommonMark a backslash before one of these stands for the character itself."""

_AS_IT_IS = "\N{WORD JOINER}\\\\\\g<0>"
"""The backslash is for the parser; the joiner is for what Streamlit looks for in the parsed text: icons, emoji, addresses."""

_HIDDEN = re.compile(
    r"(?:[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
    r"|(?<![\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff])\u200b)+"
)
"""What the API does not take for spelling either: joiners stay, and between words of Thai, Lao, Burmese and Khmer the blank
without width."""


def plain(text: str, longest: int = 200) -> str:
    """Make a text that Markdown shows as it is: no link, image, icon, formula, colour or HTML in it works.

    Args:
        text: A text of a user.
        longest: The most characters that are kept.
    """
    return _MARKDOWN.sub(_AS_IT_IS, shorten(text, longest))


def shorten(text: str, longest: int) -> str:
    """Cut a long text, and replace invisible characters, and those that turn the reading direction, by a space."""
    text = _HIDDEN.sub(" ", text).strip()
    return text if len(text) <= longest else text[: longest - 1] + ELLIPSIS


def is_web_address(text: str) -> bool:
    """Tell whether a text may become a link."""
    try:
        return urlsplit(text).scheme in {"http", "https"}
    except ValueError:
        return False


def format_instant(instant: datetime | None, zone: tzinfo) -> str:
    """Write a time for people, in their time zone."""
    return "" if instant is None else instant.astimezone(zone).strftime("%d %b %Y, %H:%M")


def format_count(count: int, noun: str) -> str:
    """Write a number with its noun: `1 link`, `2,000 links`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
