"""`tinyurl login`: asks for an instance and a key, tries them, and keeps them."""

import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from .instance import Login, asking, fail, write_login

LOCAL = ("localhost", "127.0.0.1", "::1")


def login_command(
    url: Annotated[
        str | None, typer.Argument(help="The instance, such as https://go.example.com; asked for else.")
    ] = None,
) -> None:
    """Keep an instance and a key for the other commands.

    The key is asked for, or read from stdin, so that it stands in no list of processes. It is tried, and kept in
    `$XDG_CONFIG_HOME/tinyurl/login.json` (`~/.config` without that variable), which only you can read.

    The other commands take --url and --key first, then TINYURL_URL and TINYURL_KEY, then this file. The key of the file is
    sent to the instance of the file alone.

    Example: tinyurl login https://go.example.com
    """
    is_typed = sys.stdin.isatty()
    if url is None:
        url = typer.prompt("URL") if is_typed else sys.stdin.readline()
    key = typer.prompt("Key", hide_input=True) if is_typed else sys.stdin.readline()
    url, key = url.strip().rstrip("/"), key.strip()
    if not url or not key:
        fail("login", "an instance and a key are needed", status=2)
    with asking("login", url, key) as client:
        found = client.current_key()
    path = write_login(Login(url, key))
    typer.echo(f"{found.owner} at {url}: {', '.join(found.scopes)}")
    typer.echo(f"kept in {path}", err=True)
    address = urlsplit(url)
    if address.scheme == "http" and address.hostname not in LOCAL:
        typer.echo("Without https everybody on the way can read the key.", err=True)
