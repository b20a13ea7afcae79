"""CSV as we write and read it: a cell is quoted, never a formula, and read back as the text that it was.

The write service writes exports and statistics with it, the dashboard reads what is imported and writes results.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

FORMULA_SIGNS = "=+-@＝＋－＠"  # noqa: RUF001  # Japanese spreadsheets take full-width ones
"""What makes a spreadsheet take a cell for a formula (OWASP, CSV Injection), beside tabs and line breaks."""

_separator = r"([;\t\r\n])"
"""Where spreadsheets of other locales, which do not take the comma, begin another cell; quotes do not keep them from it."""

# An apostrophe counts, too, so that ours and the text's own can be told apart.
_runs_first = rf"[\s\"]*['\t\r\n{re.escape(FORMULA_SIGNS)}]"
_runs_later = rf"(?=(?:\"|[^\S\t\r\n])*['{re.escape(FORMULA_SIGNS)}])"

_dangerous_first = re.compile(_runs_first).match
_dangerous_later = re.compile(_separator + _runs_later)
_guarded_first = re.compile("'" + _runs_first).match
_guarded_later = re.compile(_separator + "'" + _runs_later)

_unescaped_bar = re.compile(r"(?:[^\\|]|\\.)*\|", re.DOTALL)


def guard(text: str) -> str:
    """Put an apostrophe before all that a spreadsheet would calculate, and before an apostrophe in its place."""
    guarded = _dangerous_later.sub(r"\1'", text)
    return f"'{guarded}" if _dangerous_first(text) else guarded


def unguard(cell: str) -> str:
    """Take away the apostrophes of `guard`, and no other: `'tis` was never guarded."""
    return _guarded_later.sub(r"\1", cell[1:] if _guarded_first(cell) else cell)


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Write a table: the names of the columns, which are plain words, then a line for each row."""
    yield ",".join(header) + "\r\n"
    for row in rows:
        yield csv_line(row)


def csv_line(cells: Sequence[object]) -> str:
    """Write a line of RFC 4180, with its CRLF.

    Args:
        cells: None is an empty cell, a bool `true` or `false`, a time RFC 3339, a number itself; a text is guarded and
            always quoted, as the separator of another locale may be in it.
    """
    return ",".join(map(_spell, cells)) + "\r\n"


def join_tags(tags: Sequence[str]) -> str:
    r"""Join tags by `|`, with a backslash before a `|` or `\` of their own.

    A single tag with a comma or semicolon gets a `|` after it, so that it cannot be taken for several.
    """
    text = "|".join(tag.replace("\\", "\\\\").replace("|", "\\|") for tag in tags)
    return f"{text}|" if len(tags) == 1 and ("," in text or ";" in text) else text


def split_tags(text: str) -> list[str]:
    """Read tags: what `join_tags` joined, or, where there is no `|`, a list with commas or semicolons.

    A backslash takes the next character as it is.
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
