"""CSV as exports and statistics send it: RFC 4180, times as RFC 3339, and no cell that a spreadsheet would run.

The routes hand over rows and stream the lines; which media type is sent is chosen in `media.py`.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  # full-width ones count, too
"""What makes a spreadsheet take a cell for a formula (OWASP, CSV Injection)."""


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Write a table, line by line, each with its CRLF.

    Args:
        header: The names of the columns, the first line.
        rows: A value for each column. None is an empty cell, a bool `true` or `false`, a time RFC 3339; a text that a
            spreadsheet would take for a formula gets an apostrophe before it, a number never.
    """
    writer = csv.writer(_Line())
    yield writer.writerow(header)
    for row in rows:
        yield writer.writerow([_cell(value) for value in row])


class _Line:
    """The file that `csv` writes to: each line comes back from `writerow`."""

    def write(self, line: str) -> str:
        return line


def _cell(value: object) -> object:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA_STARTS) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        text = value.isoformat()
        return f"{text.removesuffix('+00:00')}Z" if text.endswith("+00:00") else text
    return value
