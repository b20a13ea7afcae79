"""How commands end: a failure is one line with the command's name, SIGTERM is a clean end."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.command.cli import Commands

TIMEOUT_S = 60
NOWHERE = "postgresql://tinyurl@/tinyurl?host=/nonexistent"


def start(*arguments: str, url: str) -> "subprocess.Popen[str]":
    settings = dict.fromkeys(("OWNER_DATABASE_URL", "LINKS_DATABASE_URL"), url)
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.command.cli", *arguments],
        env={**os.environ, **settings, "PUBLIC_BASE_URL": "https://go.example"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def silent_server(tmp_path: Path) -> Iterator[socket.socket]:
    """A server at Postgres's socket that takes connections and says nothing."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / ".s.PGSQL.5432"))
        server.listen()
        server.settimeout(TIMEOUT_S)
        yield server


def test_every_command_is_listed_and_a_mistyped_one_is_guessed() -> None:
    """The help has each command's first line, and what is nearly a command is answered with those that are like it."""
    process = start("--help", url=NOWHERE)
    shown, _ = process.communicate(timeout=TIMEOUT_S)
    process = start("bakup", url=NOWHERE)
    _, errors = process.communicate(timeout=TIMEOUT_S)

    for name, command in Commands().items():
        assert re.search(rf"  {name} +{re.escape(command.help.split()[0])} ", shown)
    assert "Did you mean 'backup', 'backup-key'?" in errors
    assert process.returncode == 2


def test_help_needs_nothing_for_colours() -> None:
    """Every command and the benchmark explain themselves where rich is not installed, as it is not beside the services."""
    script = (
        "import contextlib, runpy, sys; sys.modules['rich'] = None\n"
        "from deploy.command.cli import COMMANDS, app\n"
        "for name in COMMANDS.keys() - {'bench'}:\n"
        "    with contextlib.suppress(SystemExit): app([name, '--help'])\n"
        "sys.argv = ['bench', '--help']; runpy.run_module('tests.bench', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: ") == len(Commands())


@pytest.mark.parametrize(
    ("beginning", "arguments"),
    [
        ("tinyurl migrate: ", ["migrate"]),
        ("tinyurl keys: the database cannot be used: ", ["keys", "list"]),
        ("tinyurl retention: ", ["retention", "--days", "1"]),
        ("tinyurl backup: ", ["backup"]),
        ("tinyurl bench: --packed needs --clicks", ["bench", "--packed"]),
        ("tinyurl restore: there is no file missing.dump", ["restore", "missing.dump"]),
        (
            "tinyurl smoke: unix:/missing cannot be reached: ",
            ["smoke", "--links=unix:/missing", "--redirect=unix:/missing"],
        ),
    ],
)
def test_failure_is_one_line(
    beginning: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A command that fails says in one line which it is and why, and ends with 1."""
    monkeypatch.setenv("BACKUP_DIR", str(tmp_path))
    process = start(*arguments, url=NOWHERE)
    _, errors = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == 1
    assert errors.startswith(beginning)
    assert errors.count("\n") == 1


def test_failure_without_a_text_has_a_reason(silent_server: socket.socket, tmp_path: Path) -> None:
    """A failure that has no text of its own is named by its kind."""
    process = start("migrate", url=f"postgresql://tinyurl@/tinyurl?host={tmp_path}")
    _, errors = process.communicate(timeout=TIMEOUT_S)

    assert errors == "tinyurl migrate: TimeoutError\n"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["keys", "list"], 143),
        (["migrate"], 143),
        (["retention", "--days", "1"], 143),
        (["retention", "--days", "1", "--every", "1"], 0),
    ],
)
def test_sigterm_ends_a_command(
    arguments: list[str], status: int, silent_server: socket.socket, tmp_path: Path
) -> None:
    """A command that is asked to stop ends with 143 and says nothing; one that stays ends with 0."""
    process = start(*arguments, url=f"postgresql://tinyurl@/tinyurl?host={tmp_path}")
    connection, _ = silent_server.accept()
    with connection:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == status
    assert errors == ""
