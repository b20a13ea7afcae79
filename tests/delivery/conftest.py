"""A Docker engine for the tests of delivery: without one they are skipped, and say so; in `.ci/run` they must run."""

import os
import subprocess
from pathlib import Path

import pytest

REPORT = pytest.StashKey[list[str]]()
"""What is worth reading at the end: sizes, times, what a load saw."""

HERE = Path(__file__).parent
NEEDED = "DELIVERY_TESTS_NEEDED"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    reason = "" if not ours else engine_is_missing()
    for item in ours:
        item.add_marker(pytest.mark.delivery)
        # One after the other: they share the engine, and a load that is to lose nothing; browsers mind its networks.
        item.add_marker(pytest.mark.xdist_group(name="network"))
        item.add_marker(pytest.mark.timeout(1800))
        if reason and not os.environ.get(NEEDED):
            item.add_marker(pytest.mark.skip(reason=reason))


class InOrder:
    """Puts these tests into the order in which they are written: each goes on where the one before it ended."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        ours = [item for item in items if HERE in item.path.parents]
        ours.sort(key=lambda item: (item.path, item.reportinfo()[1] or 0))
        items[:] = [item for item in items if HERE not in item.path.parents] + ours


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REPORT] = []
    config.pluginmanager.register(InOrder())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[REPORT]:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> list[str]:
    """Lines that are shown after the tests."""
    return request.config.stash[REPORT]


def engine_is_missing() -> str:
    """Tell what is missing; empty if an engine with Compose answers."""
    for command, what in (
        (["docker", "version"], "no Docker engine answers"),
        (["docker", "compose", "version"], "Docker has no Compose plugin"),
        (["docker", "buildx", "version"], "Docker has no Buildx plugin"),
    ):
        try:
            done = subprocess.run(command, capture_output=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return what
        if done.returncode != 0:
            return what
    return ""
