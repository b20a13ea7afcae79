"""Which instance a command asks, and with which key.

An option counts before the environment (TINYURL_URL, TINYURL_KEY), and this before the file that `tinyurl login` wrote. The key
of that file is sent to the instance of that file alone.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ..client import Client
from ..problems import ApiError, KeyRefused
from .output import printable

TIMEOUT_S = 30.0

Url = Annotated[str | None, typer.Option("--url", envvar="TINYURL_URL", help="The instance, else that of the login.")]
Key = Annotated[str | None, typer.Option("--key", envvar="TINYURL_KEY", help="An API key, else that of the login.")]


@dataclass(frozen=True, slots=True)
class Login:
    """An instance and a key for it."""

    url: str
    key: str


def login_path() -> Path:
    """Return the file that keeps the login, as the XDG Base Directory Specification places it."""
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(folder) if folder.startswith("/") else Path.home() / ".config") / "tinyurl" / "login.json"


def read_login() -> Login | None:
    """Read the login, if there is one."""
    path = login_path()
    try:
        found = json.loads(path.read_text())
        return Login(str(found["url"]), str(found["key"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return fail("login", f"{path} cannot be read; remove it, or run `tinyurl login` again", status=2)


def write_login(login: Login) -> Path:
    """Keep a login, in a file that nobody else may read."""
    path = login_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Its mode is 0600 from the beginning, and a broken write leaves the file before.
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            json.dump({"url": login.url, "key": login.key}, file)
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    return path


@contextmanager
def asking(command: str, url: str | None, key: str | None) -> Iterator[Client]:
    """Yield a client of the instance that is meant; a failure within the block ends the command.

    Args:
        command: Begins the line of a failure, after `tinyurl`.
        url: Of the option or the environment.
        key: Likewise.
    """
    login = read_login() if not (url and key) else None
    url = url or (login.url if login else None)
    if not url:
        fail(command, "which instance? Run `tinyurl login`, or set TINYURL_URL and TINYURL_KEY", status=2)
    if not key and login and login.url.rstrip("/") == url.rstrip("/"):
        key = login.key
    if not key:
        fail(command, f"there is no key for {url}: run `tinyurl login`, or set TINYURL_KEY", status=2)
    try:
        client = Client(url, key, TIMEOUT_S)
    except ValueError as error:
        fail(command, f"--url: {error}", status=2)
    with client:
        try:
            yield client
        except ApiError as error:
            fail_with(command, error)


def fail(command: str, reason: str, *, status: int = 1) -> NoReturn:
    """End a command that failed, with one line that says why."""
    tell(command, reason)
    raise typer.Exit(status)


def fail_with(command: str, error: ApiError) -> NoReturn:
    """End a command whose request failed, with a line for each field that is at fault."""
    for reason in reasons(error):
        tell(command, reason)
    raise typer.Exit(1)


def reasons(error: ApiError) -> list[str]:
    """Return what is wrong, each field with its reason."""
    if isinstance(error, KeyRefused):
        return ["the instance does not know this key, or it was revoked or has expired"]
    return [f"{field}: {reason}" for field, reason in error.errors.items()] or [error.detail or error.title]


def tell(command: str, reason: str) -> None:
    """Write a line about what went wrong. An instance may have sent a part of it."""
    typer.echo(f"tinyurl {command}: {printable(' '.join(reason.split()))}", err=True)
