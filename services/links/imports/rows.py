"""The tables of imports: each one, the parts of its file, and what it left out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

import asyncpg

from services.links.imports.forms import ImportOptions, State
from shared.postgres import Connection

UNFINISHED = ("receiving", "waiting", "reading", "importing", "undoing")
AT_WORK = ("waiting", "reading", "importing", "undoing")

MOST_REFUSALS = 100_000
"""Rows of an import that are listed. The rest of those that are left out is counted."""

LONGEST_INPUT = 500
LONGEST_REASON = 1000


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of rows so far, or of those of a step."""

    rows_read: int = 0
    made: int = 0
    found: int = 0
    replaced: int = 0
    refused: int = 0
    notices: int = 0
    visits: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class ImportRow:
    """An import.

    Attributes:
        number: For tables that have a row for each link.
        is_admin: Whether the key that it came with may decide about domains.
        stage: What of the file comes now: `reading` of all of it, `links` or `visits`.
        position: The rows of the stage that are done.
        failures: At this place, one after the other. What is only read is one place, as it begins anew in each process.
    """

    id: UUID
    number: int
    owner: str
    options: ImportOptions
    is_admin: bool
    is_gzip: bool
    dry_run: bool
    state: State
    format: str | None
    bytes: int
    stage: str
    position: int
    counts: Counts
    rows_per_second: float | None
    seconds_left: float | None
    error: str | None
    failures: int
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """A row that was left out or changed, and why."""

    line: int | None
    input: str
    reason: str
    proposed_code: str | None = None


_COUNTED = tuple(each.name for each in fields(Counts))
_PLAIN = tuple(each.name for each in fields(ImportRow) if each.name not in ("counts", "options"))
_SELECT = f"SELECT options, {', '.join((*_PLAIN, *_COUNTED))} FROM imports "
_ADD = ", ".join(f"{name} = {name} + ${place}" for place, name in enumerate(_COUNTED, 5))
_RESET = ", ".join(f"{name} = 0" for name in _COUNTED)


async def insert_import(
    conn: Connection,
    import_id: UUID,
    owner: str,
    options: ImportOptions,
    *,
    format: str | None,  # noqa: A002  # as the API calls it
    is_admin: bool,
    is_gzip: bool,
    dry_run: bool,
) -> bool:
    """Begin an import; tell whether there was none with this id."""
    row = await conn.fetchrow(
        """
        INSERT INTO imports (id, owner, options, format, is_admin, is_gzip, dry_run) VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (id) DO NOTHING RETURNING true
        """,
        import_id,
        owner,
        options.model_dump_json(),
        format,
        is_admin,
        is_gzip,
        dry_run,
    )
    return row is not None


async def select_import(conn: Connection, import_id: UUID) -> ImportRow | None:
    row = await conn.fetchrow(_SELECT + "WHERE id = $1", import_id)
    return None if row is None else _import_of(row)


async def lock_import(conn: Connection, import_id: UUID) -> ImportRow | None:
    """Read an import, and keep others from changing it until the transaction ends."""
    row = await conn.fetchrow(_SELECT + "WHERE id = $1 FOR UPDATE", import_id)
    return None if row is None else _import_of(row)


async def lock_place(conn: Connection, import_id: UUID, stage: str) -> None:
    """Keep others from changing an import until the transaction ends.

    Raises:
        AdvancedByOthers: It is not at this stage any more.
    """
    row = await conn.fetchrow("SELECT stage FROM imports WHERE id = $1 FOR UPDATE", import_id)
    if row is None or row["stage"] != stage:
        raise AdvancedByOthers


async def select_imports(conn: Connection, owner: str, limit: int) -> list[ImportRow]:
    """Read the newest imports of an owner."""
    rows = await conn.fetch(_SELECT + "WHERE owner = $1 ORDER BY number DESC LIMIT $2", owner, limit)
    return [_import_of(row) for row in rows]


async def select_due(conn: Connection, limit: int, opened: Sequence[UUID] = ()) -> list[ImportRow]:
    """Read the imports that can go on now: the oldest of each owner, those first that are open, then who waits for longest.

    One that is closed loses what was read of its file.
    """
    rows = await conn.fetch(
        f"""
        SELECT * FROM (
            SELECT DISTINCT ON (owner) * FROM ({_SELECT} WHERE state = ANY ($1) AND due_at <= now()) AS due
            ORDER BY owner, number
        ) AS firsts
        ORDER BY id = ANY ($3::uuid[]) DESC, changed_at LIMIT $2
        """,
        AT_WORK,
        limit,
        opened,
    )
    return [_import_of(row) for row in rows]


