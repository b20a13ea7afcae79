"""What a deployment asks of the dashboard before nginx is switched to it."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploy.smoke import Colour, SmokeFailed, smoke
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


def test_dashboard_that_works(stack: Stack, socket: Path) -> None:
    with running_dashboard(socket, stack.socket) as dashboard:
        try_out(stack, dashboard)


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
