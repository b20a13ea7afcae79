"""Reads the rows of dumps of MySQL, PostgreSQL and SQLite, as a stream. Nothing is executed: all but rows and the columns of
tables is passed over.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from services.links.sources.found import File, Unusable, UnusableFile
from services.links.sources.sql_values import (
    MYSQL,
    MoreNeeded,
    find_dialect,
    read_row,
    row_expression,
    unescape_copy,
)
from services.links.sources.texts import LONGEST_FIELD, LONGEST_LINE, read_texts, shorten

READ_CHARACTERS = 256 * 1024
LOOK_AHEAD = 64 * 1024
"""Characters of the beginning of a statement, and of a row that is tried in the fast way."""

MOST_HEADERS = 1000
"""Beginnings of INSERT statements that are remembered."""

_IDENTIFIER = r"(?:`(?:[^`]|``)+`|\"(?:[^\"]|\"\")+\"|\[[^\]]+\]|[\w$]+)"
_NAME = rf"(?:{_IDENTIFIER}\s*\.\s*)*({_IDENTIFIER})"
_COLUMNS = r"\(((?:[^()'])*)\)"
_insert = re.compile(
    rf"(?:INSERT|REPLACE)\s+(?:(?:LOW_PRIORITY|DELAYED|HIGH_PRIORITY|IGNORE|OR\s+\w+)\s+)*(?:INTO\s+)?{_NAME}\s*"
    rf"(?:{_COLUMNS}\s*)?(?:OVERRIDING\s+\w+\s+VALUE\s+)?VALUES?(?=[\s(])",
    re.IGNORECASE,
).match
_copy = re.compile(rf"COPY\s+{_NAME}\s*(?:{_COLUMNS}\s*)?FROM\s+stdin\b[^;\n]*;[^\n]*\n", re.IGNORECASE).match
_create = re.compile(
    rf"CREATE\s+(?:TEMPORARY\s+|UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}\s*\(", re.IGNORECASE
).match
_delimiter = re.compile(r"DELIMITER\s+(\S+)[^\n]*\n?", re.IGNORECASE).match
_meta = re.compile(r"\\[^\n]*\n?").match
_blank = re.compile(r"(?:\s++|--[^\n]*+\n|\#[^\n]*+\n|/\*.*?\*/|;)*+", re.DOTALL).match
_identifiers = re.compile(_IDENTIFIER)
_part = re.compile(rf"\s*({_IDENTIFIER})")
_INSIDE = (
    r"[^;'\"`\-/#$]++|{string}|\"(?:[^\"\\]++|\\.|\"\")*+\"|`[^`]*+`|--[^\n]*+\n|-(?!-)|/\*.*?\*/|/(?!\*)|"
    r"\$(\w*+)\$.*?\$\1\$|\$(?!\w*\$)"
)
_NOT_COLUMNS = frozenset(
    [
        "PRIMARY",
        "KEY",
        "UNIQUE",
        "CONSTRAINT",
        "FOREIGN",
        "INDEX",
        "CHECK",
        "FULLTEXT",
        "SPATIAL",
        "EXCLUDE",
        "LIKE",
        "PERIOD",
    ]
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A table to read.

    Attributes:
        name: What its name is, or ends with: prefixes are free.
        columns: Its columns in their usual order, for a dump that names them nowhere.
        needs: Columns that it must have; else it is another table of that name.
    """

    name: str
    columns: tuple[str, ...]
    needs: frozenset[str]


class Row(NamedTuple):
    """A row: the line that it begins in, the name of its `Wanted`, and its values by column; numbers are text, too."""

    line: int
    table: str
    values: dict[str, str | None]


def read_rows(file: File, *wanted: Wanted, beside: Sequence[Wanted] = ()) -> Iterator[Row | Unusable]:
    """Read the rows of some tables, in the order of the file.

    Args:
        beside: Tables that may be there instead, and whose rows are passed over.

    Raises:
        UnusableFile: It has none of these tables, or ends in the middle of a statement.
    """
    return _Dump(file, wanted, beside).rows()


class _Target(NamedTuple):
    wanted: Wanted
    columns: tuple[str, ...]
    row: re.Pattern[str]


