"""Our own export: CSV and NDJSON of `GET /api/v1/exports`, also as a spreadsheet has saved it."""

import codecs
import csv
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from services.links.sources.found import File, FoundCounts, FoundLink, FoundVisit, Unusable, UnusableFile
from shared.csv_cells import split_tags, unguard

NAME = "tinyurl"
TITLE = "TinyURL (CSV or NDJSON of an export)"

LONGEST_LINE = 1_000_000
"""Characters. The largest link has half of it."""

LONGEST_CELL = 131_072
"""Characters: what the csv module takes."""

SHOWN_CHARACTERS = 500
"""Of an unusable row."""

HEADINGS = frozenset({"short_url", "code", "domain", "url"})

_TEXTS = frozenset({"title", "notes", "expired_url", "valid_from", "expires_at"})
_NUMBERS = frozenset({"status_code", "cache_control", "max_clicks", "clicks_left"})
_TRUTHS = frozenset(
    {"enabled", "forward_query", "forward_path", "crawlable", "preview", "visitor_query_wins", "folds_case"}
)
_JSON = frozenset({"rules", "split"})
_FIELDS = _TEXTS | _NUMBERS | _TRUTHS | _JSON | {"tags"}

_USUAL = {
    "status_code": ("302",),
    "enabled": ("true",),
    "preview": ("true",),
    **dict.fromkeys(_TRUTHS - {"enabled", "preview"}, ("false",)),
}
"""What a link has by default need not be said of each."""

LOCKED = "It has a password, which no list of links tells: it comes switched off."


def recognise(head: bytes, name: str) -> bool:
    """Tell an export by the headings of its first line, or by the names in its first object."""
    first = head.removeprefix(codecs.BOM_UTF8).split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    if first.startswith("{"):
        return all(f'"{each}"' in first for each in HEADINGS)
    return set(_headings(first)[0]) >= HEADINGS


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    """Read the links of an export."""
    lines = _Lines(file)
    first = next(iter(lines), "")
    if first.startswith("{"):
        yield from _read_objects(first, lines)
    else:
        yield from _read_table(first, lines)


def read_visits(file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    """An export of links has no single visits."""
    return iter(())


class _Lines:
    """The lines of a file, with their ends; knows the number of the last one.

    Raises:
        UnusableFile: A line is too long, or is not of the encoding.
    """

    def __init__(self, file: File) -> None:
        self.number = 0
        self.has_end = True
        self._lines = self._read(file)

    def __iter__(self) -> Iterator[str]:
        return self._lines

    def _read(self, file: File) -> Iterator[str]:
        encoding = file.hints.encoding or "utf-8-sig"
        decoder = codecs.getincrementaldecoder(encoding)()
        rest = ""
        try:
            for block in file.blocks():
                *lines, rest = (rest + decoder.decode(block)).split("\n")
                for line in lines:
                    self.number += 1
                    yield line + "\n"
                if len(rest) > LONGEST_LINE:
                    raise UnusableFile(f"Line {self.number + 1} is longer than {LONGEST_LINE:,} characters.")
            rest += decoder.decode(b"", True)
        except UnicodeDecodeError:
            raise UnusableFile(f"Near line {self.number + 1} is a byte that is not {encoding}.") from None
        if rest:
            self.number += 1
            self.has_end = False
            yield rest


def _read_table(first: str, lines: _Lines) -> Iterator[FoundLink | Unusable]:
    columns, delimiter = _headings(first)
    missing = HEADINGS - {"short_url"} - set(columns)
    if missing:
        raise UnusableFile(f"Line 1 names no column {', '.join(sorted(missing))}.")
    reader = csv.reader(iter(lines), delimiter=delimiter, strict=True)
    readers = [_READERS.get(name) for name in columns]
    usual = [("", *_USUAL.get(name, ())) for name in columns]
    while True:
        line = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = "a quote is not closed" if "end of data" in str(error) else str(error)
            raise UnusableFile(f"Line {line}: {reason}.") from None
        if len(cells) < len(columns):
            if not lines.has_end:
                raise UnusableFile(f"Line {line}: the file ends in the middle of a row.")
            if any(cells):
                text = delimiter.join(cells)[:SHOWN_CHARACTERS]
                yield Unusable(line, text, f"It has {len(cells)} cells, and line 1 has {len(columns)}.")
            continue
        values: dict[str, object] = {}
        try:
            for name, cell, read, skipped in zip(columns, cells, readers, usual, strict=False):
                if cell not in skipped:
                    values[name] = cell if read is None else read(cell)
            yield _link(line, values)
        except ValueError as error:
            yield Unusable(line, delimiter.join(cells)[:SHOWN_CHARACTERS], str(error))


def _read_objects(first: str, lines: _Lines) -> Iterator[FoundLink | Unusable]:
    text: str | None = first
    while text is not None:
        try:
            if text.strip():
                values = json.loads(text)
                if not isinstance(values, dict):
                    raise ValueError("It is no object.")
                yield _link(lines.number, {name: value for name, value in values.items() if value not in (None, [])})
        except (ValueError, RecursionError) as error:
            if isinstance(error, json.JSONDecodeError):
                if not lines.has_end:
                    raise UnusableFile(f"Line {lines.number}: the file ends in the middle of a row.") from None
                error = ValueError(f"It is no JSON: {error.msg}.")
            yield Unusable(lines.number, text[:SHOWN_CHARACTERS].rstrip(), str(error))
        text = next(iter(lines), None)


def _link(line: int, values: dict[str, object]) -> FoundLink:
    fields = {name: value for name, value in values.items() if name in _FIELDS}
    notices: tuple[str, ...] = ()
    if values.get("has_password") in (True, "true"):
        fields["enabled"] = False
        notices = (LOCKED,)
    clicks = _count(values, "clicks")
    return FoundLink(
        line,
        str(values.get("code", "")),
        str(values.get("url", "")),
        str(values["domain"]) if "domain" in values else None,
        str(values["short_url"]) if "short_url" in values else None,
        _instant(values.get("created_at")),
        clicks,
        max(clicks - _count(values, "humans"), 0) if "humans" in values else None,
        None,
        fields,
        notices,
    )


def _count(values: dict[str, object], name: str) -> int:
    value = values.get(name, 0)
    if isinstance(value, str):
        value = _read_number(value)
    if not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError(f"Its {name} are no number.")
    return value


def _instant(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"Its created_at {str(value)[:40]!r} is no time.") from None


def _headings(line: str) -> tuple[list[str], str]:
    """Return the names of the columns, and what stands between them."""
    delimiter = max(",;\t", key=line.count)
    return [cell.strip().strip('"').lower() for cell in line.strip().split(delimiter)], delimiter


def _read_number(cell: str) -> object:
    return int(cell) if cell.isascii() and cell.isdigit() and len(cell) <= 16 else cell


def _read_truth(cell: str) -> object:
    return {"true": True, "false": False}.get(cell.lower(), cell)


def _read_json(cell: str) -> object:
    try:
        return json.loads(_read_text(cell))
    except (ValueError, RecursionError):
        return cell


def _read_text(cell: str) -> str:
    return unguard(cell) if "'" in cell else cell


_READERS: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(("short_url", "code", "domain", "url", *_TEXTS), _read_text),
    **dict.fromkeys(_NUMBERS, _read_number),
    **dict.fromkeys(_TRUTHS, _read_truth),
    **dict.fromkeys(_JSON, _read_json),
    "tags": lambda cell: split_tags(_read_text(cell)),
}
