"""A database that is backed up and restored by the real commands, each a process of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from deploy.backup.dumps import hash_links
from deploy.backup.exchange import DatabaseNames
from deploy.backup.files import Backup, good_backups
from deploy.local.postgres import SUPERUSER
from tests.conftest import Database
from tests.nginx.conftest import free_port

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
    def names(self) -> DatabaseNames:
        return DatabaseNames(self.database.name)

    @property
    def backups(self) -> list[Backup]:
        return good_backups(self.folder)

    async def start(self, *arguments: str, **settings: str) -> asyncio.subprocess.Process:
        """Start `tinyurl` as its operator does."""
        environment = {"PATH": os.environ["PATH"], "OWNER_DATABASE_URL": self.database.owner_url}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.command.cli", *arguments),
            env={**environment, "PYTHONFAULTHANDLER": "1", "BACKUP_DIR": str(self.folder), **settings},
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


def secret_of(who: str) -> str:
    return f"secret-of-{who}"


@dataclass(frozen=True)
class S3:
    """A server that speaks S3's protocol, with the bucket `backups`, and who may do what there."""

    endpoint: str

    def credentials(self, who: str, secret: str = "") -> str:
        """What BACKUP_COPY_CREDENTIALS is set to."""
        values = {
            "AWS_ACCESS_KEY_ID": who,
            "AWS_SECRET_ACCESS_KEY": secret or secret_of(who),
            "AWS_ENDPOINT_URL": self.endpoint,
        }
        return "\n".join(f"{name}={value}" for name, value in values.items())

    def bucket(self, prefix: str) -> "S3Store":
        """As someone who may do everything."""
        return S3Store(
            "backups",
            prefix=prefix,
            access_key_id="admin",
            secret_access_key=secret_of("admin"),
            endpoint=self.endpoint,
            region="us-east-1",
            client_options={"allow_http": True},
        )


@pytest.fixture(scope="session")
def s3(socket_folder: Path) -> Iterator[S3]:
    """SeaweedFS, which a wheel brings."""
    folder = socket_folder / "s3"
    folder.mkdir()
    rights = {
        "admin": ["Admin", "Read", "List", "Tagging", "Write"],
        "writer": ["Write:backups"],
        "reader": ["Read:backups", "List:backups"],
    }
    identities = [
        {"name": who, "credentials": [{"accessKey": who, "secretKey": secret_of(who)}], "actions": actions}
        for who, actions in rights.items()
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    parts = ("master.port", "volume.port", "filer.port", "s3.port")
    ports = {name: free_port() for part in parts for name in (part, f"{part}.grpc")}
    command = [
        *(str(Path(sys.executable).with_name("weed")), "-logtostderr=true", "server", "-s3"),
        *(f"-{name}={port}" for name, port in ports.items()),
        *(f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={folder / 's3.json'}"),
        *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=20"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-filer.localSocket={folder / 'filer.sock'}"),
    ]
    server = S3(f"http://127.0.0.1:{ports['s3.port']}")
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    obstore.put(server.bucket("start"), "probe", b"")
                    break
                except BaseError:
                    assert process.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < deadline, (folder / "log").read_text()
                    time.sleep(0.2)
            yield server
        finally:
            process.kill()


async def finish(process: asyncio.subprocess.Process) -> Done:
    ended = asyncio.create_task(process.communicate())
    done, _ = await asyncio.wait([ended], timeout=TIMEOUT_S)
    if not done:
        # It says where it hangs: `faulthandler` is on.
        process.send_signal(signal.SIGABRT)
    output, errors = await asyncio.wait_for(ended, TIMEOUT_S)
    assert done, errors.decode()
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
