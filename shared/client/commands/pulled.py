"""The links of another shortener that has an API, pulled into a file that `tinyurl import` sends like any other."""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from ..pulling import Pulled, PullFailed, pull
from .instance import fail
from .progress import Progress

COMMAND = "import"


def is_address(text: str) -> bool:
    return text.startswith(("https://", "http://"))


@contextmanager
def pulled_file(address: str, key: str | None, kind: str | None) -> Iterator[Path]:
    """Yield a file with all links of a shortener.

    It is in the cache of the user (XDG Base Directory Specification), where nobody else can read it, and goes when it has been
    used. If the pull or what follows fails it stays, and the same command goes on with it.

    Args:
        address: Where the shortener is.
        key: Of its API; None: it is asked for.
        kind: Which shortener it is; None: it is told by what it answers.
    """
    if key is None:
        key = typer.prompt(f"Key of {address}", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    folder = os.environ.get("XDG_CACHE_HOME", "")
    path = (Path(folder) if folder.startswith("/") else Path.home() / ".cache") / "tinyurl"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A key sees its own links: those of another one are not gone on with.
    path /= f"{hashlib.sha256(f'{address} {key}'.encode()).hexdigest()[:16]}.ndjson"
    path.touch(mode=0o600)
    progress = Progress()

    def show(pulled: Pulled) -> None:
        of = "" if pulled.all_links is None else f" of {pulled.all_links:,}"
        progress.show(f"pulled {pulled.links:,}{of} links, {pulled.visits:,} visits")

    try:
        pull(address, key, path, kind=kind, tell=show)
    except PullFailed as error:
        progress.end()
        fail(COMMAND, str(error))
    progress.end()
    yield path
    path.unlink()
