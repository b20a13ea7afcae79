"""Reads links to create from a pasted text or a file, and writes their results as CSV. It leaves all checks to the API.

`encodings.py` decodes the file, and `layouts.py` finds the columns. Nothing here knows of pages.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from services.dashboard.lists.columns import Column
from services.dashboard.lists.encodings import RowsRefused, check_text, decode
from services.dashboard.lists.layouts import Layout, TableRow, find_layout, read_records
from services.dashboard.texts import format_count
from shared.api import MOST_PASSWORDS, MOST_ROWS
from shared.client import RowResult
from shared.csv_cells import csv_lines, split_tags, unguard

SLICE_ROWS = 500
SLICE_CHARACTERS = 500_000
"""Of targets and titles in one request; a slice ends with whichever comes first."""

_NUMBERS = frozenset({"status_code", "cache_control", "max_clicks"})
_TRUTHS = frozenset(
    {
        *("enabled", "forward_query", "forward_path", "crawlable", "preview"),
        *("has_password", "find_existing", "visitor_query_wins"),
    }
)
_JSON = frozenset({"rules", "split"})
_TRUTH_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1", "wahr", "vrai", "verdadero", "vero", "prawda", "waar"), True),
    **dict.fromkeys(("false", "no", "off", "0", "falsch", "faux", "falso", "fałsz", "onwaar"), False),
}
"""Truth values. Spreadsheets translate them when they save."""

_is_web = re.compile(r"\s*https?:", re.IGNORECASE).match
_short_url = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?([^/?#]*)/?([^?#]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ParsedList:
    """The links that were read from a text, and how.

    Args:
        rows: The links, as the API takes them.
        lines: The number of each row's first line.
        layout: The layout of the text.
        encoding: The name of a file's encoding; None for a pasted text.
        left_out: The errors of rows that are no links and not in `rows`.
        doubts: Notes about rows that the API will probably refuse.
    """

    rows: list[dict[str, Any]]
    lines: list[int]
    layout: Layout
    encoding: str | None
    left_out: list[str]
    doubts: list[str]


def parse_rows(content: str | bytes) -> ParsedList:
    """Read links to create from a pasted text, or from the bytes of a file.

    Raises:
        RowsRefused: The layout is not clear, or there are no links or too many.
    """
    if isinstance(content, str):
        text, encoding = check_text(content.removeprefix("\ufeff")), None
    else:
        text, encoding = decode(content)
    layout = find_layout(text)
    understood = ParsedList([], [], layout, encoding, [], [])
    count = 0
    for count, record in enumerate(read_records(text, layout), 1):
        if count <= MOST_ROWS:
            _add(understood, record)
    if count > MOST_ROWS:
        raise RowsRefused(f"These are {count:,} rows; {MOST_ROWS:,} can be created at once.")
    if not count:
        raise RowsRefused("There is a line that names the columns, and no row after it.")
    if not understood.rows:
        raise RowsRefused(f"No row is a link. {' '.join(understood.left_out[:3])}")
    return understood


def slices(rows: Sequence[dict[str, Any]], start: int = 0) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Split rows into slices of one request.

    Returns:
        The index of each slice's first row, and its rows.
    """
    first, size, passwords = start, 0, 0
    taken: list[dict[str, Any]] = []
    for index in range(start, len(rows)):
        length = sum(len(str(value)) for value in rows[index].values())
        has_password = "password" in rows[index]
        is_full = len(taken) == SLICE_ROWS or (has_password and passwords == MOST_PASSWORDS)
        if taken and (is_full or size + length > SLICE_CHARACTERS):
            yield first, taken
            first, taken, size, passwords = index, [], 0, 0
        taken.append(rows[index])
        size += length
        passwords += has_password
    if taken:
        yield first, taken


def results_csv(rows: Sequence[dict[str, Any]], numbers: Sequence[int], results: Sequence[RowResult]) -> str:
    """Write the result of each row as CSV, with the number of its line. No spreadsheet takes a cell for a formula."""
    lines = (
        (
            numbers[result.index],
            str(rows[result.index].get("url", "")),
            result.link.short_url if result.link else "",
            result_text(result),
        )
        for result in results
    )
    return "".join(csv_lines(("line", "url", "short_url", "result"), lines))


def result_text(result: RowResult) -> str:
    """Return the result of one row in words."""
    if result.link is not None:
        return "created" if result.status == 201 else "was there"
    return str(result.problem) if result.problem is not None else "failed"


def _add(understood: ParsedList, record: TableRow) -> None:
    columns, cells = understood.layout.columns, record.cells
    if len(cells) < len(columns) or any(cell.strip() for cell in cells[len(columns) :]):
        understood.left_out.append(
            f"Line {record.line} has {format_count(len(cells), 'cell')}, and the first line {len(columns)}."
        )
        return
    if understood.layout.delimiter:
        cells = [unguard(cell) for cell in cells]
    row = _row(columns, cells)
    if "url" not in row:
        understood.left_out.append(f"Line {record.line} has no address.")
        return
    if row.pop("has_password", False) and "password" not in row:
        understood.left_out.append(
            f"Line {record.line} is of a link with a password, which no export has: add it in a column password."
        )
        return
    if not _is_web(row["url"]):
        understood.doubts.append(f"Line {record.line} has an address that does not begin with http:// or https://.")
    understood.rows.append(row)
    understood.lines.append(record.line)


def _row(columns: Sequence[Column], cells: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=False):
        if not cell.strip():
            continue
        if column.field == "short_url":
            code = _code_of(cell.strip())
            # Bitly may give a link two addresses, and people know the one that they chose.
            if code and ("code" not in row or column.name.lower().startswith("custom")):
                row["code"] = code
        elif column.field:
            row[column.field] = _value(column.field, cell)
    return row


def _value(field: str, cell: str) -> object:
    """Convert a cell to the field's type. A text that is not of that type stays a text, which the API refuses with a reason."""
    text = cell.strip()
    if field == "tags":
        return split_tags(cell)
    if field in {"title", "notes", "password"}:
        return cell
    if field in _NUMBERS:
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else text
    if field in _JSON:
        return _read_json(text)
    if field in _TRUTHS:
        return _TRUTH_WORDS.get(text.lower(), text)
    # YOURLS' plugin for exports writes /code/.
    return text.strip("/") if field == "code" else text


def _read_json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _code_of(short_url: str) -> str:
    """Return the code in an address such as `https://bit.ly/3xYz` or `bit.ly/3xYz`."""
    found = _short_url.match(short_url)
    host, path = found.groups() if found else ("", "")
    return unquote(path.strip("/")) if path or "." in host or "://" in short_url else host
