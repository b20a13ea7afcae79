"""The client as somebody installs it who has none of the servers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dashboard.stack import Stack

FOLDER = Path(__file__).parents[2] / "shared" / "client"
TIMEOUT_S = 120

SCRIPT = """
import asyncio, sys
from importlib.metadata import distributions
from tinyurl_client import AsyncClient, Client

url, key = sys.argv[1:]

async def read():
    async with AsyncClient(url, key) as client:
        return (await client.link("abc")).url

with Client(url, key) as client:
    client.create_link({"url": "https://www.example.com/", "code": "abc"})
print(asyncio.run(read()))
print(*sorted(each.name.lower() for each in distributions()))
"""

NEEDED = {"anyio", "certifi", "h11", "httpcore", "httpx", "idna", "sniffio", "tinyurl-client", "typing_extensions"}
"""What httpx brings, of some release."""


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def uv() -> str:
    found = os.environ.get("UV") or shutil.which("uv")
    if found is None:
        pytest.fail("uv is not installed.")
    return found


@pytest.fixture(scope="module")
def wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of the folder alone, as somebody does who has no more of the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(FOLDER, folder / "client", ignore=shutil.ignore_patterns("__pycache__"))
    run(uv, "build", "--quiet", "--wheel", "--out-dir", folder, folder / "client")
    (built,) = folder.glob("*.whl")
    return built


def install(uv: str, what: str, folder: Path) -> Path:
    """Install into an environment of its own, and return the folder of its programs."""
    run(uv, "venv", "--quiet", "--python", sys.executable, folder)
    run(uv, "pip", "install", "--quiet", "--python", folder, what)
    return folder / "bin"


def test_client_is_installed_alone(uv: str, wheel: Path, tmp_path: Path, stack: Stack) -> None:
    """With httpx and nothing of the servers beside it, it creates a link and reads it, at once and awaited."""
    programs = install(uv, str(wheel), tmp_path / "environment")
    said = run(programs / "python", "-c", SCRIPT, stack.url, stack.key()).split("\n")

    assert said[0] == "https://www.example.com/"
    assert {"httpx", "tinyurl-client"} <= set(said[1].split()) <= NEEDED


def test_command_is_installed_alone(uv: str, wheel: Path, tmp_path: Path, stack: Stack) -> None:
    """`tinyurl` works without the servers; where its libraries are missing it says what to install."""
    programs = install(uv, f"tinyurl-client[command] @ {wheel.as_uri()}", tmp_path / "environment")
    tinyurl = programs / "tinyurl"
    listed = run(tinyurl, "--help")
    short_url = run(tinyurl, "shorten", "https://www.example.com/", "--url", stack.url, "--key", stack.key())
    run(uv, "pip", "uninstall", "--quiet", "--python", programs.parent, "typer")
    bare = subprocess.run([tinyurl], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)

    assert all(f"  {name} " in listed for name in ("login", "links", "shorten", "import", "export"))
    assert short_url.startswith("https://sho.rt/")
    assert (bare.returncode, "pip install 'tinyurl-client[command]'" in bare.stderr) == (1, True)
