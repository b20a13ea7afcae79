"""Finds the layout of a text: a plain list of addresses, or a table whose first line names the columns.

Only a first line of known names makes a table. The rows are not used for this, because addresses have commas and semicolons,
too. `parsing.py` reads the rows with the layout.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.dashboard.lists.columns import Column, find_field, read_columns
from services.dashboard.lists.encodings import RowsRefused

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

_ADDRESSES = [Column("address", "url")]
_ACCEPTED = (
    "Accepted is a list with one address in each line, which begins with http:// or https://, or a table whose first line "
    "names the columns, such as url,code,title,tags."
)

_line_end = re.compile(r"\r\n|\r|\n")
_separator_line = re.compile(r'\A"?sep=(.)"?(?:\r\n|\r|\n|\Z)', re.IGNORECASE)
_address_begins = re.compile(r'\A\s*"?[a-z][a-z0-9+.-]*://', re.IGNORECASE)
_quoted = re.compile(r'"((?:[^"]|"")*)"').fullmatch
_several = re.compile(r"\s|\"|[,;|]https?://|,,|;;|\|\||[,;|]\Z", re.IGNORECASE)
"""Text that separates cells of a row, and that no copied address has."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a text holds links.

    Args:
        delimiter: Between cells; empty for a list, where each line is one cell.
        columns: Their names and fields.
        has_header: Whether the first line that is not empty names them.
        first_line: Number of the line where that is looked for: Excel's `sep=;` may stand before it.
    """

    delimiter: str
    columns: Sequence[Column]
    has_header: bool
    first_line: int


@dataclass(frozen=True, slots=True)
class TableRow:
    """The cells of a row of a text, and the number of its first line."""

    line: int
    cells: list[str]


def find_layout(text: str) -> Layout:
    """Find out how a text holds its links.

    Raises:
        RowsRefused: There are none, or it cannot be told.
    """
    told = _separator_line.match(text)
    if told is not None and told[1] not in DELIMITERS:
        raise RowsRefused(f"The first line says that {told[1]} separates the cells; known are , ; | and tabs.")
    first_line = 1 if told is None else 2
    firsts: dict[str, list[str]] = {}
    broken: list[RowsRefused] = []
    for delimiter in DELIMITERS if told is None else told[1]:
        try:
            record = next(_read_table(text, delimiter, first_line), None)
        except RowsRefused as refused:
            broken.append(refused)
        else:
            firsts[delimiter] = [] if record is None else _without_empty_end(record.cells)
    if not firsts:
        raise broken[0]
    known = {delimiter: sum(find_field(cell) is not None for cell in cells) for delimiter, cells in firsts.items()}
    best = max(firsts, key=lambda delimiter: (known[delimiter], len(firsts[delimiter])))
    names = firsts[best]
    if not names:
        raise RowsRefused(f"There is no address in it. {_ACCEPTED}")
    if known[best] and not any("://" in name for name in names):
        is_table = len(names) > 1 or told is not None or best in _line(text, first_line)
        return Layout(best if is_table else "", read_columns(names), True, first_line)
    if told is None and _address_begins.match(text):
        return Layout("", _ADDRESSES, False, first_line)
    raise RowsRefused(
        f"The first line is no address, and names no column that is known: {', '.join(names[:10])[:200]}. {_ACCEPTED}"
    )


def read_records(text: str, layout: Layout) -> Iterator[TableRow]:
    """Read the rows that are not empty, without the first line if it names the columns.

    Raises:
        RowsRefused: A line cannot be read; it is named.
    """
    if not layout.delimiter:
        yield from _read_list(text, layout.has_header)
        return
    table = _read_table(text, layout.delimiter, layout.first_line)
    if layout.has_header:
        next(table)
    yield from table


def _read_list(text: str, has_header: bool) -> Iterator[TableRow]:
    for number, line in enumerate(_line_end.split(text), 1):
        cell = line.strip()
        if has_header and cell:
            has_header = False
            continue
        quoted = _quoted(cell)
        if quoted is not None:
            cell = quoted[1].replace('""', '"')
        elif _several.search(cell):
            raise RowsRefused(f"Line {number} has more than one address, and it cannot be told what. {_ACCEPTED}")
        if cell:
            yield TableRow(number, [cell])


def _read_table(text: str, delimiter: str, first_line: int) -> Iterator[TableRow]:
    lines = io.StringIO(text, newline="")
    for _ in range(1, first_line):
        next(lines)
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        line = first_line + reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise RowsRefused(f"The row that begins in line {line} is no CSV: {error}.") from None
        if any(map(str.strip, cells)):
            yield TableRow(line, cells)


def _without_empty_end(names: list[str]) -> list[str]:
    while names and not names[-1].strip():
        names = names[:-1]
    return names


def _line(text: str, number: int) -> str:
    """Return the first line that is not empty."""
    return next((line for line in _line_end.split(text)[number - 1 :] if line.strip()), "")
