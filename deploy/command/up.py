"""`tinyurl up`: becomes the local stack (`python -m deploy.local`), which runs everything on this machine until Ctrl-C."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_DATA = Path(".tinyurl")


def up_command(
    *,
    data: Annotated[Path, typer.Option(help="Folder that keeps the data.")] = DEFAULT_DATA,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of 127.0.0.1 to answer on.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Redirect processes.")] = 1,
    dashboard: Annotated[bool, typer.Option(help="Run the dashboard, which takes 60 to 180 MB.")] = True,
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="Keep nothing; for tests.")] = False,
    nginx: Annotated[str | None, typer.Option(help="Path of another nginx, or `wheel` for the wheel's.")] = None,
) -> None:
    """Run everything on this machine until Ctrl-C: PostgreSQL, Valkey, nginx and the services.

    Nothing has to be installed for it: the servers come as wheels. An nginx of this machine is faster than the wheel's,
    and is taken if it is 1.22 or newer and has the modules.

    Example: tinyurl up --port 9000 --workers 2
    """
    options = [
        f"--data={data.absolute()}",
        f"--port={port}",
        f"--workers={workers}",
        *([] if dashboard else ["--no-dashboard"]),
        *(["--ephemeral"] if ephemeral else []),
        *([f"--nginx={nginx}"] if nginx else []),
    ]
    # The same process, without what only the command line needs: it stays for as long as the stack. `-P`: the folder in which
    # somebody types the command may have a `deploy` of its own.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "deploy.local", *options])  # noqa: S606  # this very interpreter
