"""What a deployment asks of the dashboard before nginx is switched to it."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from deploy.command.smoke import OWNER, Colour, SmokeFailed, smoke
from services.links.keys.rows import ApiKey, select_keys
from shared.settings import SmokeSettings
from tests.dashboard.process import HOST, Dashboard, running_dashboard
from tests.dashboard.stack import Stack

BREAK_THE_SCRIPT = "import streamlit\nstreamlit.navigation = None\n"


def try_out(stack: Stack, dashboard: Dashboard, release: str = "unreleased") -> None:
    settings = SmokeSettings(
        links_database_url=SecretStr(stack.database.links_url), public_base_url=f"http://{HOST}", release=release
    )
    colour = Colour(links=[stack.url], redirect=[], dashboard=[f"unix:{dashboard.socket}"])
    asyncio.run(smoke(settings, colour))


def test_many_deployments_of_a_dashboard_that_works_leave_one_key(stack: Stack, socket: Path) -> None:
    """Each is tried with a key of its own, which is revoked at the end; the list of keys does not grow by it."""
    with running_dashboard(socket, stack.socket) as dashboard:
        for _ in range(3):
            try_out(stack, dashboard)
    keys = asyncio.run(keys_of(stack, OWNER))

    assert len(keys) == 1
    assert keys[0].revoked_at is not None


async def keys_of(stack: Stack, owner: str) -> list[ApiKey]:
    conn = await asyncpg.connect(stack.database.links_url)
    try:
        return [key for key in await select_keys(conn) if key.owner == owner]
    finally:
        await conn.close()


def test_dashboard_that_does_not(stack: Stack, socket: Path, tmp_path: Path) -> None:
    """A script that fails, an API that it does not reach, another release: each is found."""
    (tmp_path / "sitecustomize.py").write_text(BREAK_THE_SCRIPT)
    with (
        running_dashboard(socket, stack.socket, PYTHONPATH=str(tmp_path)) as dashboard,
        pytest.raises(SmokeFailed, match="script-health-check with 503"),
    ):
        try_out(stack, dashboard)
    with running_dashboard(socket, socket.with_suffix(".nobody")) as dashboard:
        with pytest.raises(SmokeFailed, match="POST /dashboard/sign-in with 503"):
            try_out(stack, dashboard)
        with pytest.raises(SmokeFailed, match="is release unreleased, not another"):
            try_out(stack, dashboard, "another")