class _Dump:
    """A dump, of which a part is in memory."""

    def __init__(self, file: File, wanted: Sequence[Wanted], beside: Sequence[Wanted]) -> None:
        self._texts = read_texts(file)
        self._wanted = wanted
        self._beside = beside
        self._text = ""
        self._at = 0
        self._line = 1
        self._counted = 0
        self._is_whole = False
        self._created: dict[str, tuple[str, ...]] = {}
        self._headers: dict[str, _Target | None] = {}
        self._rows_of: dict[int, re.Pattern[str]] = {}
        self._tables: dict[str, None] = {}
        self._has_table = False
        self._dialect = MYSQL
        self._inside = re.compile("")

    def rows(self) -> Iterator[Row | Unusable]:
        self._more()
        self._dialect = find_dialect(self._text[:LOOK_AHEAD])
        comment = r"|\#[^\n]*+\n" if self._dialect.has_backslashes else r"|\#"
        # A trailing part of a comment or string is left, and more of the file is read for it.
        self._inside = re.compile(f"(?:{_INSIDE.format(string=self._dialect.string)}{comment})*+", re.DOTALL)
        while self._begin_statement():
            yield from self._statement()
        if not self._has_table:
            names = " or ".join(each.name for each in self._wanted)
            seen = shorten(", ".join(self._tables)) or "none"
            raise UnusableFile(f"Line {self._here()}: the file ends without a table {names}. The tables are: {seen}.")

    def _statement(self) -> Iterator[Row | Unusable]:
        text, at = self._text, self._at
        first = text[at : at + 1].upper()
        if first in "IR" and (found := _insert(text, at)):
            target = self._target(found)
            if target is not None:
                self._at = found.end()
                yield from self._values(target)
                return
        elif first == "C" and (found := _copy(text, at)):
            target = self._target(found)
            self._at = found.end()
            yield from self._copied(target)
            return
        elif first == "C" and (found := _create(text, at)):
            self._create(found)
            return
        elif first == "D" and (found := _delimiter(text, at)):
            self._at = found.end()
            self._skip_routines(found[1])
            return
        elif first == "\\" and (found := _meta(text, at)):
            self._at = found.end()
            return
        self._skip_statement()

    def _values(self, target: _Target) -> Iterator[Row | Unusable]:
        """The rows of an INSERT: nearly all by one expression, and the others value by value."""
        columns, name, match, read = target.columns, target.wanted.name, target.row.match, self._dialect.read
        while True:
            found = match(self._text, self._at)
            if found is None and self._read_ahead():
                continue
            if found is None:
                line, row = self._slow_row(len(columns))
                is_last = self._end_row()
            else:
                start = found.start(1)
                line = self._line = self._line + self._text.count("\n", self._counted, start)
                self._counted = start
                self._at = found.end()
                *raw, end = found.groups()
                try:
                    row = [read(each) for each in raw]
                except ValueError as error:
                    row = str(error)
                is_last = end == ";"
            if isinstance(row, str):
                yield Unusable(line, f"a row of the table {name}", row)
            elif any(value is not None and len(value) > LONGEST_FIELD for value in row):
                yield Unusable(
                    line, f"a row of the table {name}", f"has a field of more than {LONGEST_FIELD:,} characters"
                )
            else:
                yield Row(line, name, dict(zip(columns, row, strict=True)))
            if is_last:
                return

    def _slow_row(self, columns: int) -> tuple[int, "list[str | None] | str"]:
        """Read a row value by value; tell its line."""
        while True:
            found = _blank(self._text, self._at)
            self._at = self._at if found is None else found.end()
            try:
                values, end = read_row(self._text, self._at, self._dialect, is_whole=self._is_whole)
            except MoreNeeded:
                self._need()
                continue
            except ValueError as error:
                if self._at >= len(self._text):
                    self._need()
                    continue
                raise UnusableFile(f"Line {self._here()}: the INSERT {error}.") from None
            break
        line = self._here()
        self._at = end
        if not isinstance(values, str) and len(values) != columns:
            return line, f"has {len(values)} values for {columns} columns"
        return line, values

    def _end_row(self) -> bool:
        """Go past what follows a row that was read slowly; tell whether it was the last one."""
        while True:
            found = _blank_only(self._text, self._at)
            at = self._at if found is None else found.end()
            if at < len(self._text):
                break
            self._need()
        if self._text[at] == ",":
            self._at = at + 1
            return False
        # Such as ON DUPLICATE KEY UPDATE.
        self._skip_statement()
        return True

    def _copied(self, target: _Target | None) -> Iterator[Row | Unusable]:
        """The rows of a COPY, a line each, up to the line `\\.`."""
        while True:
            end = self._text.rfind("\n") + 1
            if end <= self._at:
                self._need()
                continue
            line = self._here()
            for row in self._text[self._at : end].split("\n")[:-1]:
                self._at += len(row) + 1
                if row.rstrip("\r") == "\\.":
                    return
                if target is not None:
                    yield _copied_row(line, row, target)
                line += 1

    def _create(self, found: re.Match[str]) -> None:
        """Note the columns of a table."""
        name = _bare(found[1])
        inside = found.end() - self._at
        start = self._at
        while True:
            end = self._inside.match(self._text, start)
            at = start if end is None else end.end()
            if self._text[at : at + 1] == ";":
                break
            if self._is_whole:
                self._cut()
            inside_at = start
            self._need()
            start = self._at if inside_at != self._at else start
        self._tables.setdefault(name)
        self._created[name] = tuple(_columns_of(self._text[self._at + inside : at]))
        self._headers.clear()
        self._at = at + 1

    def _skip_statement(self) -> None:
        while True:
            found = self._inside.match(self._text, self._at)
            if found is not None:
                self._at = found.end()
            if self._text[self._at : self._at + 1] == ";":
                self._at += 1
                return
            self._need()

    def _skip_routines(self, delimiter: str) -> None:
        """MySQL's client reads routines between lines with DELIMITER."""
        if delimiter == ";":
            return
        end = re.compile(r"^DELIMITER\s+;", re.IGNORECASE | re.MULTILINE)
        while True:
            found = end.search(self._text, self._at)
            if found is not None:
                self._at = found.start()
                return
            self._at = max(self._at, len(self._text) - 100)
            self._need()

    def _target(self, found: re.Match[str]) -> _Target | None:
        """Find out which table a statement fills, and by which columns."""
        header = found[0]
        if header in self._headers:
            return self._headers[header]
        name = _bare(found[1])
        self._tables.setdefault(name)
        listed = tuple(_bare(each) for each in _identifiers.findall(found[2])) if found[2] else self._created.get(name)
        target = None
        for wanted in (*self._wanted, *self._beside):
            columns = listed or wanted.columns
            if name.endswith(wanted.name) and wanted.needs <= set(columns):
                self._has_table = True
                if wanted in self._beside:
                    break
                row = self._rows_of.setdefault(len(columns), row_expression(self._dialect, len(columns)))
                target = _Target(wanted, columns, row)
                break
        if len(self._headers) >= MOST_HEADERS:
            self._headers.clear()
        self._headers[header] = target
        return target

    def _begin_statement(self) -> bool:
        """Go to the beginning of a statement; False at the end of the file."""
        while True:
            found = _blank(self._text, self._at)
            if found is not None:
                self._at = found.end()
            if not self._read_ahead():
                # A comment that nothing ends is no statement.
                return self._text[self._at : self._at + 2] not in ("", "--") and self._text[self._at] != "#"

    def _read_ahead(self) -> bool:
        """Read more where the file's part in memory is nearly used up; tell whether it was."""
        if self._is_whole or len(self._text) - self._at >= LOOK_AHEAD:
            return False
        self._more()
        return True

    def _need(self) -> None:
        """Read more, which must be there."""
        if self._is_whole:
            self._cut()
        if len(self._text) - self._at > LONGEST_LINE:
            raise UnusableFile(
                f"Line {self._here()}: what begins here does not end within {LONGEST_LINE:,} characters."
            )
        self._more()

    def _more(self) -> None:
        """Let go of what is read, and read as much as is left, so that a long row is not read again and again."""
        self._here()
        rest = self._text[self._at :]
        parts, size, wanted = [rest], 0, max(READ_CHARACTERS, len(rest))
        for text in self._texts:
            parts.append(text)
            size += len(text)
            if size >= wanted:
                break
        else:
            self._is_whole = True
        self._text, self._at, self._counted = "".join(parts), 0, 0

    def _cut(self) -> NoReturn:
        raise UnusableFile(f"Line {self._here()}: the file ends in the middle of the statement that goes on here.")

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = max(self._counted, self._at)
        return self._line


