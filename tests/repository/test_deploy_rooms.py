"""The rooms of `deploy/` are held by import contracts, and each contract refuses what it is for."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ROOMS = "The rooms of deploy"
LOCAL = "Nothing that runs in production"
HOST = "What runs on a host"
CERTBOT = "What runs in certbot's container"


def broken_contracts(root: Path) -> set[str]:
    """The contracts that the imports of a tree break, by what their names begin with."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-logo"],
        cwd=root,
        env={**os.environ, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    broken = re.findall(r"^(.*) BROKEN$", done.stdout, re.MULTILINE)
    assert (done.returncode == 0) == (not broken), done.stdout + done.stderr
    assert " kept, " in done.stdout, done.stdout + done.stderr
    return {next((known for known in (ROOMS, LOCAL, HOST, CERTBOT) if name.startswith(known)), name) for name in broken}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the contracts are about."""
    for folder in ("deploy", "services", "shared", "tests/repository"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "vendor"))
    for file in ("pyproject.toml", "tests/__init__.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def test_contracts_are_kept(tree: Path) -> None:
    """The copy as it is breaks none: what the others add is what is refused."""
    assert broken_contracts(tree) == set()


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("deploy/host/site.py", "import httpx", {HOST}),
        ("deploy/host/site.py", "from shared.postgres import Connection", {HOST}),
        ("deploy/host/site.py", "from deploy.nginx.files import MAIN", {HOST, ROOMS}),
        ("deploy/certificates/names.py", "from shared.settings import www_aliases", {CERTBOT}),
        ("deploy/nginx/files.py", "from deploy.backup.files import Backup", {ROOMS}),
        ("deploy/local/programs.py", "from deploy.command.smoke import smoke", {ROOMS}),
        ("deploy/backup/programs.py", "from deploy.local.postgres import binaries", {LOCAL, ROOMS}),
        ("deploy/command/release.py", "from deploy.local.programs import StartFailed", {LOCAL}),
    ],
)
def test_an_import_across_rooms_is_refused(tree: Path, file: str, line: str, broken: set[str]) -> None:
    """A host's program with a package, certbot's with ours, a room with its neighbour, production with the local stack."""
    with (tree / file).open("a") as module:
        module.write(f"{line}\n")

    assert broken_contracts(tree) == broken


def test_commands_of_production_do_not_load_the_local_stack() -> None:
    """The one command that may import it does so when it is called, not when the command is loaded."""
    code = "import sys, deploy.command.cli; print(*(name for name in sys.modules if name.startswith('deploy.')))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()

    assert "deploy.command.up" in loaded
    assert [name for name in loaded if name.startswith("deploy.local")] == []


def test_the_map_names_every_room() -> None:
    """The README's row of `deploy/` has each of its folders and no other, and the modules that it names lie in theirs."""
    row = re.search(r"^\| `deploy/` \| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert row is not None
    rooms = dict(re.findall(r"`(\w+)/` \(([^)]*)\)", row[1]))

    assert set(rooms) == {path.name for path in (ROOT / "deploy").iterdir() if path.is_dir()} - {"__pycache__"}
    for room, text in rooms.items():
        assert [
            name for name in re.findall(r"`(\w+\.py)`", text) if not (ROOT / "deploy" / room / name).is_file()
        ] == []
