"""Runs a command: loads its settings, does its work and ends; every command of this room uses it.

A failure is one line on stderr, `tinyurl COMMAND: reason`, and exit status 1. A setting that is missing or wrong gives exit
status 2. SIGTERM cancels the work, which undoes what is half done, and gives 143, or 0 for a command that stays.
"""

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from shared.postgres import FAILURES
from shared.settings import Settings, load_settings

S = TypeVar("S", bound=Settings)
T = TypeVar("T")

STOPPED = 128 + signal.SIGTERM

Data = Annotated[Path, typer.Option(help="Folder of the `tinyurl up` that is meant, if it is there.")]


def load_command_settings(cls: type[S], data: Path, **given: str) -> S:
    """Read settings from the environment, and those that it lacks from the `tinyurl up` in a folder, if there is one."""
    services = data / "services.env"
    return load_settings(cls, env_file=services if services.exists() else None, **given)


def run(
    command: str,
    work: Coroutine[None, None, T],
    *,
    failures: tuple[type[Exception], ...] = FAILURES,
    stopped: int = STOPPED,
) -> T:
    """Run a command's work to its end, or until SIGTERM cancels it.

    Args:
        command: Begins the line of a failure, after `tinyurl`.
        work: What it does.
        failures: What can go wrong outside this program.
        stopped: The exit status after SIGTERM.
    """

    async def work_until_stopped() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(work_until_stopped())
    except failures as error:
        fail(command, error)
    except asyncio.CancelledError:
        raise typer.Exit(stopped) from None


def fail(command: str, reason: Exception | str) -> NoReturn:
    """End a command that failed, with one line that says why."""
    line = " ".join(str(reason).splitlines()) or type(reason).__name__
    typer.echo(f"tinyurl {command}: {line}", err=True)
    raise typer.Exit(1) from None
