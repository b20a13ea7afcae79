"""Writes and reads the change feed: links adds to it in the transaction of each edit, redirect reads it four times a second.

Versions become visible in their order: a reader of version n has seen every change up to n.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.postgres import Connection
from shared.records import LinkKey

RETENTION = "1 day"
DELETED_AT_ONCE = 5_000
_FEED_LOCK = 0x7469_6E79


EVERYTHING: LinkKey = ("", "")
"""The key that a restore announces as changed: no record that was read before counts any more."""


@dataclass(frozen=True, slots=True)
class Change:
    version: int
    key: LinkKey


async def insert_change(conn: Connection, key: LinkKey) -> int:
    """Announce a change of a link; call it last in the transaction, which must commit soon after.

    It holds a lock until then, so that no later version can commit before this one.

    Returns:
        The change's version.
    """
    await conn.execute("SELECT pg_advisory_xact_lock($1)", _FEED_LOCK)
    version: int = await conn.fetchval(
        "INSERT INTO link_changes (domain, code) VALUES ($1, $2) RETURNING version", *key
    )
    return version


async def lock_feed(conn: Connection) -> None:
    """Take the lock that `insert_change` takes, to announce what a statement of the caller finds."""
    await conn.execute("SELECT pg_advisory_xact_lock($1)", _FEED_LOCK)


async def insert_changes(conn: Connection, keys: Sequence[LinkKey]) -> None:
    """Announce changes of many links in one statement, under the rules of `insert_change`."""
    await lock_feed(conn)
    await conn.execute(
        "INSERT INTO link_changes (domain, code) SELECT * FROM unnest($1::text[], $2::text[])",
        [domain for domain, _ in keys],
        [code for _, code in keys],
    )


async def select_version(conn: Connection) -> int:
    """Return the newest version that was ever given out; only the owner of the table may ask."""
    version: int | None = await conn.fetchval(
        "SELECT pg_sequence_last_value(pg_get_serial_sequence('link_changes', 'version')::regclass)"
    )
    return version or 0


async def select_changes(conn: Connection, *, after: int, limit: int) -> list[Change]:
    """Read the newest changes after a version, oldest first.

    Args:
        conn: A connection to the server that the records are read from, because a standby lags behind.
        after: The newest version known.
        limit: How many changes at most; the oldest are left out.
    """
    rows = await conn.fetch(
        "SELECT version, domain, code FROM link_changes WHERE version > $1 ORDER BY version DESC LIMIT $2", after, limit
    )
    return [Change(row["version"], (row["domain"], row["code"])) for row in reversed(rows)]


async def select_recent_changes(conn: Connection, *, seconds: float, limit: int) -> list[Change]:
    """Read the changes of the last so many seconds, and always the newest one, oldest first, at most `limit`.

    They have no gap: they are all the changes after some version, even if the server's clock was set back in between.
    """
    rows = await conn.fetch(
        """
        SELECT version, domain, code FROM link_changes
        WHERE version > (
            SELECT coalesce(max(version), 0) FROM link_changes
            WHERE changed_at <= clock_timestamp() - make_interval(secs => $1)
        ) OR version = (SELECT max(version) FROM link_changes)
        ORDER BY version DESC LIMIT $2
        """,
        seconds,
        limit,
    )
    return [Change(row["version"], (row["domain"], row["code"])) for row in reversed(rows)]


async def delete_old_changes(conn: Connection, *, at_once: int = DELETED_AT_ONCE) -> int:
    """Delete the changes that no redirector can still need; the newest one stays, so that its version is never forgotten.

    Each statement looks at some versions, so none takes long, and its work stays done if the next one is interrupted.
    It ends at the first change that is young enough to stay, and passes over those that a clock dated ahead.

    Args:
        conn: A connection without a transaction.
        at_once: How many versions a statement looks at.

    Returns:
        How many rows were deleted.
    """
    deleted, after = 0, 0
    while True:
        part = await conn.fetchrow(
            """
            WITH oldest AS MATERIALIZED (
                SELECT version, changed_at FROM link_changes WHERE version > $1 ORDER BY version LIMIT $2
            ), gone AS (
                DELETE FROM link_changes
                WHERE version > $1 AND version <= (SELECT max(version) FROM oldest)
                  AND version < (SELECT max(version) FROM link_changes)
                  AND changed_at < clock_timestamp() - $3::text::interval
                RETURNING version
            )
            SELECT max(version) AS last, (SELECT count(*) FROM gone) AS deleted,
                   bool_or(changed_at BETWEEN clock_timestamp() - $3::text::interval AND clock_timestamp()) AS is_through
            FROM oldest
            """,
            after,
            at_once,
            RETENTION,
        )
        assert part is not None
        deleted += int(part["deleted"])
        if part["last"] is None or part["is_through"]:
            return deleted
        after = part["last"]
