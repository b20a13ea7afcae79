"""Brings the schema of the database up to date, by numbered, forward-only SQL files, when `tinyurl migrate` runs."""

import asyncio
import re
from importlib import resources

import asyncpg

from shared.postgres import Connection, open_connection

LOCK_TIMEOUT_S = 60

_MIGRATION_LOCK = 0x6D69_6772
_CONCURRENTLY = "-- concurrently\n"
_INDEX = re.compile(r"CREATE INDEX CONCURRENTLY (\w+)[^;]+;")
_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class SchemaBehind(Exception):
    """The database lacks migrations that this release needs."""


def migrations() -> dict[int, str]:
    """Return the SQL of each migration by its number, in order."""
    folder = resources.files("shared") / "migrations"
    found = [(match, file) for file in folder.iterdir() if (match := _FILE_NAME.fullmatch(file.name))]
    return {int(match[1]): file.read_text() for match, file in sorted(found, key=lambda pair: pair[1].name)}


async def migrate(url: str) -> list[int]:
    """Bring a database up to this release, one transaction per migration; two at once take turns.

    Args:
        url: A libpq URL of the database's owner.

    Returns:
        The numbers of the migrations that were applied now.
    """
    async with open_connection(url, "migrate", statement_timeout_s=None) as conn:
        # It tries the lock again and again. CREATE INDEX CONCURRENTLY would wait for a statement that waits for the lock.
        async with asyncio.timeout(LOCK_TIMEOUT_S):
            while not await conn.fetchval("SELECT pg_try_advisory_lock($1)", _MIGRATION_LOCK):  # noqa: ASYNC110  # no event tells
                await asyncio.sleep(0.1)
        await conn.execute("SELECT set_config('lock_timeout', '3s', false)")
        await conn.execute(
            """
            CREATE TABLE IF NOT EXISTS schema_migrations (
                number integer PRIMARY KEY,
                applied_at timestamptz NOT NULL DEFAULT now()
            )
            """
        )
        await conn.execute("GRANT SELECT ON schema_migrations TO PUBLIC")
        head = await select_head(conn)
        pending = {number: sql for number, sql in migrations().items() if number > head}
        for number, sql in pending.items():
            async with conn.transaction():
                await conn.execute(sql.partition(_CONCURRENTLY)[0])
                await conn.execute("INSERT INTO schema_migrations (number) VALUES ($1)", number)
        await _create_indexes(conn)
        return list(pending)


async def _create_indexes(conn: Connection) -> None:
    """Create the indexes below `-- concurrently` in the migrations, and again those that an interrupted run left invalid.

    PostgreSQL makes such an index outside a transaction, lets writers go on, and waits for the transactions before it.
    """
    await conn.execute("SELECT set_config('lock_timeout', '60s', false)")
    for sql in migrations().values():
        for statement in _INDEX.finditer(sql.partition(_CONCURRENTLY)[2]):
            is_valid = await conn.fetchval(
                "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('public.' || $1::text)", statement[1]
            )
            if is_valid is False:
                await conn.execute(f"DROP INDEX CONCURRENTLY public.{statement[1]}")
            if not is_valid:
                await conn.execute(statement[0])


async def check_schema(conn: Connection) -> None:
    """Refuse a database whose schema is older than this release. A newer schema is fine (expand first, contract later).

    Raises:
        SchemaBehind: Run `tinyurl migrate` first.
    """
    needed = max(migrations())
    try:
        head = await select_head(conn)
    except asyncpg.UndefinedTableError:
        head = 0
    if head < needed:
        raise SchemaBehind(f"the database is at migration {head}, this release needs {needed}: run `tinyurl migrate`")


async def select_head(conn: Connection) -> int:
    """Return the number of a database's newest migration; 0 before the first."""
    head: int = await conn.fetchval("SELECT coalesce(max(number), 0) FROM schema_migrations")
    return head
