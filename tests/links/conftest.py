"""The write service on a socket, and clients with keys of their own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from services.links.app import create_app
from services.links.clicks.batches import Store
from services.links.clicks.enrichment import Enricher
from services.links.clicks.packing import pack_clicks
from services.links.clicks.queue import ClickTimes
from services.links.clicks.rows import insert_clicks
from services.links.keys.rows import create_key
from services.links.links.batch import BODY_TIMEOUT_S, BatchGate
from services.links.links.exports import ExportGate
from services.links.web.idempotency import AnswerMemory
from services.links.web.shares import Shares, open_shares
from shared.postgres import Connection
from shared.settings import LinksSettings
from shared.writes import JoiningProtocol
from tests.conftest import Database
from tests.links.intake_client import HEADERS, PREVIOUS, TOKEN
from tests.serving import client_of, serve

ClientOf = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
def shares(links_settings: LinksSettings) -> Shares:
    """What each owner may have at once."""
    return open_shares(links_settings.links_pool_size)


@pytest.fixture
def body_timeout_s() -> float:
    """How long the body of a batch may take."""
    return BODY_TIMEOUT_S


@pytest.fixture
def batch_gate(links_settings: LinksSettings, body_timeout_s: float) -> BatchGate:
    """What all batches may have at once."""
    return BatchGate(links_settings, body_timeout_s=body_timeout_s)


@pytest.fixture
def export_gate() -> ExportGate:
    """What all exports may have at once."""
    return ExportGate()


@pytest.fixture
def memory() -> AnswerMemory:
    """How many answers are remembered."""
    return AnswerMemory()


@pytest.fixture
async def service(
    links_settings: LinksSettings,
    socket: Path,
    *,
    shares: Shares,
    batch_gate: BatchGate,
    export_gate: ExportGate,
    memory: AnswerMemory,
) -> AsyncIterator[Path]:
    """The write service; its socket."""
    app = create_app(links_settings, shares=shares, batch_gate=batch_gate, export_gate=export_gate, memory=memory)
    async with serve(app, socket, http=JoiningProtocol):
        yield socket


@pytest.fixture
async def client_with(service: Path, database: Database) -> AsyncIterator[ClientOf]:
    """Makes clients: `await client_with("owner", "links:read", …)` has a key with those scopes."""
    async with AsyncExitStack() as stack:

        async def make(owner: str, *scopes: str) -> httpx.AsyncClient:
            conn = await asyncpg.connect(database.links_url)
            _, text = await create_key(conn, owner=owner, scopes=scopes or ("links:read", "links:write"))
            await conn.close()
            return await stack.enter_async_context(client_of(service, Authorization=f"Bearer {text}"))

        yield make


@pytest.fixture
async def alice(client_with: ClientOf) -> httpx.AsyncClient:
    """A client that reads and writes the links of `alice`."""
    return await client_with("alice")


@pytest.fixture
def intake_settings(links_settings: LinksSettings) -> LinksSettings:
    tokens = {"internal_token": SecretStr(TOKEN), "internal_token_previous": SecretStr(PREVIOUS)}
    return links_settings.model_copy(update=tokens)


@pytest.fixture
async def intake(intake_settings: LinksSettings, socket: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may send clicks."""
    async with serve(create_app(intake_settings), socket, http=JoiningProtocol), client_of(socket, **HEADERS) as client:
        client.timeout = httpx.Timeout(30)
        yield client


@pytest.fixture
async def patient_intake(intake_settings: LinksSettings, socket: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may send clicks, to a service whose deadlines are long: nothing ends a worker but the test."""
    app = create_app(intake_settings, click_times=ClickTimes(turn=60, patience=60, batch=60, click=60))
    async with serve(app, socket), client_of(socket, **HEADERS) as client:
        client.timeout = httpx.Timeout(90)
        yield client


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    """A connection as the database's owner."""
    conn = await asyncpg.connect(database.owner_url)
    yield conn
    await conn.close()


@pytest.fixture(params=[insert_clicks, pack_clicks], ids=["rows", "packed"])
def store(request: pytest.FixtureRequest) -> Store:
    """How the clicks are stored."""
    found: Store = request.param
    return found


@pytest.fixture(scope="session")
def enricher() -> Enricher:
    return Enricher()


@pytest.fixture
async def links(database: Database) -> AsyncIterator[Connection]:
    """A connection as the write service's role to a database of its own."""
    connection = await asyncpg.connect(database.links_url, server_settings={"timezone": "Asia/Tokyo"})
    yield connection
    await connection.close()


def fields_at_fault(response: httpx.Response) -> set[str]:
    """The fields that an answer of invalid input names."""
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["type"] == "urn:tinyurl:problem:invalid-input"
    assert all(error["reason"] for error in body["errors"])
    return {error["field"] for error in body["errors"]}
