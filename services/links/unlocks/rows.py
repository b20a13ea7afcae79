"""The table of wrong passwords: how many a network has tried lately, at one link and at all, and how many a link has got."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from shared.postgres import Connection

DELETED_AT_ONCE = 5000


class Count(NamedTuple):
    """Wrong passwords that count until a moment."""

    tries: int
    until: datetime


async def select_tries(conn: Connection, keys: Collection[bytes], now: datetime) -> dict[bytes, Count]:
    """Read the counts of keys; those that are over are left out."""
    rows = await conn.fetch(
        "SELECT key, tries, until FROM password_tries WHERE key = ANY($1::bytea[]) AND until > $2", keys, now
    )
    return {row["key"]: Count(row["tries"], row["until"]) for row in rows}


async def add_tries(conn: Connection, ends: dict[bytes, datetime], now: datetime) -> dict[bytes, Count]:
    """Count a try for each key, and return the new counts. A count that is over begins anew.

    Args:
        conn: A connection in a transaction.
        ends: The keys, and when the count of each is over if it begins with this try.
        now: The present moment.
    """
    rows = await conn.fetch(
        # In one order in every statement, so that no two wait for each other.
        """
        INSERT INTO password_tries AS t (key, tries, until)
        SELECT key, 1, until FROM unnest($1::bytea[], $2::timestamptz[]) AS wanted (key, until) ORDER BY key
        ON CONFLICT (key) DO UPDATE
            SET tries = CASE WHEN t.until > $3 THEN t.tries ELSE 0 END + 1,
                until = CASE WHEN t.until > $3 THEN t.until ELSE excluded.until END
        RETURNING key, tries, until
        """,
        list(ends),
        list(ends.values()),
        now,
    )
    return {row["key"]: Count(row["tries"], row["until"]) for row in rows}


async def delete_old_tries(conn: Connection, now: datetime, *, at_once: int = DELETED_AT_ONCE) -> bool:
    """Delete some counts that are over, and tell whether there may be more of them."""
    status = await conn.execute(
        """
        DELETE FROM password_tries WHERE key = ANY (ARRAY(
            SELECT key FROM password_tries WHERE until < $1 ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED))
        """,
        now,
        at_once,
    )
    return int(status.split()[-1]) == at_once
