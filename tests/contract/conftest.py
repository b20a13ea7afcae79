"""The whole site, behind nginx, for clients that know it from its description alone."""

from collections.abc import Iterator

import pytest

from tests.dashboard.site import DashboardSite, running_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DashboardSite]:
    """The whole site, of a module."""
    with running_site(tmp_path_factory.mktemp("site"), dashboard=False) as running:
        yield running
