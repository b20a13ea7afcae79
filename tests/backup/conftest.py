"""A database that is backed up and restored by the real commands, each a process of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from deploy.backup_files import Backup, good_backups
from deploy.backups import hash_links
from deploy.exchange import Names
from deploy.local.postgres import SUPERUSER
from tests.conftest import Database

TIMEOUT_S = 60

Row = tuple[str, str, str, bool, bool]


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    output: str
    errors: str

    @property
    def reason(self) -> str:
        """The one line of a command that refused or failed."""
        assert self.code == 1, (self.output, self.errors)
        (line,) = self.errors.strip().splitlines()
        return line


@dataclass(frozen=True)
class Installation:
    """A database, and the folder of its backups."""

    database: Database
    folder: Path

    @property
    def names(self) -> Names:
        return Names(self.database.name)

    @property
    def backups(self) -> list[Backup]:
        return good_backups(self.folder)

    async def start(self, *arguments: str, **settings: str) -> asyncio.subprocess.Process:
        """Start `tinyurl` as its operator does."""
        environment = {"PATH": os.environ["PATH"], "OWNER_DATABASE_URL": self.database.owner_url}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", *arguments),
            env={**environment, "BACKUP_DIR": str(self.folder), **settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str, **settings: str) -> Done:
        """Run `tinyurl` to its end."""
        return await finish(await self.start(*arguments, **settings))

    async def back_up(self) -> Backup:
        done = await self.run("backup")
        assert done.code == 0, done.errors
        return self.backups[-1]

    @asynccontextmanager
    async def connected(self, database: str | None = None) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A connection of the superuser, to this database or another one of the server."""
        conn = await asyncpg.connect(self.database.server.url(SUPERUSER, database or self.database.name))
        try:
            yield conn
        finally:
            await conn.close()

    async def execute(self, statement: str, *values: object) -> None:
        async with self.connected() as conn:
            await conn.execute(statement, *values)

    async def add_links(self, count: int, prefix: str = "link") -> None:
        await self.execute(
            """
            INSERT INTO links (domain, code, owner, url, enabled)
            SELECT 'sho.rt', $1::text || n, 'o', 'https://www.example.com/' || n || '?tab=	&é', n % 5 > 0
            FROM generate_series(1, $2::int) AS n
            """,
            prefix,
            count,
        )

    async def links(self, database: str | None = None) -> dict[str, str]:
        """The target of each code."""
        async with self.connected(database) as conn:
            return {row["code"]: row["url"] for row in await conn.fetch("SELECT code, url FROM links")}

    async def digest(self) -> tuple[int, str]:
        async with self.connected() as conn:
            return await hash_links(conn)

    async def databases(self) -> set[str]:
        """The databases of this test, by what follows the name."""
        async with self.connected("postgres") as conn:
            rows = await conn.fetch(
                "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", self.names.current
            )
        return {row["datname"].removeprefix(self.names.current) for row in rows}


async def finish(process: asyncio.subprocess.Process) -> Done:
    output, errors = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    assert process.returncode is not None
    return Done(process.returncode, output.decode(), errors.decode())


@pytest.fixture
async def installation(database: Database, tmp_path: Path) -> AsyncIterator[Installation]:
    """A migrated database without links, and an empty folder."""
    made = Installation(database, tmp_path / "backups")
    yield made
    async with made.connected("postgres") as conn:
        for name in (made.names.before, made.names.restoring):
            await conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
