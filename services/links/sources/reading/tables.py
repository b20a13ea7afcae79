"""Reads CSV: delimiter and headings from the first line, rows one by one, with the lines that they begin in."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import NamedTuple

from services.links.sources.found import File, Unusable, UnusableFile
from services.links.sources.reading.texts import LONGEST_LINE, read_head, read_lines, shorten

DELIMITERS = ",;\t|"
MOST_HEADINGS = 500
MOST_HEADING_LINES = 20
"""Headings may have newlines, too."""

Aliases = Mapping[str, Sequence[str]]
"""The columns of a source: its name here, and the headings that it may have, as `spell_heading` writes them."""

_sep = re.compile(r"sep=([,;\t|])\s*", re.IGNORECASE).fullmatch
_quoted = re.compile(r'"(?:[^"]|"")*"?')
_other = re.compile(r"[\W_]+")


class Record(NamedTuple):
    """A row: the line that it begins in, and its cells by the names of `Aliases`; those that it has not are empty."""

    line: int
    cells: Mapping[str, str]


class Layout(NamedTuple):
    """How a file is written: what is between its cells, the cells of its first row, and lines before it."""

    delimiter: str
    first: tuple[str, ...]
    before: int = 0

    @property
    def headings(self) -> frozenset[str]:
        return frozenset(map(spell_heading, self.first))


def spell_heading(text: str) -> str:
    """Spell a heading so that `Long URL`, `long_url` and `longUrl` are the same."""
    return _other.sub("", text).lower()


@lru_cache(4)
def sniff(head: bytes) -> Layout:
    """Find out how a file is written, by its first line alone: targets and titles have all of these characters."""
    lines = read_head(head).replace("\r\n", "\n").replace("\r", "\n").split("\n", MOST_HEADING_LINES)
    return _sniff(lines)


def read_table(
    file: File, aliases: Aliases, needs: Sequence[Sequence[str]], *, first: Sequence[str] = (), guarded: bool = True
) -> Iterator[Record | Unusable]:
    """Read the rows of a file.

    Args:
        aliases: Where a name has several headings, the first one that is there and not empty counts.
        needs: Of each of these, one column must be there.
        first: The headings of a file that has none.
        guarded: The source writes `'` before what a spreadsheet would take for a formula.

    Raises:
        UnusableFile: Columns are missing, a quote is not closed, or the file ends in the middle of a row.
    """
    lines = read_lines(file)
    kept = list(islice(lines, MOST_HEADING_LINES))
    layout = _sniff([line.rstrip("\r\n") for line in kept])
    rows = _Rows(chain(kept, lines), layout)
    if not first:
        rows.skip()
    columns = _columns(first or layout.first, aliases, needs)
    width = len(first) or _width(layout.first)
    wanted = max((max(places) for places in columns.values()), default=-1) + 1
    for line, row in rows.read(width):
        if isinstance(row, Unusable):
            yield row
            continue
        if len(row) > width and any(row[width:]):
            yield Unusable(
                line, shorten(layout.delimiter.join(row)), f"has {len(row)} columns, and the headings {width}"
            )
            continue
        if len(row) < wanted:
            row.extend([""] * (wanted - len(row)))
        cells = {name: _cell(row, places, guarded=guarded) for name, places in columns.items()}
        if any(cells.values()):
            yield Record(line, cells)


class _Rows:
    """The rows of the file, with csv's complaints turned into lines."""

    def __init__(self, lines: Iterator[str], layout: Layout) -> None:
        self._seen = layout.before
        self._last = ""
        for _ in range(layout.before):
            next(lines)
        # Strict: else csv takes a quote that is not closed for the end of the file.
        self._lines = self._count(lines)
        self._reader = csv.reader(self._lines, delimiter=layout.delimiter, strict=True)
        self._since: list[str] = []

    def skip(self) -> None:
        """Go past the headings."""
        try:
            next(self._reader, None)
        except csv.Error as error:
            raise UnusableFile(f"The headings in line 1 cannot be read: {error}.") from None

    def read(self, width: int) -> Iterator[tuple[int, "list[str] | Unusable"]]:
        reader, since = self._reader, self._since
        while True:
            line = self._seen + 1
            since.clear()
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, self._complain(line, str(error))
                continue
            if not row:
                continue
            if len(row) < width and not self._last.endswith(("\n", "\r")):
                raise UnusableFile(f"Line {line}: the file ends in the middle of a row.")
            yield line, row

    def _count(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            self._seen += 1
            self._last = line
            self._since.append(line)
            yield line

    def _complain(self, line: int, error: str) -> Unusable:
        text = "".join(self._since)
        if error == "unexpected end of data":
            raise UnusableFile(
                f"Line {line}: a quote that opens in this row is not closed: the file is cut, or not CSV."
            )
        if error.startswith("field larger"):
            self._leave_field(line, text)
            return Unusable(line, shorten(text), f"has a field of more than {csv.field_size_limit():,} characters")
        if text.count('"') % 2:
            raise UnusableFile(
                f"Line {line}: {error} at line {self._seen}: a quote that opens in this row is not closed."
            )
        return Unusable(line, shorten(text), f"is not CSV: {error}")

    def _leave_field(self, line: int, text: str) -> None:
        """Pass over what a long field has of further lines."""
        is_open, size = text.count('"') % 2 == 1, len(text)
        while is_open and size <= LONGEST_LINE:
            rest = next(self._lines, None)
            if rest is None:
                break
            self._since.clear()
            is_open ^= rest.count('"') % 2 == 1
            size += len(rest)
        if is_open:
            raise UnusableFile(
                f"Line {line}: a quote that opens in this row is not closed: the file is cut, or not CSV."
            )


def _sniff(lines: Sequence[str]) -> Layout:
    before, lines = 0, list(lines)
    forced = _sep(lines[0]) if lines else None
    if forced is not None:
        # Excel writes it for itself.
        before, lines = 1, lines[1:]
    while lines and not lines[0].strip():
        before, lines = before + 1, lines[1:]
    if not lines:
        return Layout(",", ())
    bare = _quoted.sub("", lines[0])
    delimiter = forced[1] if forced is not None else max(DELIMITERS, key=bare.count)
    try:
        row = next(csv.reader((line + "\n" for line in lines), delimiter=delimiter, strict=True), [])
    except csv.Error:
        row = []
    return Layout(delimiter, tuple(cell.strip() for cell in row[:MOST_HEADINGS]), before)


def _columns(headings: Sequence[str], aliases: Aliases, needs: Sequence[Sequence[str]]) -> dict[str, tuple[int, ...]]:
    places: dict[str, list[int]] = {}
    for place, heading in enumerate(headings):
        places.setdefault(spell_heading(heading), []).append(place)
    found = {
        name: tuple(place for each in spelled for place in places.get(each, ())) for name, spelled in aliases.items()
    }
    for names in needs:
        if not any(found[name] for name in names):
            missing = " or ".join(aliases[name][0] for name in names)
            seen = shorten(", ".join(heading for heading in headings if heading)) or "none"
            raise UnusableFile(f"Line 1: no heading is a {missing}. The headings are: {seen}.")
    return {name: columns for name, columns in found.items() if columns}


def _width(headings: Sequence[str]) -> int:
    """Columns without a heading at the end do not count."""
    return max((place for place, heading in enumerate(headings, 1) if heading), default=0)


def _cell(row: Sequence[str], places: tuple[int, ...], *, guarded: bool) -> str:
    for place in places:
        text = row[place].strip()
        if text:
            return text[1:] if guarded and text[0] == "'" and text[1:2] in _FORMULAS else text
    return ""


_FORMULAS = frozenset("=+-@\t\r")
