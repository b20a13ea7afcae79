"""Reads tables of SQLite files in memory. A file is data of strangers: nothing that its schema says is run."""

import re
import sqlite3
import time
from collections.abc import Iterator, Sequence

from services.links.sources.found import File, UnusableFile

MAGIC = b"SQLite format 3\0"

MOST_BYTES = 96 * 1024 * 1024
"""SQLite takes a copy for itself. A larger file comes as the SQL of `.dump`, which is read as a stream."""

STEP_TIMEOUT_S = 20.0
"""For the next rows; a sorting of all of them is the longest step."""

ROWS_AT_ONCE = 500
INSTRUCTIONS_A_CHECK = 10_000

_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ})
_plain_table = re.compile(r"CREATE TABLE\b", re.IGNORECASE).match

Value = str | int | float | bytes | None


class SqliteFile:
    """An open file; close it.

    Attributes:
        tables: The columns of each, in lower case.
        has_log: A write-ahead log may hold more than the file does.
    """

    def __init__(self, file: File) -> None:
        """Raises:
        UnusableFile: It is too large, or no database.
        """
        held = bytearray()
        for block in file.blocks():
            held += block
            if len(held) > MOST_BYTES:
                raise UnusableFile(
                    f"A SQLite file may have {MOST_BYTES // 2**20} MiB. Send the output of "
                    "`sqlite3 FILE .dump` instead, which may have any size."
                )
        self.has_log = held[18:20] == b"\2\2"
        if self.has_log:
            # In the mode of a write-ahead log SQLite wants a file for it beside this one.
            held[18:20] = b"\1\1"
        self._deadline = 0.0
        self._conn = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        try:
            self._conn.deserialize(held)
            del held
            self._conn.execute("PRAGMA trusted_schema = OFF")
            self._conn.execute("PRAGMA query_only = ON")
            self._conn.execute("PRAGMA cell_size_check = ON")
            self._conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 16 * 1024 * 1024)
            self._conn.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            self._conn.text_factory = lambda raw: raw.decode("utf-8", "replace")
            self._conn.set_progress_handler(self._is_late, INSTRUCTIONS_A_CHECK)
            self.tables = self._read_schema()
            self._conn.set_authorizer(_authorize)
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            self._conn.close()
            raise UnusableFile(f"The file is no SQLite database that can be read: {error}.") from None

    def close(self) -> None:
        self._conn.close()

    def select(self, table: str, columns: Sequence[str]) -> Iterator[tuple[Value, ...]]:
        """Return rows of a table of `tables` as SQLite finds them.

        Raises:
            UnusableFile: The database is broken, or takes too long.
        """
        listed = ", ".join(map(_quote, columns))
        try:
            self._start()
            cursor = self._conn.execute(f"SELECT {listed} FROM {_quote(table)}")  # noqa: S608  # both are quoted
            while rows := cursor.fetchmany(ROWS_AT_ONCE):
                yield from rows
                self._start()
        except (sqlite3.Error, OverflowError) as error:
            raise UnusableFile(f"The SQLite database cannot be read on: {error}.") from None

    def _read_schema(self) -> dict[str, tuple[str, ...]]:
        """Find the columns of the tables that are no views, no virtual ones, and compute nothing."""
        self._start()
        found = {}
        for name, spelled in self._conn.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table' LIMIT 1000"):
            if not isinstance(name, str) or not isinstance(spelled, str) or not _plain_table(spelled):
                continue
            columns = self._conn.execute(f"PRAGMA table_xinfo({_quote(name)})").fetchall()
            if all(hidden == 0 for *_, hidden in columns):
                found[name] = tuple(column[1].lower() for column in columns)
        return found

    def _start(self) -> None:
        self._deadline = time.monotonic() + STEP_TIMEOUT_S

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _authorize(action: int, *_names: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
