"""Finds codes that are or were in use: a deleted link keeps its own."""

from collections.abc import Sequence

from shared.postgres import Connection
from shared.records import LinkKey


async def select_taken(conn: Connection, keys: Sequence[LinkKey]) -> set[LinkKey]:
    """Find the codes that are or were in use, by whomever."""
    rows = await conn.fetch(
        "SELECT domain, code FROM links JOIN unnest($1::text[], $2::text[]) AS wanted (domain, code) USING (domain, code)",
        [domain for domain, _ in keys],
        [code for _, code in keys],
    )
    return {(row["domain"], row["code"]) for row in rows}


async def has_code(conn: Connection, key: LinkKey) -> bool:
    """Tell whether a code is or was in use, by whomever."""
    return bool(await conn.fetchval("SELECT EXISTS (SELECT FROM links WHERE domain = $1 AND code = $2)", *key))
