"""Moves counts out of the tables of rows into packed days, in small steps, while clicks are stored and statistics are read.

`services/links/upkeep.py` has a `CountMover` by the clock where PACKED_CLICKS is on. What a step takes out of a table is in the
packed days by the same commit, so a statement sees each count once, wherever it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from services.links.packed.days import MOST_VALUES_OF_LINK, MOST_VALUES_OF_OWNER, DayCounts
from services.links.packed.rows import Counted, lock_days, select_days, write_days
from shared.api import Dimensions
from shared.postgres import Connection

STEP_ROWS = 500
"""Clicks wait while a step is taken: some hundredths of a second."""


class _Source(NamedTuple):
    """A table of rows.

    Attributes:
        owner: Whether it has an owner's counts and not a link's.
        statement: Takes some rows out, those that nobody else has locked.
        arguments: Of the statement, after the number of rows and whose the first of them may be.
    """

    owner: bool
    statement: str
    arguments: tuple[object, ...] = ()


class CountMover:
    """Moves counts step by step; it goes on behind the rows that it moved, so as not to pass their remains again."""

    def __init__(self) -> None:
        self._sources = list(_SOURCES)
        self._place: Counted | None = None

    async def move_some(self, conn: Connection) -> int:
        """Move the counts of some rows.

        Returns:
            How many rows; call it again while there are any.
        """
        while self._sources:
            source = self._sources[0]
            async with conn.transaction():
                await lock_days(conn)
                rows = await conn.fetch(source.statement, STEP_ROWS, self._place, *source.arguments)
                await _add(conn, source, rows)
            if rows:
                self._place = max(row["whose"] for row in rows)
                return len(rows)
            self._sources.pop(0)
            self._place = None
        return 0


async def _add(conn: Connection, source: _Source, rows: Sequence[Any]) -> None:
    most = MOST_VALUES_OF_OWNER if source.owner else MOST_VALUES_OF_LINK
    of_days: dict[int, list[Any]] = {}
    for row in rows:
        of_days.setdefault(row["day"], []).append(row)
    for day, of_day in of_days.items():
        counted = await select_days(conn, day, {row["whose"] for row in of_day})
        for row in of_day:
            _add_row(counted.setdefault(row["whose"], DayCounts()), row, most)
        await write_days(conn, day, counted)


def _add_row(counts: DayCounts, row: Mapping[str, Any], most: int) -> None:
    if "slot" in row:
        counts.add_slot(row["slot"], row["is_bot"], row["clicks"])
    elif "dimension" in row:
        counts.add_value(row["dimension"], row["value"], row["is_bot"], row["clicks"], most)
    else:
        counts.add_visitors(row["is_bot"], row["visitors"])


_TOTALS = """
    DELETE FROM click_totals_by_<by> WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM click_totals_by_<by> WHERE <from> ORDER BY <whose>, slot, is_bot LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING <whose> AS whose, (slot AT TIME ZONE 'UTC')::date - DATE '1970-01-01' AS day, is_bot, clicks,
        (extract(epoch FROM (slot AT TIME ZONE 'UTC')::time) / 900)::integer AS slot
"""

_DIMENSIONS = """
    DELETE FROM click_dimensions_by_<by> WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM click_dimensions_by_<by> WHERE <from> AND dimension = ANY ($3)
        ORDER BY <whose>, day, dimension, value, is_bot LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING <whose> AS whose, day - DATE '1970-01-01' AS day, is_bot, clicks, dimension, value
"""

_VISITORS = """
    DELETE FROM click_uniques_by_<by> WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM click_uniques_by_<by> WHERE <from> ORDER BY <whose>, day, is_bot LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING <whose> AS whose, day - DATE '1970-01-01' AS day, is_bot, visitors
"""

_SOURCES = [
    _Source(by == "owner", statement.replace("<by>", by).replace("<from>", start).replace("<whose>", whose), arguments)
    for by, whose, start in (
        ("link", "link_id", "link_id >= coalesce($2::bigint, 0)"),
        ("owner", "owner", "owner >= coalesce($2::text, '')"),
    )
    for statement, arguments in (
        (_TOTALS, ()),
        # A dimension that is not known here is left to the release that counts by it.
        (_DIMENSIONS, (list(Dimensions._fields),)),
        (_VISITORS, ()),
    )
]
