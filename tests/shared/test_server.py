"""How a service leaves: it says so first, serves on meanwhile, and finishes what it has."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.listen import parse_address
from tests.conftest import Database

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(database: Database, valkey_url: str, socket: Path) -> Iterator[Start]:
    """Starts a redirect process that listens at `socket`, and waits until it is ready."""
    started: list[subprocess.Popen[bytes]] = []

    def go(**settings: str) -> "subprocess.Popen[bytes]":
        environment = {
            **os.environ,
            "LISTEN": f"unix:{socket}",
            "REDIRECT_DATABASE_URL": database.redirect_url,
            "REDIS_URL": valkey_url,
            "LOG_LEVEL": "error",
            **settings,
        }
        process = subprocess.Popen([sys.executable, "-m", "services.redirect"], env=environment)
        started.append(process)
        until(lambda: status(socket, "/readyz") == 200)
        return process

    yield go
    for process in started:
        process.kill()
        process.wait()


def test_leaves_after_it_has_said_so(start: Start, socket: Path) -> None:
    """After SIGTERM it is not ready, answers as before, and ends the connections; then it is gone."""
    process = start(DRAIN_SECONDS="2")
    kept = parse_address(f"unix:{socket}").connect(5)
    kept.request("GET", "/none", headers={"Host": "sho.rt"})
    kept.getresponse().read()
    process.send_signal(signal.SIGTERM)
    until(lambda: status(socket, "/readyz") == 503)
    until(lambda: closes(socket))
    kept.request("GET", "/none", headers={"Host": "sho.rt"})
    answer = kept.getresponse()
    answer.read()

    assert (answer.status, answer.headers["connection"]) == (404, "close")
    assert status(socket, "/livez") == 200
    assert process.wait(timeout=10) == -signal.SIGTERM


def test_second_signal_is_now(start: Start, socket: Path) -> None:
    process = start(DRAIN_SECONDS="14")
    process.send_signal(signal.SIGTERM)
    until(lambda: status(socket, "/readyz") == 503)
    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=10) == -signal.SIGTERM


def test_without_draining(start: Start, socket: Path) -> None:
    process = start(DRAIN_SECONDS="0")
    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=10) == -signal.SIGTERM


def test_probe(start: Start, socket: Path) -> None:
    """The health check of a container: 0 when ready, 1 with the reason when draining or gone."""
    assert probe(f"unix:{socket}").returncode == 1
    process = start(DRAIN_SECONDS="14")
    assert probe(f"unix:{socket}").returncode == 0
    process.send_signal(signal.SIGTERM)
    until(lambda: status(socket, "/readyz") == 503)
    draining = probe(f"unix:{socket}")

    assert draining.returncode == 1
    assert b"draining" in draining.stderr


@pytest.mark.parametrize("text", ["", "8000", "host:", "host:70000", "unix:relative"])
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="must be unix:/path or host:port"):
        parse_address(text)


def probe(listen: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "shared.probe"]
    return subprocess.run(command, env={**os.environ, "LISTEN": listen}, capture_output=True, timeout=20, check=False)


def status(socket: Path, path: str) -> int:
    connection = parse_address(f"unix:{socket}").connect(5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def closes(socket: Path) -> bool:
    connection = parse_address(f"unix:{socket}").connect(5)
    try:
        connection.request("GET", "/none", headers={"Host": "sho.rt"})
        return connection.getresponse().headers["connection"] == "close"
    finally:
        connection.close()


def until(condition: Callable[[], bool], timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
