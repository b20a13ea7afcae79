"""Makes a new database beside the one in use, and exchanges the two in one step.

`restores.py` fills the new one in between. Roles and databases belong to the whole server, so all of this runs on a
connection to another of its databases.
"""

import asyncio
from dataclasses import dataclass

import asyncpg

from deploy.backup.dumps import connect
from deploy.backup.files import BackupRefused
from deploy.backup.programs import with_database
from shared.postgres import Connection

LONGEST_NAME_BYTES = 63
"""PostgreSQL cuts a longer identifier: the names of the three databases would then be the same."""

EXCHANGE_TIMEOUT_S = 30
SESSIONS_STEP_S = 0.02


@dataclass(frozen=True)
class DatabaseNames:
    """The databases of a restore.

    Attributes:
        current: The one in use.
    """

    current: str

    @property
    def maintenance(self) -> str:
        """The database to connect to while others are renamed."""
        return "template1" if self.current == "postgres" else "postgres"

    @property
    def restoring(self) -> str:
        return f"{self.current}_restoring"

    @property
    def before(self) -> str:
        return f"{self.current}_before_restore"


async def check_rights(admin: Connection) -> None:
    """Refuse a role that may not do what a restore does, and say what to grant."""
    role = await admin.fetchrow(
        """
        SELECT rolname, rolsuper OR rolcreatedb AS may_create, pg_has_role('pg_signal_backend', 'USAGE') AS may_end
        FROM pg_roles WHERE rolname = current_user
        """
    )
    assert role is not None
    if not role["may_create"]:
        raise BackupRefused(f"{role['rolname']} may not create databases: ALTER ROLE {role['rolname']} CREATEDB")
    if not role["may_end"]:
        raise BackupRefused(f"{role['rolname']} may not end sessions: GRANT pg_signal_backend TO {role['rolname']}")


async def exists(admin: Connection, database: str) -> bool:
    return bool(await admin.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database))


async def create_database(admin: Connection, names: DatabaseNames) -> None:
    """Make the new database, empty; replace one that an interrupted restore left."""
    await drop_database(admin, names.restoring)
    await execute_named(admin, "CREATE DATABASE %I TEMPLATE template0 ENCODING 'UTF8'", names.restoring)


async def drop_database(admin: Connection, name: str) -> None:
    await execute_named(admin, "DROP DATABASE IF EXISTS %I WITH (FORCE)", name)


async def exchange(admin: Connection, url: str, names: DatabaseNames) -> None:
    """Rename both databases in one transaction.

    A rename keeps new sessions waiting until the transaction ends, and waits up to five seconds for the sessions that are
    there. Another connection ends these meanwhile, so that nobody can slip in between.
    """
    if not await exists(admin, names.current):
        await execute_named(admin, "ALTER DATABASE %I RENAME TO %I", names.restoring, names.current)
        return
    await drop_database(admin, names.before)
    async with connect(with_database(url, names.maintenance), "restore") as other:
        renaming = asyncio.create_task(_rename(admin, names))
        try:
            async with asyncio.timeout(EXCHANGE_TIMEOUT_S):
                while not renaming.done():
                    await _end_sessions(other, names.current)
                    await asyncio.wait([renaming], timeout=SESSIONS_STEP_S)
                await renaming
        except asyncpg.ObjectInUseError:
            raise BackupRefused(f"someone stays connected to {names.current}, probably a superuser") from None
        finally:
            renaming.cancel()
            await asyncio.wait([renaming], timeout=EXCHANGE_TIMEOUT_S)


async def execute_named(conn: Connection, statement: str, *identifiers: str) -> None:
    """Run a statement that takes no parameters, with names that the server itself quotes."""
    await conn.execute(
        await conn.fetchval("SELECT format($1::text, VARIADIC $2::text[])", statement, list(identifiers))
    )


async def _rename(admin: Connection, names: DatabaseNames) -> None:
    async with admin.transaction():
        await execute_named(admin, "ALTER DATABASE %I RENAME TO %I", names.current, names.before)
        await execute_named(admin, "ALTER DATABASE %I RENAME TO %I", names.restoring, names.current)


async def _end_sessions(conn: Connection, database: str) -> None:
    await conn.execute(
        """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN pg_roles them ON them.oid = usesysid
        WHERE datname = $1 AND (NOT them.rolsuper OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))
        """,
        database,
    )
