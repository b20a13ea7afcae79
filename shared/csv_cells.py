"""CSV that we write and read: no text cell is a formula, and each is read back as the same text.

The write service writes exports and statistics with it. The dashboard reads imported lists and writes results with it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

FORMULA_SIGNS = "=+-@＝＋－＠"  # noqa: RUF001  # Japanese spreadsheets take full-width ones
"""A cell that begins with one of these, a tab or a line break is a formula for a spreadsheet (OWASP, CSV Injection)."""

_separator = r"([;\t\r\n])"
"""Spreadsheets of other locales begin another cell after one of these, also within quotes."""

# An apostrophe is guarded, too, so that `unguard` can tell ours from the text's own.
_runs_first = rf"[\s\"]*['\t\r\n{re.escape(FORMULA_SIGNS)}]"
_runs_later = rf"(?=(?:\"|[^\S\t\r\n])*['{re.escape(FORMULA_SIGNS)}])"

_dangerous_first = re.compile(_runs_first).match
_dangerous_later = re.compile(_separator + _runs_later)
_guarded_first = re.compile("'" + _runs_first).match
_guarded_later = re.compile(_separator + "'" + _runs_later)

_unescaped_bar = re.compile(r"(?:[^\\|]|\\.)*\|", re.DOTALL)


def guard(text: str) -> str:
    """Put an apostrophe before whatever a spreadsheet would calculate, and before an apostrophe that stands there."""
    guarded = _dangerous_later.sub(r"\1'", text)
    return f"'{guarded}" if _dangerous_first(text) else guarded


def unguard(cell: str) -> str:
    """Remove the apostrophes that `guard` has put, and no others: `'tis` stays as it is."""
    return _guarded_later.sub(r"\1", cell[1:] if _guarded_first(cell) else cell)


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Write a table: the names of the columns, which need no quotes, and a line for each row."""
    yield ",".join(header) + "\r\n"
    for row in rows:
        yield csv_line(row)


def csv_line(cells: Sequence[object]) -> str:
    """Write a line of RFC 4180, with its CRLF.

    Args:
        cells: None becomes an empty cell, a bool `true` or `false`, and a time RFC 3339. A text is guarded, and always
            quoted, because it may have the separator of another locale.
    """
    return ",".join(map(_spell, cells)) + "\r\n"


def join_tags(tags: Sequence[str]) -> str:
    r"""Join tags by `|`, with a backslash before a `|` or `\` of their own.

    A single tag with a comma or semicolon gets a `|` after it, so that nobody reads several tags.
    """
    text = "|".join(tag.replace("\\", "\\\\").replace("|", "\\|") for tag in tags)
    return f"{text}|" if len(tags) == 1 and ("," in text or ";" in text) else text


def split_tags(text: str) -> list[str]:
    """Read the tags that `join_tags` has joined. A text without `|` is a list with commas or semicolons.

    The character after a backslash is a part of the tag.
    """
    separators = "|" if _unescaped_bar.match(text) else ",;"
    tags, tag, is_escaped = [], "", False
    for character in text:
        if is_escaped or character not in separators + "\\":
            tag += character
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        else:
            tags.append(tag)
            tag = ""
    return [each for each in [*tags, tag] if each.strip()]


def _spell(value: object) -> str:
    if isinstance(value, str):
        return '"{}"'.format(guard(value).replace('"', '""'))
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        text = value.isoformat()
        return f"{text.removesuffix('+00:00')}Z" if text.endswith("+00:00") else text
    return str(value)
