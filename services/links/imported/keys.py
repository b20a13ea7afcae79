"""The key with which an import hashes visitors. At its end the key goes, and then who was seen; numbers stay.

The process of an import opens and closes it, and `services/links/upkeep.py` deletes what a closed one leaves.
"""

from dataclasses import dataclass, field
from secrets import token_bytes
from uuid import UUID

from services.links.clicks.rows import KEY_BYTES
from shared.postgres import Connection

DELETED_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class VisitorKey:
    """An import's key, and the number under which its visitors are noted."""

    number: int
    key: bytes = field(repr=False)


async def open_visitor_key(conn: Connection, import_id: UUID) -> VisitorKey:
    """Draw the key of an import, or read it again after the process died."""
    row = await conn.fetchrow(
        "SELECT number, key FROM imported_keys WHERE import_id = $1 AND key IS NOT NULL", import_id
    ) or await conn.fetchrow(
        """
        INSERT INTO imported_keys AS kept (import_id, key) VALUES ($1, $2)
        ON CONFLICT (import_id) DO UPDATE SET key = coalesce(kept.key, excluded.key)
        RETURNING number, key
        """,
        import_id,
        token_bytes(KEY_BYTES),
    )
    assert row is not None, "it is there or inserted"
    return VisitorKey(row["number"], row["key"])


async def close_visitor_key(conn: Connection, import_id: UUID) -> None:
    """Forget the key of an import that has ended, in whichever way; doing it twice changes nothing."""
    await conn.execute("UPDATE imported_keys SET key = NULL WHERE import_id = $1", import_id)


async def forget_imported_visitors(conn: Connection) -> int:
    """Delete some of the visitors whose key is gone, and the row of the key with the last ones.

    Returns:
        Rows deleted; call it again while there are any.
    """
    number = await conn.fetchval("SELECT min(number) FROM imported_keys WHERE key IS NULL")
    if number is None:
        return 0
    status = await conn.execute(
        """
        DELETE FROM imported_visitors WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM imported_visitors WHERE import_number = $1 LIMIT $2))
        """,
        number,
        DELETED_AT_ONCE,
    )
    deleted = int(status.split()[-1])
    if not deleted:
        await conn.execute("DELETE FROM imported_keys WHERE number = $1 AND key IS NULL", number)
    return deleted or 1
