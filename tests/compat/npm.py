"""The programs of npm that the tests run: installed and built once in a run, whichever worker is first."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parents[1] / "clients"
BINARIES = Path(sys.executable).parent
"""Node and npm are packages of the group `test`."""

INSTALL_TIMEOUT_S = 240
BUILD_TIMEOUT_S = 120


@pytest.fixture(scope="session")
def npm_clients(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A copy of `tests/clients` with its packages, and the page that is built of them in `dist`."""
    base = tmp_path_factory.getbasetemp()
    # A worker's folder is within that of the run.
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "npm-clients"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "dist").is_dir():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(CLIENTS, folder, ignore=shutil.ignore_patterns("node_modules"))
            run_npm("npm", "ci", folder=folder, timeout_s=INSTALL_TIMEOUT_S)
            build = ("build", "shlink/page", "--logLevel", "error", "--outDir")
            run_npm("node", "node_modules/vite/bin/vite.js", *build, f"{folder}/built", folder=folder)
            (folder / "built").rename(folder / "dist")
    return folder


def run_npm(
    program: str, *arguments: str, folder: Path, timeout_s: float = BUILD_TIMEOUT_S, sent: str = "", **environment: str
) -> str:
    """Run npm or Node in a folder, and return what it printed; if it fails, that is shown."""
    found = subprocess.run(
        [BINARIES / program, *arguments],
        cwd=folder,
        env={**node_environment(), **environment},
        input=sent,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    return found.stdout


def node_environment() -> dict[str, str]:
    """npm looks for Node in the PATH."""
    return {**os.environ, "PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}"}
