"""What a process does not load, because it stays and needs no such library at rest."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("services.dashboard.app", {"altair", "numpy", "pandas", "pyarrow"}),
        ("deploy.local.__main__", {"asyncpg", "httpx", "pydantic", "typer"}),
        ("deploy.command.cli", {"asyncpg", "httpx", "obstore", "pydantic", "redis"}),
    ],
)
def test_heavy_libraries_are_not_loaded(module: str, unwanted: set[str]) -> None:
    """A process at rest does not hold libraries that it needs for rare work, or not at all."""
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert unwanted & set(loaded.stdout.split()) == set()
