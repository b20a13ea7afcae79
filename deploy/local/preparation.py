"""Runs the process that prepares the database (`database.py`) beside the start of PostgreSQL."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from deploy.local.postgres import Postgres
from deploy.local.programs import Program, StartFailed, spawn_options
from shared.child import kill

TIMEOUT_S = 120
"""Migrations of a large database take their time."""

PROGRAM = Program("database", [sys.executable, "-P", "-m", "deploy.local.database"], is_ready=lambda: True)


@asynccontextmanager
async def prepared_database() -> AsyncIterator[Callable[[Postgres, str], Awaitable[str]]]:
    """Start the process, and end it with the block.

    Yields:
        A function that lets it do its work when PostgreSQL is ready: from the server and the admin's key, if it has one,
        to the admin's key.
    """
    process = await asyncio.create_subprocess_exec(
        *PROGRAM.command, stdin=PIPE, stdout=PIPE, stderr=PIPE, **spawn_options(PROGRAM)
    )

    async def prepare(postgres: Postgres, key: str) -> str:
        asked = {
            "data": str(postgres.data),
            "sockets": str(postgres.sockets),
            "passwords": postgres.passwords,
            "key": key,
        }
        try:
            async with asyncio.timeout(TIMEOUT_S):
                found, errors = await process.communicate(json.dumps(asked).encode())
        except TimeoutError:
            raise StartFailed(f"The database could not be prepared in {TIMEOUT_S} s.") from None
        if process.returncode != 0:
            lines = errors.decode(errors="replace").strip().splitlines()
            raise StartFailed(f"The database cannot be prepared: {lines[-1] if lines else 'no reason given'}")
        return found.decode()

    try:
        yield prepare
    finally:
        await kill(process)
