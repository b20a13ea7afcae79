"""What the tests of the redirect service share: links in the database, and TCP-free proxies that make stores fail."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from pydantic import SecretStr

from shared.settings import RedirectSettings
from tests.conftest import Database

AddLink = Callable[..., Awaitable[None]]


@pytest.fixture
def redirect_settings(database: Database, valkey_url: str) -> RedirectSettings:
    return RedirectSettings(
        redirect_database_url=SecretStr(database.redirect_url), redis_url=SecretStr(valkey_url), log_level="error"
    )


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
