"""The write service with all foreign APIs, and keys for them; and the whole site, for clients of other people."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import get_args

import asyncpg
import httpx
import pytest

from services.links.keys.rows import create_key
from shared.api import ForeignApi
from shared.settings import LinksSettings
from tests.conftest import Database, settings_of
from tests.dashboard.site import DashboardSite, running_site
from tests.links.conftest import alice, batch_gate, body_timeout_s, client_with, export_gate, memory, service, shares
from tests.serving import client_of

__all__ = ["alice", "batch_gate", "body_timeout_s", "client_with", "export_gate", "memory", "service", "shares"]

KeyOf = Callable[..., Awaitable[str]]


@pytest.fixture
def links_settings(database: Database) -> LinksSettings:
    return settings_of(database).model_copy(update={"compat": get_args(ForeignApi)})


@pytest.fixture
async def foreign(service: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key: each foreign API has its own way to send one."""
    async with client_of(service) as client:
        yield client


@pytest.fixture
def key_of(database: Database) -> KeyOf:
    """Makes keys: `await key_of("owner", "links:read", …)`; without scopes it reads and writes links."""

    async def make(owner: str, *scopes: str) -> str:
        conn = await asyncpg.connect(database.links_url)
        _, text = await create_key(conn, owner=owner, scopes=scopes or ("links:read", "links:write"))
        await conn.close()
        return text

    return make


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DashboardSite]:
    """The whole site as `tinyurl up` runs it, of a module."""
    with running_site(tmp_path_factory.mktemp("site"), dashboard=False) as running:
        yield running
