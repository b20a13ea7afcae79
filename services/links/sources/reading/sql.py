"""Reads the rows of dumps of MySQL, PostgreSQL and SQLite, as a stream. Nothing is executed: all but rows and the columns of
tables is passed over.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from services.links.sources.found import File, Unusable
from services.links.sources.reading.sql_tables import IDENTIFIER, Row, Wanted, bare_name, columns_of
from services.links.sources.reading.sql_values import (
    MYSQL,
    MoreNeeded,
    find_dialect,
    read_row,
    row_expression,
    unescape_copy,
)
from services.links.sources.reading.texts import LONGEST_FIELD, shorten, wrong_bytes
from services.links.sources.reading.windows import Window

LOOK_AHEAD = 64 * 1024
"""Characters of the beginning of a statement, and of a row that is tried in the fast way."""

MOST_HEADERS = 1000
"""Beginnings of INSERT statements that are remembered."""

_NAME = rf"(?:{IDENTIFIER}\s*\.\s*)*({IDENTIFIER})"
_COLUMNS = r"\(((?:[^()'])*)\)"
_insert = re.compile(
    rf"(?:INSERT|REPLACE)\s+(?:(?:LOW_PRIORITY|DELAYED|HIGH_PRIORITY|IGNORE|OR\s+\w+)\s+)*(?:INTO\s+)?{_NAME}\s*"
    rf"(?:{_COLUMNS}\s*)?(?:OVERRIDING\s+\w+\s+VALUE\s+)?VALUES?(?=[\s(])",
    re.IGNORECASE,
).match
_with_set = re.compile(
    rf"(?:INSERT|REPLACE)\s+(?:(?:LOW_PRIORITY|DELAYED|HIGH_PRIORITY|IGNORE|OR\s+\w+)\s+)*(?:INTO\s+)?{_NAME}\s*"
    r"SET\s",
    re.IGNORECASE,
).match
_copy = re.compile(rf"COPY\s+{_NAME}\s*(?:{_COLUMNS}\s*)?FROM\s+stdin\b[^;\n]*;[^\n]*\n", re.IGNORECASE).match
_create = re.compile(
    rf"CREATE\s+(?:TEMPORARY\s+|UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}\s*\(", re.IGNORECASE
).match
_delimiter = re.compile(r"DELIMITER\s+(\S+)[^\n]*\n?", re.IGNORECASE).match
_blank_only = re.compile(r"(?:\s++|--[^\n]*+\n|/\*.*?\*/)*+", re.DOTALL).match
_meta = re.compile(r"\\[^\n]*\n?").match
_blank = re.compile(r"(?:\s++|--[^\n]*+\n|\#[^\n]*+\n|/\*.*?\*/|;)*+", re.DOTALL).match
_wrong = re.compile("[\ud800-\udfff]").search
_identifiers = re.compile(IDENTIFIER)
_INSIDE = (
    r"[^;'\"`\-/#$]++|(?<=\W[Ee])'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'|{string}|"
    r"\"(?:[^\"\\]++|\\.|\"\")*+\"|`[^`]*+`|--[^\n]*+\n|-(?!-)|/\*.*?\*/|/(?!\*)|"
    r"\$(\w*+)\$.*?\$\1\$|\$(?!\w*\$)"
)


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


class _Dump(Window):
    """A dump, of which a part is in memory."""

    def __init__(self, file: File, wanted: Sequence[Wanted], beside: Sequence[Wanted]) -> None:
        super().__init__(file, keeps_wrong=True)
        self._encoding = file.hints.encoding
        self._wanted = wanted
        self._beside = beside
        self._created: dict[str, tuple[str, ...]] = {}
        self._headers: dict[str, _Target | None] = {}
        self._rows_of: dict[int, re.Pattern[str]] = {}
        self._tables: dict[str, None] = {}
        self._has_table = False
        self._dialect = MYSQL
        self._inside = re.compile("")

    def rows(self) -> Iterator[Row | Unusable]:
        self.read_more()
        self._dialect = find_dialect(self.text[:LOOK_AHEAD])
        comment = r"|\#[^\n]*+\n" if self._dialect.has_backslashes else r"|\#"
        # A trailing part of a comment or string is left, and more of the file is read for it.
        self._inside = re.compile(f"(?:{_INSIDE.format(string=self._dialect.string)}{comment})*+", re.DOTALL)
        while self._begin_statement():
            yield from self._statement()
        if not self._has_table:
            names = " or ".join(each.name for each in self._wanted)
            seen = shorten(", ".join(self._tables)) or "none"
            self.fail(f"the file ends without a table {names}. The tables are: {seen}")

    def _statement(self) -> Iterator[Row | Unusable]:
        text, at = self.text, self.at
        first = text[at : at + 1].upper()
        if first in "IR" and (found := _insert(text, at)):
            target = self._target(found)
            if target is not None:
                self.at = found.end()
                yield from self._values(target)
                return
        elif first in "IR" and (found := _with_set(text, at)):
            yield from self._with_set(found)
        elif first == "C" and (found := _copy(text, at)):
            target = self._target(found)
            self.at = found.end()
            yield from self._copied(target)
            return
        elif first == "C" and (found := _create(text, at)):
            self._create(found)
            return
        elif first == "D" and (found := _delimiter(text, at)):
            self.at = found.end()
            self._skip_routines(found[1])
            return
        elif first == "\\" and (found := _meta(text, at)):
            self.at = found.end()
            return
        self._skip_statement()

    def _values(self, target: _Target) -> Iterator[Row | Unusable]:
        """The rows of an INSERT: nearly all by one expression, and the others value by value."""
        columns, match, read = target.columns, target.row.match, self._dialect.read
        while True:
            found = match(self.text, self.at)
            if found is None and self._read_ahead():
                continue
            if found is None:
                line, row = self._slow_row(len(columns))
                is_last = self._end_row()
            else:
                start = found.start(1)
                line = self.line_at(start)
                self.at = found.end()
                *raw, end = found.groups()
                try:
                    row = [read(each) for each in raw]
                except ValueError as error:
                    row = str(error)
                is_last = end == ";"
            yield self._checked(line, target, row)
            if is_last:
                return

    def _with_set(self, found: re.Match[str]) -> Iterator[Unusable]:
        """An INSERT with SET, which no dump has: it is not silently passed over where it fills a table to read."""
        name = bare_name(found[1])
        for wanted in self._wanted:
            if name.endswith(wanted.name) and wanted.needs <= set(self._created.get(name, wanted.columns)):
                yield Unusable(self.line_at(self.at), shorten(found[0]), "is an INSERT with SET, which is not read")

    def _checked(self, line: int, target: _Target, row: list[str | None] | str) -> Row | Unusable:
        name = target.wanted.name
        if isinstance(row, str):
            return Unusable(line, f"a row of the table {name}", row)
        for value in row:
            if value is None or (len(value) <= LONGEST_FIELD and value.isascii()):
                continue
            if len(value) > LONGEST_FIELD:
                reason = f"has a field of more than {LONGEST_FIELD:,} characters"
                return Unusable(line, f"a row of the table {name}", reason)
            if _wrong(value):
                raise wrong_bytes(line, self._encoding)
        return Row(line, name, dict(zip(target.columns, row, strict=True)))

    def _slow_row(self, columns: int) -> tuple[int, "list[str | None] | str"]:
        """Read a row value by value; tell its line."""
        while True:
            found = _blank(self.text, self.at)
            self.at = self.at if found is None else found.end()
            try:
                values, end = read_row(self.text, self.at, self._dialect, is_whole=self.is_whole)
            except MoreNeeded:
                self.need_more()
                continue
            except RecursionError:
                self.fail("the INSERT has expressions in one another, too deep to be read")
            except ValueError as error:
                if self.at >= len(self.text):
                    self.need_more()
                    continue
                self.fail(f"the INSERT {error}")
            break
        line = self.line_at(self.at)
        self.at = end
        if not isinstance(values, str) and len(values) != columns:
            return line, f"has {len(values)} values for {columns} columns"
        return line, values

    def _end_row(self) -> bool:
        """Go past what follows a row that was read slowly; tell whether it was the last one."""
        while True:
            found = _blank_only(self.text, self.at)
            at = self.at if found is None else found.end()
            if at < len(self.text):
                break
            self.need_more()
        if self.text[at] == ",":
            self.at = at + 1
            return False
        # Such as ON DUPLICATE KEY UPDATE.
        self._skip_statement()
        return True

    def _copied(self, target: _Target | None) -> Iterator[Row | Unusable]:
        """The rows of a COPY, a line each, up to the line `\\.`."""
        while True:
            end = self.text.rfind("\n") + 1
            if end <= self.at:
                self.need_more()
                continue
            line = self.line_at(self.at)
            for row in self.text[self.at : end].split("\n")[:-1]:
                self.at += len(row) + 1
                if row.rstrip("\r") == "\\.":
                    return
                if target is not None:
                    yield self._copied_row(line, row, target)
                line += 1

    def _copied_row(self, line: int, row: str, target: _Target) -> Row | Unusable:
        cells = row.rstrip("\r").split("\t")
        if len(cells) != len(target.columns):
            return Unusable(line, shorten(row), f"has {len(cells)} values for {len(target.columns)} columns")
        values = [None if cell == "\\N" else unescape_copy(cell) if "\\" in cell else cell for cell in cells]
        return self._checked(line, target, values)

    def _create(self, found: re.Match[str]) -> None:
        """Note the columns of a table."""
        name = bare_name(found[1])
        inside = found.end() - self.at
        start = self.at
        while True:
            end = self._inside.match(self.text, start)
            at = start if end is None else end.end()
            if self.text[at : at + 1] == ";":
                break
            if self.is_whole:
                self.need_more()
            inside_at = start
            self.need_more()
            start = self.at if inside_at != self.at else start
        self._tables.setdefault(name)
        self._created[name] = tuple(columns_of(self.text[self.at + inside : at]))
        self._headers.clear()
        self.at = at + 1

    def _skip_statement(self) -> None:
        while True:
            found = self._inside.match(self.text, self.at)
            if found is not None:
                self.at = found.end()
            if self.text[self.at : self.at + 1] == ";":
                self.at += 1
                return
            self.need_more()

    def _skip_routines(self, delimiter: str) -> None:
        """MySQL's client reads routines between lines with DELIMITER."""
        if delimiter == ";":
            return
        end = re.compile(r"^DELIMITER\s+;", re.IGNORECASE | re.MULTILINE)
        while True:
            found = end.search(self.text, self.at)
            if found is not None:
                self.at = found.start()
                return
            self.at = max(self.at, len(self.text) - 100)
            self.need_more()

    def _target(self, found: re.Match[str]) -> _Target | None:
        """Find out which table a statement fills, and by which columns."""
        header = found[0]
        if header in self._headers:
            return self._headers[header]
        name = bare_name(found[1])
        self._tables.setdefault(name)
        listed = (
            tuple(bare_name(each) for each in _identifiers.findall(found[2])) if found[2] else self._created.get(name)
        )
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
            found = _blank(self.text, self.at)
            if found is not None:
                self.at = found.end()
            if not self._read_ahead():
                # A comment that nothing ends is no statement.
                return self.text[self.at : self.at + 2] not in ("", "--") and self.text[self.at] != "#"

    def _read_ahead(self) -> bool:
        """Read more where the file's part in memory is nearly used up; tell whether it was."""
        if self.is_whole or len(self.text) - self.at >= LOOK_AHEAD:
            return False
        self.read_more()
        return True