async def has_work(conn: Connection, within_s: float = 0.0) -> bool:
    """Tell whether an import can go on now, or within so many seconds."""
    return bool(
        await conn.fetchval(
            """
            SELECT EXISTS (SELECT FROM imports
                WHERE state IN ('waiting', 'reading', 'importing', 'undoing')
                  AND due_at <= now() + make_interval(secs => $1))
            """,
            within_s,
        )
    )


async def update_state(conn: Connection, import_id: UUID, state: State, *, stage: str = "", error: str = "") -> None:
    """Change the state of an import, and where it goes on: with a stage at the beginning of that.

    Args:
        conn: In a transaction.
        import_id: The import.
        state: The new state.
        stage: What comes now; empty to stay where it is.
        error: Why it failed.
    """
    await conn.execute(
        """
        UPDATE imports SET state = $2, error = nullif(left($4, 1000), ''), due_at = now(), changed_at = now(),
            failures = CASE WHEN $2 = 'reading' THEN failures ELSE 0 END,
            seconds_left = NULL, rows_per_second = CASE WHEN $2 IN ('waiting', 'undoing') THEN NULL ELSE rows_per_second END,
            stage = coalesce(nullif($3, ''), stage), position = CASE WHEN $3 = '' THEN position ELSE 0 END
        WHERE id = $1
        """,
        import_id,
        state,
        stage,
        error,
    )


async def reset_counts(conn: Connection, import_id: UUID) -> None:
    """Begin to count anew, and forget what was refused."""
    await conn.execute(f"UPDATE imports SET {_RESET} WHERE id = $1", import_id)
    await conn.execute("DELETE FROM import_refusals WHERE import_id = $1", import_id)


async def start_for_good(conn: Connection, import_id: UUID) -> None:
    """Turn a dry run into an import."""
    await conn.execute("UPDATE imports SET dry_run = false WHERE id = $1", import_id)


async def update_format(conn: Connection, import_id: UUID, name: str) -> None:
    await conn.execute("UPDATE imports SET format = $2 WHERE id = $1", import_id, name)


async def advance(conn: Connection, import_id: UUID, stage: str, position: int, counts: Counts, *, before: int) -> None:
    """Note that rows are done, in the transaction that stores them.

    Args:
        conn: In a transaction.
        import_id: The import.
        stage: What of the file these rows are of.
        position: The rows of this stage that are done.
        counts: Of the step.
        before: Where the step began.

    Raises:
        AdvancedByOthers: It is not there any more, so this step must not count.
    """
    status = await conn.execute(
        f"""
        UPDATE imports SET position = $2, changed_at = now(), {_ADD},
            failures = CASE WHEN state = 'reading' THEN failures ELSE 0 END
        WHERE id = $1 AND position = $3 AND stage = $4
        """,
        import_id,
        position,
        before,
        stage,
        *(getattr(counts, name) for name in _COUNTED),
    )
    if status != "UPDATE 1":
        raise AdvancedByOthers


class AdvancedByOthers(Exception):
    """The import is elsewhere: another process has done the same step, or it is to be undone."""


async def update_speed(
    conn: Connection, import_id: UUID, rows_per_second: float | None, seconds_left: float | None
) -> None:
    await conn.execute(
        "UPDATE imports SET rows_per_second = $2, seconds_left = $3, changed_at = now() WHERE id = $1",
        import_id,
        rows_per_second,
        seconds_left,
    )


async def note_failure(conn: Connection, import_id: UUID, pause_s: float) -> int:
    """Count a failure of the step that comes now, after which there is a pause.

    Returns:
        The failures of this step, one after the other.
    """
    failures: int = await conn.fetchval(
        """
        UPDATE imports SET failures = failures + 1, due_at = now() + make_interval(secs => $2) WHERE id = $1
        RETURNING failures
        """,
        import_id,
        pause_s,
    )
    return failures


async def postpone(conn: Connection, import_id: UUID, pause_s: float) -> None:
    """Let an import go on only after a pause."""
    await conn.execute(
        "UPDATE imports SET due_at = now() + make_interval(secs => $2), changed_at = now() WHERE id = $1",
        import_id,
        pause_s,
    )


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


async def delete_import(conn: Connection, import_id: UUID) -> None:
    """Delete an import that has made nothing, with its file."""
    await conn.execute("DELETE FROM imports WHERE id = $1", import_id)


def _import_of(row: asyncpg.Record) -> ImportRow:
    plain = {name: row[name] for name in _PLAIN}
    counts = Counts(**{name: row[name] for name in _COUNTED})
    return ImportRow(options=ImportOptions(**json.loads(row["options"])), counts=counts, **plain)
