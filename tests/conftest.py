"""Real servers for the tests: one PostgreSQL and one Valkey per worker, a database of its own for whoever needs one."""

import asyncio
import faulthandler
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import uvloop
from _pytest.faulthandler import fault_handler_stderr_fd_key
from _pytest.nodeid import coerce_node_id
from pydantic import SecretStr
from redis import Redis

from deploy.local.database import prepare
from deploy.local.postgres import OWNER, ROLES, SUPERUSER, Postgres
from deploy.local.programs import Program, spawn_options
from deploy.local.valkey import Valkey
from shared.postgres import Connection
from shared.settings import LinksSettings

TEMPLATE = "template_tinyurl"
START_TIMEOUT_S = 60

MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of a random name is made in it
MEMORY_NEEDED = 2**31

CLEANUP_S = 120
"""A test that is not over so long after its timeout does not end by itself."""


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Two more than there are cores: half of the time a test waits for a process, a second or the end of an outage."""
    return (yield) + 2


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put those first that take a minute, so that none of them is what the others wait for at the end."""
    items.sort(key=lambda item: item.get_closest_marker("promise") is None)
    if hasattr(config, "workerinput"):
        name_groups(items)


def name_groups(items: list[pytest.Item]) -> None:
    """Tell xdist of each test's group, which it gives to one worker.

    It reads the group behind the last `@` of a test's name, where it wants to write it itself; up to 3.8 it writes it into an
    attribute that pytest has no longer since 9.2.
    """
    for item in items:
        group = item.get_closest_marker("xdist_group")
        if group is not None and not item.nodeid.endswith(f"@{group.kwargs['name']}"):
            item._id = coerce_node_id(f"{item.nodeid}@{group.kwargs['name']}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End the process of a test that its timeout could not end, and show where it is; xdist goes on with another process."""
    marker = item.get_closest_marker("timeout")
    _end_after(item, float(marker.args[0] if marker else item.config.getini("timeout")) + CLEANUP_S)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item) -> None:
    """Watch the cleanup of a test that failed, too: pytest's own plugin has just ended the watch."""
    _end_after(node, CLEANUP_S)


def _end_after(node: pytest.Item, seconds: float) -> None:
    # A thread of Python would wait for ever if C code hangs while it holds the interpreter's lock.
    faulthandler.dump_traceback_later(seconds, exit=True, file=node.config.stash[fault_handler_stderr_fd_key])


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop that production has."""
    return {"uvloop": _Loop}


class _Loop(uvloop.Loop):
    """Ends with a test's timeout, which uvloop itself would log and forget."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        super().call_exception_handler(context)
        if isinstance(context.get("exception"), pytest.fail.Exception):
            self.stop()


@dataclass(frozen=True)
class Database:
    """A migrated database of one test."""

    server: Postgres
    name: str

    @property
    def links_url(self) -> str:
        return self.server.url("tinyurl_links", self.name)

    @property
    def redirect_url(self) -> str:
        return self.server.url("tinyurl_redirect", self.name)

    @property
    def owner_url(self) -> str:
        return self.server.url(OWNER, self.name)


@pytest.fixture(scope="session")
def socket_folder() -> Iterator[Path]:
    """A folder whose path is short enough for Unix sockets, which PostgreSQL's own user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="tinyurl-tests-", dir=memory()))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def memory() -> Path | None:
    """A file system in memory, if there is one with room.

    A database has hundreds of files, and ext4 looks at each inode that was deleted in the last seconds before it gives one
    out: with a database for each test that took most of the time of all tests.
    """
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED else None


@pytest.fixture(scope="session")
def postgres(socket_folder: Path) -> Iterator[Postgres]:
    """A server with the migrated database `template_tinyurl`."""
    sockets = socket_folder / "postgres"
    sockets.mkdir()
    sockets.chmod(0o777)
    passwords = {role: secrets.token_urlsafe(16) for role in (SUPERUSER, OWNER, *ROLES)}
    # Small buffers: each CREATE and DROP DATABASE looks through all of them.
    server = Postgres(socket_folder / "data", sockets, passwords, durable=False, shared_buffers="16MB")
    server.init()
    with running(server.program(), socket_folder / "postgres.log"):
        asyncio.run(_prepare(server))
        yield server


@pytest.fixture(scope="session")
def valkey(socket_folder: Path) -> Iterator[Valkey]:
    server = Valkey(socket_folder / "valkey.sock", secrets.token_urlsafe(16), secrets.token_urlsafe(16))
    with running(server.program(), socket_folder / "valkey.log"):
        yield server


@pytest.fixture
def valkey_url(valkey: Valkey) -> str:
    """The server of this worker, emptied."""
    with Redis.from_url(valkey.admin_url) as admin:
        admin.flushall()
    return valkey.url


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    """A fresh copy of the migrated database."""
    async with fresh_database(postgres) as fresh:
        yield fresh


@asynccontextmanager
async def fresh_database(server: Postgres) -> AsyncIterator[Database]:
    """A copy of the migrated database for the length of a block."""
    name = f"test_{secrets.token_hex(6)}"
    admin = await asyncpg.connect(server.url(SUPERUSER, "postgres"))
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER tinyurl STRATEGY file_copy")
        yield Database(server, name)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest.fixture
def socket(socket_folder: Path) -> Path:
    """A path for a service of this test."""
    return socket_folder / f"{secrets.token_hex(6)}.sock"


@pytest.fixture
def links_settings(database: Database) -> LinksSettings:
    return settings_of(database)


def settings_of(database: Database) -> LinksSettings:
    """The write service's settings on a database."""
    return LinksSettings(
        links_database_url=SecretStr(database.links_url),
        fastapi_secret_key=SecretStr("a secret of the tests, long enough"),
        public_base_url="https://sho.rt",
        domains=("go.example.org",),
        log_level="error",
    )


@pytest.fixture
async def conn(postgres: Postgres) -> AsyncIterator[Connection]:
    """A connection as the write service's role, in a transaction that is rolled back."""
    connection = await asyncpg.connect(postgres.url("tinyurl_links", "tinyurl"), server_settings={"timezone": "UTC"})
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


class running:  # noqa: N801  # used like a function
    """Run a program for the length of a block, and wait until it is ready."""

    def __init__(self, program: Program, log: Path) -> None:
        self._program = program
        self._log = log

    def __enter__(self) -> "subprocess.Popen[bytes]":
        self._program.before_start()
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                self._program.command, stdout=output, stderr=subprocess.STDOUT, **spawn_options(self._program)
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._program.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                pytest.fail(f"{self._program.name} did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)
        return self.process

    def __exit__(self, *error: object) -> None:
        self.process.send_signal(self._program.stop_signal)
        try:
            self.process.wait(timeout=30)
        finally:
            self.process.kill()


async def _prepare(server: Postgres) -> None:
    await prepare(server, TEMPLATE)
    # A second one, for tests that roll back what they do.
    await prepare(server)
