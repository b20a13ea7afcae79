"""CSV as exports and statistics send it, line by line; `shared/csv_cells.py` says what a cell is.

The routes hand over rows and stream the lines; which media type is sent is chosen in `media.py`.
"""

from collections.abc import Iterable, Iterator, Sequence

from shared.csv_cells import csv_line


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Write a table: the names of the columns, which are plain words, then a line for each row."""
    yield ",".join(header) + "\r\n"
    for row in rows:
        yield csv_line(row)
