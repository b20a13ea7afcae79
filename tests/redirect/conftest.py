"""What the tests of the redirect service share: links in the database, and TCP-free proxies that make stores fail."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import asyncpg
import pytest
from pydantic import SecretStr

from services.redirect.journal.intake import DEADLINE_S, IntakeClient
from services.redirect.journal.shipper import DRAIN_TIMEOUT_S, Shipper, run_shipper
from services.redirect.journal.writer import ClickJournal, open_journal
from shared.clicks import Click
from shared.settings import RedirectSettings
from tests.conftest import Database
from tests.faults import FaultyProxy, faulty_proxy
from tests.redirect.intake_server import TOKEN, IntakeServer
from tests.redirect.journals import GIB

AddLink = Callable[..., Awaitable[None]]
Process = tuple[ClickJournal, Shipper]
StartProcess = Callable[..., AbstractAsyncContextManager[Process]]


@pytest.fixture
def redirect_settings(database: Database, valkey_url: str) -> RedirectSettings:
    return RedirectSettings(
        redirect_database_url=SecretStr(database.redirect_url), redis_url=SecretStr(valkey_url), log_level="error"
    )


@pytest.fixture
def clicks() -> list[Click]:
    """Where a service of the test puts its clicks."""
    return []


class FaultyPostgres(NamedTuple):
    """A proxy before the database, and the URL by which a redirector reaches it."""

    proxy: FaultyProxy
    url: str


@pytest.fixture
async def faulty_postgres(database: Database, socket: Path) -> AsyncIterator[FaultyPostgres]:
    """Postgres behind a proxy that can refuse, hold and accept."""
    folder = socket.with_suffix("")
    folder.mkdir()
    real = str(database.server.sockets)
    async with faulty_proxy(folder / ".s.PGSQL.5432", database.server.sockets / ".s.PGSQL.5432") as proxy:
        url = database.redirect_url.replace(quote(real, safe=""), quote(str(folder), safe=""))
        yield FaultyPostgres(proxy, url)


@pytest.fixture
def add_link(database: Database) -> AddLink:
    """`await add_link(code, url, **columns)` stores a link of sho.rt."""

    async def add(code: str, url: str, **fields: object) -> None:
        columns = {"domain": "sho.rt", "code": code, "owner": "o", "url": url, **fields}
        places = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
        conn = await asyncpg.connect(database.owner_url)
        await conn.execute(f"INSERT INTO links ({', '.join(columns)}) VALUES ({places})", *columns.values())
        await conn.close()

    return add


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
async def journal(folder: Path) -> AsyncIterator[ClickJournal]:
    async with open_journal(folder, GIB) as opened:
        yield opened


@pytest.fixture
def links() -> IntakeServer:
    return IntakeServer()


@pytest.fixture
def start(folder: Path, socket: Path) -> StartProcess:
    """`start()` is what one redirect process has: a journal in the folder and the shipper of it, with deadlines in seconds."""

    @asynccontextmanager
    async def open_both(*, answer_s: float = DEADLINE_S, drain_s: float = DRAIN_TIMEOUT_S) -> AsyncIterator[Process]:
        intake = IntakeClient(f"unix:{socket}", TOKEN, deadline_s=answer_s)
        async with (
            open_journal(folder, GIB) as journal,
            run_shipper(journal, intake, drain_timeout_s=drain_s) as shipper,
        ):
            yield journal, shipper

    return open_both
