"""The real stack for the dashboard's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.links.enrichment import Enricher
from shared.settings import LinksSettings
from tests.conftest import Database
from tests.dashboard.stack import Stack, running_stack


@pytest.fixture
def stack(database: Database, links_settings: LinksSettings, socket: Path) -> Iterator[Stack]:
    with running_stack(database, links_settings, socket) as running:
        yield running


@pytest.fixture(scope="session")
def enricher() -> Enricher:
    return Enricher()
