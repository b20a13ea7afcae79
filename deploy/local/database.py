"""`python -m deploy.local.database` prepares the local stack's database, in a process of its own that ends with its work.

`stack.py` starts it before PostgreSQL, whose start takes as long as the libraries here, and so never loads them itself. It
writes what this needs into the standard input, and reads the admin's key from the standard output.
"""

import asyncio
import json
import sys
from pathlib import Path

from deploy.local.postgres import DATABASE, OWNER, ROLES, SUPERUSER, Postgres
from services.links.keys.rows import create_key, is_valid_key
from shared.api import SCOPES
from shared.postgres import open_connection
from shared.roles import set_password
from shared.schema import migrate

CONNECT_TIMEOUT_S = 10
LOCAL_OWNER = "local"


async def prepare(postgres: Postgres, database: str = DATABASE) -> None:
    """Create the owner, the database and its schema, and give the services' roles their passwords."""
    url = postgres.url(SUPERUSER, "postgres")
    async with open_connection(url, "up", connect_timeout_s=CONNECT_TIMEOUT_S, statement_timeout_s=None) as conn:
        if not await conn.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", OWNER):
            await conn.execute("CREATE ROLE tinyurl LOGIN CREATEROLE")
        # A restore makes a database beside the one in use, and ends the services' sessions to swap the two.
        await conn.execute("ALTER ROLE tinyurl CREATEDB; GRANT pg_signal_backend TO tinyurl")
        await set_password(conn, OWNER, postgres.passwords[OWNER])
        if not await conn.fetchval("SELECT true FROM pg_database WHERE datname = $1", database):
            await conn.execute(
                await conn.fetchval("SELECT format('CREATE DATABASE %I OWNER tinyurl', $1::text)", database)
            )
        await migrate(postgres.url(OWNER, database))
        for role in ROLES:
            await set_password(conn, role, postgres.passwords[role])


async def valid_key(postgres: Postgres, key: str) -> str:
    """Return the admin's key of this folder, which each start shows; make a new one when it is not valid any more."""
    async with open_connection(postgres.url("tinyurl_links"), "up", connect_timeout_s=CONNECT_TIMEOUT_S) as conn:
        if not await is_valid_key(conn, key, SCOPES):
            _, key = await create_key(conn, owner=LOCAL_OWNER, name="tinyurl up", scopes=SCOPES)
        return key


async def _main() -> None:
    # Nothing comes when the stack has ended before PostgreSQL was ready.
    if given := sys.stdin.read():
        asked = json.loads(given)
        postgres = Postgres(Path(asked["data"]), Path(asked["sockets"]), asked["passwords"])
        await prepare(postgres)
        sys.stdout.write(await valid_key(postgres, asked["key"]))


if __name__ == "__main__":
    asyncio.run(_main())
