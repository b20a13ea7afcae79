"""Reads tables of a database, whether its file is SQL or SQLite, with the same rows."""

from collections.abc import Iterator, Sequence

from services.links.sources.formats import head_of, kind_of
from services.links.sources.found import File, Unusable, UnusableFile
from services.links.sources.reading.sql import read_rows
from services.links.sources.reading.sql_tables import Row, Wanted
from services.links.sources.reading.sqlite_files import SqliteFile, Value
from services.links.sources.reading.texts import LONGEST_FIELD


def read_tables(file: File, *wanted: Wanted, beside: Sequence[Wanted] = ()) -> Iterator[Row | Unusable]:
    """Read the rows of some tables. Of SQL in the order of the file, of SQLite one table after another.

    Args:
        beside: Tables that may be there instead, and whose rows are passed over.

    Raises:
        UnusableFile: The file has none of them, or cannot be read on.
    """
    if kind_of(head_of(file)) != "sqlite":
        yield from read_rows(file, *wanted, beside=beside)
        return
    held = SqliteFile(file)
    try:
        yield from _read_sqlite(held, wanted, beside)
    finally:
        held.close()


class LinkNumbers:
    """The links of a database by their numbers, to which its visits refer. A million of them take some 150 MB."""

    def __init__(self) -> None:
        self._held: dict[int, str] = {}

    def note(self, number: int, domain: str | None, code: str) -> None:
        # One text for both takes half of a pair's memory.
        self._held[number] = f"{domain or ''}\0{code}"

    def find(self, number: int) -> tuple[str | None, str]:
        """Return domain and code of a link.

        Raises:
            ValueError: There is none.
        """
        held = self._held.get(number)
        if held is None:
            raise ValueError("is of a link that is not in this file")
        domain, _, code = held.partition("\0")
        return domain or None, code


def number_of(row: Row, name: str) -> int:
    """The number by which tables refer to a row; 0 for none.

    Raises:
        UnusableFile: It is no number: the file is not what it seems.
    """
    text = row.values.get(name)
    if text is None:
        return 0
    try:
        return int(text)
    except ValueError:
        raise UnusableFile(f"Line {row.line}: a row of {row.table} has a {name} that is no number.") from None


def _read_sqlite(held: SqliteFile, wanted: tuple[Wanted, ...], beside: Sequence[Wanted]) -> Iterator[Row | Unusable]:
    number, has_table = 0, False
    for each in (*wanted, *beside):
        for table in held.tables:
            if not table.endswith(each.name) or not each.needs <= set(held.tables[table]):
                continue
            has_table = True
            if each in beside:
                break
            columns = held.tables[table]
            for values in held.select(table, columns):
                number += 1
                yield _row(number, each.name, columns, values)
            break
    if not has_table:
        names = " or ".join(each.name for each in wanted)
        log = " Its write-ahead log was not in it: run `sqlite3 FILE .dump`, and send that." if held.has_log else ""
        raise UnusableFile(f"The SQLite database has no table {names}.{log}")


def _row(number: int, table: str, columns: tuple[str, ...], values: tuple[Value, ...]) -> Row | Unusable:
    try:
        texts = {name: _text(value) for name, value in zip(columns, values, strict=True)}
    except UnicodeDecodeError:
        return Unusable(number, f"a row of the table {table}", "has bytes that are no UTF-8")
    if any(text is not None and len(text) > LONGEST_FIELD for text in texts.values()):
        return Unusable(number, f"a row of the table {table}", f"has a field of more than {LONGEST_FIELD:,} characters")
    return Row(number, table, texts)


def _text(value: Value) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.decode() if isinstance(value, bytes) else str(value)
