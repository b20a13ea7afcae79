"""`tinyurl up`: runs everything on this machine, until Ctrl-C.

It alone loads `deploy/local/`, and only when it is called, because production does not have that folder.
"""

import asyncio
import signal
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.command.runner import DEFAULT_DATA, run

if TYPE_CHECKING:
    from deploy.local.stack import StackOptions


def up_command(
    *,
    data: Annotated[Path, typer.Option(help="Folder that keeps the data.")] = DEFAULT_DATA,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of 127.0.0.1 to answer on.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Redirect processes.")] = 1,
    dashboard: Annotated[bool, typer.Option(help="Run the dashboard, which takes half of the memory.")] = True,
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="Keep nothing; for tests.")] = False,
    nginx: Annotated[str | None, typer.Option(help="Path of another nginx, or `wheel` for the wheel's.")] = None,
) -> None:
    """Run everything on this machine until Ctrl-C: PostgreSQL, Valkey, nginx and the services.

    Nothing has to be installed for it: the servers come as wheels. An nginx of this machine is faster than the wheel's,
    and is taken if it is 1.22 or newer and has the modules.

    Example: tinyurl up --port 9000 --workers 2
    """
    from deploy.local.programs import StartFailed  # noqa: PLC0415  # production never loads deploy.local
    from deploy.local.stack import StackOptions  # noqa: PLC0415  # likewise

    with ExitStack() as stack:
        if ephemeral:
            folder = TemporaryDirectory(prefix="tinyurl-data-", ignore_cleanup_errors=True)
            data = Path(stack.enter_context(folder))
        options = StackOptions(data.absolute(), port, workers, durable=not ephemeral, nginx=nginx, dashboard=dashboard)
        run("up", _up(options), failures=(StartFailed,))


async def _up(options: "StackOptions") -> None:
    from deploy.local.stack import run_stack  # noqa: PLC0415  # likewise

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Nothing is cancelled: a stack is stopped part by part, in order.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with run_stack(options, _say) as stack:
        typer.echo(
            f"TinyURL is up at {stack.url}, its API at {stack.url}/docs\n"
            f"API key: {stack.api_key}\n"
            "\n"
            "Shorten a link:\n"
            f"  curl -s {stack.url}/api/v1/links -H 'Authorization: Bearer {stack.api_key}' "
            "-H 'Content-Type: application/json' -d '{\"url\": \"https://www.python.org/\"}'\n"
            "\n"
            f"Data and logs are in {options.data}. Stop it with Ctrl-C."
        )
        # It takes longer than all the rest, which is in use meanwhile.
        stack.sign_in_url.add_done_callback(
            lambda url: typer.echo(f"Dashboard: {url.result()} (signs in once, within five minutes)")
        )
        await stopping.wait()
        typer.echo("stopping")


def _say(line: str) -> None:
    typer.echo(line, err=True)
