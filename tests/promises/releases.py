"""Releases of this repository as folders, whose commands, tests and services can run beside this one's."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from deploy.local.programs import Program

ROOT = Path(__file__).parents[2]
INSTALL_TIMEOUT_S = 240

# What pytest and `uv run` tell those whom they start about themselves.
_FOREIGN = ("PYTEST_", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH")


@dataclass(frozen=True)
class RunnableRelease:
    """A release.

    Attributes:
        folder: Its files.
        python: An interpreter with the dependencies that it locked.
        settings: Of its services, beside those that every release gets.
    """

    folder: Path
    python: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The module that is its command `tinyurl`."""
        project = tomllib.loads((self.folder / "pyproject.toml").read_text())["project"]
        entry: str = project["scripts"]["tinyurl"]
        return entry.partition(":")[0]

    def run(self, *arguments: str, timeout_s: float = 60, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run one of its modules (`python -m`) in its folder."""
        return subprocess.run(
            [self.python, "-m", *arguments],
            cwd=self.folder,
            env=_environment() | environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def program(self, program: Program) -> Program:
        """A service of this release in the place of another's, and all that it starts; not what lies where it is started."""
        return replace(
            program,
            command=[str(self.python), *program.command[1:]],
            environment={
                **program.environment,
                **self.settings,
                "PYTHONPATH": str(self.folder),
                "PYTHONSAFEPATH": "1",
            },
        )


THIS = RunnableRelease(ROOT, Path(sys.executable))
PACKED = replace(THIS, settings={"PACKED_CLICKS": "true"})
"""This release as a deployment has it that lets it pack clicks."""


def check_out_previous(folder: Path) -> RunnableRelease:
    """Check out the release before this one and install what it locked, for services and tests.

    It is the commit that PREVIOUS_RELEASE names, else the last tag `v*` before this commit, else the commit before: every
    push to main is a release. Without one the test fails: what is not compared is not promised.
    """
    ref = _previous()
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", ref).stdout)) as archive:
        archive.extractall(folder, filter="data")
    done = subprocess.run(
        [
            _uv(),
            "sync",
            "--locked",
            "--quiet",
            "--no-default-groups",
            "--group=local",
            "--group=test",
            "--python",
            sys.executable,
        ],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"The previous release {ref} cannot be installed: {done.stderr[-2000:]}")
    return RunnableRelease(folder, folder / ".venv" / "bin" / "python")


def _previous() -> str:
    named = os.environ.get("PREVIOUS_RELEASE")
    ref = named or "HEAD^"
    if _git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").returncode != 0:
        is_shallow = _git("rev-parse", "--is-shallow-repository").stdout.strip() == b"true"
        remedy = (
            "this clone is shallow: fetch the rest (`git fetch --unshallow --tags`, `fetch-depth: 0` in a workflow)"
        )
        pytest.fail(
            f"The previous release {ref} is not here: {remedy if is_shallow else 'name it in PREVIOUS_RELEASE'}."
        )
    if named:
        return named
    tag = _git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^").stdout.decode().strip()
    return tag or "HEAD^"


def _git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.fail("The previous release is taken from git: run this in a clone, where git is installed.")
    return subprocess.run([git, *arguments], cwd=ROOT, capture_output=True, timeout=60, check=False)


def _uv() -> str:
    """The uv that runs these tests, or the one of the path."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.fail("uv, which installs the previous release, is not installed.")
    return uv


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
