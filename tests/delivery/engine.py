"""Docker for the tests: commands with a deadline, and names that no other installation has."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run(
    *command: str | Path,
    timeout_s: float = 600,
    check: bool = True,
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
    folder: Path = ROOT,
) -> "subprocess.CompletedProcess[str]":
    """Run a command; one that fails shows what it said."""
    done = subprocess.run(
        [str(part) for part in command],
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd=folder,
        env={**os.environ, **(environment or {})},
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"{' '.join(map(str, command[:6]))}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        )
    return done


def docker(*arguments: str | Path, timeout_s: float = 600, check: bool = True, stdin: str | None = None) -> str:
    return run("docker", *arguments, timeout_s=timeout_s, check=check, stdin=stdin).stdout.strip()


def new_name() -> str:
    return f"tinyurl-{secrets.token_hex(4)}"


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clone(folder: Path) -> Path:
    """The files of this repository as git has them or would have them: what a clone of the next commit has."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout.split("\0")
    for name in filter(None, listed):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return folder


def client_files() -> list[str]:
    """Where this machine's docker command and its plugins are."""
    plugins = json.loads(docker("info", "--format", "{{json .ClientInfo.Plugins}}")) or []
    found = [plugin["Path"] for plugin in plugins if plugin["Name"] in ("compose", "buildx")]
    command = shutil.which("docker")
    assert command is not None
    return [str(Path(command).resolve()), *found]


def inspect(name: str) -> Any:
    return json.loads(docker("inspect", name))[0]
