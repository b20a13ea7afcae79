"""Pasted lines and CSV as links to create, and what became of them as CSV; nothing is checked here that the API checks."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from services.dashboard.results import BatchRow

MOST_ROWS = 10_000
SLICE_ROWS = 500
SLICE_CHARACTERS = 500_000
"""Of targets and titles in one request; a slice ends with whichever comes first."""

_TEXTS = frozenset({"url", "code", "domain", "title", "valid_from", "expires_at", "expired_url"})
_NUMBERS = frozenset({"status_code", "cache_control"})
_TRUTHS = frozenset({"enabled", "forward_query", "find_existing"})
FIELDS = _TEXTS | _NUMBERS | _TRUTHS | {"tags"}
UNNAMED = ("url", "code", "title", "tags")
"""What the columns are where no first line names them."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class RowsRefused(ValueError):
    """The text cannot be taken for links at all."""


def parse_rows(text: str) -> list[dict[str, Any]]:
    """Read links to create: one address in each line, or CSV with or without a first line that names the columns.

    Columns that a link does not have, such as those of an export that cannot be set, are passed over.

    Raises:
        RowsRefused: There are none, too many, or the CSV is broken.
    """
    try:
        lines = [
            cells
            for cells in csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""), strict=True)
            if any(map(str.strip, cells))
        ]
    except csv.Error as error:
        raise RowsRefused(f"This is no CSV: {error}.") from None
    names: Sequence[str] = [cell.strip().lower() for cell in lines[0]] if lines else []
    if "url" in names:
        lines = lines[1:]
    else:
        names = UNNAMED
    if not lines:
        raise RowsRefused("There is no address in it.")
    if len(lines) > MOST_ROWS:
        raise RowsRefused(f"These are {len(lines):,} rows; {MOST_ROWS:,} can be created at once.")
    return [_row(names, cells) for cells in lines]


def slices(rows: Sequence[dict[str, Any]], start: int = 0) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Cut rows into what one request takes.

    Returns:
        The index of each slice's first row, and its rows.
    """
    first, size = start, 0
    taken: list[dict[str, Any]] = []
    for index in range(start, len(rows)):
        length = sum(len(str(value)) for value in rows[index].values())
        if taken and (len(taken) == SLICE_ROWS or size + length > SLICE_CHARACTERS):
            yield first, taken
            first, taken, size = index, [], 0
        taken.append(rows[index])
        size += length
    if taken:
        yield first, taken


def results_csv(rows: Sequence[dict[str, Any]], results: Sequence[BatchRow]) -> str:
    """What became of each row, as CSV that no spreadsheet takes for formulas."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("row", "url", "short_url", "result"))
    for result in results:
        short_url = result.link.short_url if result.link else ""
        cells = (str(rows[result.index].get("url", "")), short_url, result_text(result))
        writer.writerow((result.index + 1, *(_inert(cell) for cell in cells)))
    return out.getvalue()


def result_text(result: BatchRow) -> str:
    """What became of one row, in words."""
    if result.link is not None:
        return "created" if result.status == 201 else "was there"
    return str(result.problem) if result.problem is not None else "failed"


def _row(names: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    row = {}
    for name, cell in zip(names, cells, strict=False):
        text = cell.strip()
        if name in FIELDS and text:
            row[name] = _value(name, text)
    return row


def _value(name: str, text: str) -> object:
    """A cell as the field's type; what is not of that type goes as it is, and the API says why it will not have it."""
    if name == "tags":
        return _split_tags(text)
    if name in _NUMBERS:
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text
    if name in _TRUTHS:
        return {"true": True, "false": False}.get(text.lower(), text)
    # Exports put an apostrophe before what a spreadsheet would calculate.
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA_STARTS) else text


def _split_tags(text: str) -> list[str]:
    """Tags are joined by `|`; a backslash takes the next character as it is."""
    tags, tag, is_escaped = [], "", False
    for character in text:
        if character == "|" and not is_escaped:
            tags.append(tag)
            tag = ""
        elif character == "\\" and not is_escaped:
            is_escaped = True
            continue
        else:
            tag += character
        is_escaped = False
    return [each.strip() for each in [*tags, tag] if each.strip()]


def _inert(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