def _copied_row(line: int, row: str, target: _Target) -> Row | Unusable:
    cells = row.rstrip("\r").split("\t")
    if len(cells) != len(target.columns):
        return Unusable(line, shorten(row), f"has {len(cells)} values for {len(target.columns)} columns")
    if len(row) > LONGEST_FIELD:
        return Unusable(line, shorten(row), f"has more than {LONGEST_FIELD:,} characters")
    values = [None if cell == "\\N" else unescape_copy(cell) if "\\" in cell else cell for cell in cells]
    return Row(line, target.wanted.name, dict(zip(target.columns, values, strict=True)))


def _bare(identifier: str) -> str:
    return (identifier[1:-1] if identifier[0] in '`"[' else identifier).lower()


def _columns_of(body: str) -> Iterator[str]:
    """The names of the columns of a CREATE TABLE."""
    for part in _split(body):
        found = _part.match(part)
        if found is not None and found[1].upper() not in _NOT_COLUMNS:
            yield _bare(found[1])


_body = re.compile(r"'(?:[^'\\]|\\.|'')*+'|\"[^\"]*+\"|`[^`]*+`|--[^\n]*+|/\*.*?\*/|[(),]|[^'\"`(),\-/]++|.", re.DOTALL)
_blank_only = re.compile(r"(?:\s++|--[^\n]*+\n|/\*.*?\*/)*+", re.DOTALL).match


def _split(body: str) -> Iterator[str]:
    """Split at the commas that are in no bracket, up to the bracket that closes."""
    depth, part = 0, ""
    for piece in _body.findall(body):
        if piece == ")" and depth == 0:
            break
        if piece == "," and depth == 0:
            yield part
            part = ""
            continue
        depth += (piece == "(") - (piece == ")")
        if not piece.startswith(("--", "/*")):
            part += piece
    yield part
