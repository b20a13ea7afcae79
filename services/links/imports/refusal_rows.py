"""The rows that imports left out or changed, and links that an undoing has kept: the first ones of each import."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from shared.postgres import Connection

MOST_REFUSALS = 100_000
"""Rows of an import that are listed. The rest of those that are left out is counted."""

LONGEST_INPUT = 500
LONGEST_REASON = 1000


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """A row that was left out or changed, and why."""

    line: int | None
    input: str
    reason: str
    proposed_code: str | None = None


async def insert_refusals(conn: Connection, import_id: UUID, refusals: Sequence[RefusalRow], before: int) -> None:
    """List rows that were left out or changed, if there is still room.

    Args:
        conn: In a transaction.
        import_id: The import.
        refusals: The rows.
        before: How many there are already.
    """
    room = refusals[: max(0, MOST_REFUSALS - before)]
    if room:
        await conn.execute(
            """
            INSERT INTO import_refusals (import_id, line, input, reason, proposed_code)
            SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[])
            """,
            import_id,
            [each.line for each in room],
            [each.input[:LONGEST_INPUT].replace("\0", "") for each in room],
            [each.reason[:LONGEST_REASON].replace("\0", "") for each in room],
            [each.proposed_code for each in room],
        )


async def select_refusals(
    conn: Connection, import_id: UUID, after: int, limit: int
) -> tuple[list[RefusalRow], int | None]:
    """Read a page of the list, and the number after which the next one begins."""
    rows = await conn.fetch(
        """
        SELECT number, line, input, reason, proposed_code FROM import_refusals
        WHERE import_id = $1 AND number > $2 ORDER BY number LIMIT $3
        """,
        import_id,
        after,
        limit,
    )
    page = [RefusalRow(row["line"], row["input"], row["reason"], row["proposed_code"]) for row in rows]
    return page, rows[-1]["number"] if len(rows) == limit else None
