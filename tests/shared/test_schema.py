"""Migrations: applied once, in order, also by two at once; a service refuses a schema that is behind."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from deploy.local.postgres import OWNER, SUPERUSER, Postgres
from services.links.app import create_app
from shared.schema import SchemaBehind, check_schema, migrate, migrations
from shared.settings import LinksSettings
from tests.conftest import Database
from tests.serving import client_of, serve


@pytest.fixture
async def empty_database(postgres: Postgres) -> AsyncIterator[Database]:
    """A database without any table."""
    name = f"test_{secrets.token_hex(6)}"
    admin = await asyncpg.connect(postgres.url(SUPERUSER, "postgres"))
    await admin.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
    yield Database(postgres, name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


def test_migrations_are_numbered_without_gaps() -> None:
    """Numbers count up from 1."""
    assert list(migrations()) == list(range(1, len(migrations()) + 1))


async def test_two_at_once_apply_each_migration_once(empty_database: Database) -> None:
    """Of several that migrate at once one does the work, the others wait and find nothing to do."""
    applied = await asyncio.gather(*(migrate(empty_database.owner_url) for _ in range(4)))

    assert sorted(applied) == [[], [], [], list(migrations())]
    assert await migrate(empty_database.owner_url) == []


async def test_index_that_was_broken_off_is_made_again(database: Database) -> None:
    """An index that an interrupted run left invalid, or did not reach, is there after the next run."""
    admin = await asyncpg.connect(database.server.url(SUPERUSER, database.name))
    await admin.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'links_by_code'::regclass")
    await admin.execute("DROP INDEX links_by_update")
    await migrate(database.owner_url)

    made = "SELECT indisvalid FROM pg_index WHERE indexrelid = $1::text::regclass"
    assert await admin.fetchval(made, "links_by_code")
    assert await admin.fetchval(made, "links_by_update")
    await admin.close()


async def test_schema_that_is_behind_is_refused(empty_database: Database, database: Database) -> None:
    """Behind is refused with what to do; the same or ahead is fine."""
    behind = await asyncpg.connect(empty_database.links_url)
    with pytest.raises(SchemaBehind, match="tinyurl migrate"):
        await check_schema(behind)
    await behind.close()
    ahead = await asyncpg.connect(database.owner_url)
    await check_schema(ahead)
    await ahead.execute("INSERT INTO schema_migrations (number) VALUES (9999)")
    await check_schema(ahead)
    await ahead.close()


async def test_service_refuses_to_start_on_an_old_schema(empty_database: Database, socket: Path) -> None:
    """The write service ends its start when migrations are missing, and says what to do."""
    environment = {
        "LISTEN": f"unix:{socket}",
        "LINKS_DATABASE_URL": empty_database.links_url,
        "FASTAPI_SECRET_KEY": "x" * 32,
        "PUBLIC_BASE_URL": "https://sho.rt",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.links"), env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, output = await asyncio.wait_for(process.communicate(), 30)

    assert process.returncode == 3
    assert f"this release needs {max(migrations())}: run `tinyurl migrate`".encode() in output


async def test_service_without_postgres_is_alive_and_not_ready(links_settings: LinksSettings, socket: Path) -> None:
    """While Postgres is away the write service starts, says what is missing, and answers 503 to try again."""
    settings = links_settings.model_copy(
        update={"links_database_url": SecretStr("postgresql://x@/x?host=/nonexistent")}
    )
    async with serve(create_app(settings), socket), client_of(socket) as client:
        ready = await client.get("/readyz")
        answer = await client.get("/api/v1/links", headers={"Authorization": "Bearer tu_" + "a" * 12 + "_" + "b" * 43})

        assert (await client.get("/livez")).status_code == 200
    assert (ready.status_code, ready.json()["missing"]) == (503, ["postgres"])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["type"] == "urn:tinyurl:problem:unavailable"
