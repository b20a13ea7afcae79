"""The real stack for the dashboard's tests."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from deploy.local.postgres import Postgres
from services.links.clicks.enrichment import Enricher
from shared.settings import LinksSettings
from tests.conftest import Database
from tests.dashboard.browser import running_browser
from tests.dashboard.site import DashboardSite, running_site
from tests.dashboard.stack import Stack, running_fresh_stack, running_stack


@pytest.fixture
def stack(database: Database, links_settings: LinksSettings, socket: Path) -> Iterator[Stack]:
    with running_stack(database, links_settings, socket) as running:
        yield running


@pytest.fixture(scope="module")
def shared_stack(postgres: Postgres, socket_folder: Path) -> Iterator[Stack]:
    """Of a module whose tests leave nothing behind that another would see."""
    with running_fresh_stack(postgres, socket_folder / f"{secrets.token_hex(6)}.sock") as running:
        yield running


@pytest.fixture(scope="session")
def enricher() -> Enricher:
    return Enricher()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DashboardSite]:
    """The whole site, of a module."""
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of a module, no longer: while it is there, no test with an event loop can run."""
    with running_browser() as running:
        yield running
