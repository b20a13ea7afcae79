"""The command `tinyurl`: run it all on this machine, migrate, back up and restore, manage API keys, measure."""

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from deploy.command.backup import backup_command, backup_key_command, restore_command
from deploy.command.keys import keys
from deploy.command.release import migrate_command, nginx_files, smoke_command
from deploy.command.retention import retention_command
from deploy.local.programs import StartFailed

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A self-hosted link shortener.",
    epilog="Begin with `tinyurl up`.",
)
app.add_typer(keys, name="keys")
app.command("migrate")(migrate_command)
app.command("nginx-files")(nginx_files)
app.command("smoke")(smoke_command)
app.command("backup")(backup_command)
app.command("backup-key")(backup_key_command)
app.command("restore")(restore_command)
app.command("retention")(retention_command)

DEFAULT_DATA = Path(".tinyurl")


@app.command()
def up(
    data: Annotated[Path, typer.Option(help="Folder that keeps the data.")] = DEFAULT_DATA,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of 127.0.0.1 to answer on.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Redirect processes.")] = 1,
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="Keep nothing; for tests.")] = False,
) -> None:
    """Run everything on this machine until Ctrl-C: PostgreSQL, Valkey, nginx and the services.

    Nothing has to be installed for it: the servers come as wheels.

    Example: tinyurl up --port 9000 --workers 2
    """
    try:
        if ephemeral:
            with tempfile.TemporaryDirectory(prefix="tinyurl-data-", ignore_cleanup_errors=True) as folder:
                asyncio.run(_up(Path(folder), port, workers, durable=False))
        else:
            asyncio.run(_up(data.absolute(), port, workers, durable=True))
    except StartFailed as error:
        typer.echo(f"tinyurl up: {error}", err=True)
        raise typer.Exit(1) from None


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def bench(context: typer.Context) -> None:
    """Measure speed side by side; `tinyurl bench --help` tells what."""
    root = Path(__file__).parents[2]
    if not (root / "tests" / "bench").is_dir():
        typer.echo("tinyurl bench: it lives in the repository; run it from a clone.", err=True)
        raise typer.Exit(1)
    os.chdir(root)
    os.execv(sys.executable, [sys.executable, "-m", "tests.bench", *context.args])  # noqa: S606  # this very interpreter


async def _up(data: Path, port: int, workers: int, *, durable: bool) -> None:
    from deploy.local.stack import StackOptions, run_stack  # noqa: PLC0415  # needs the wheels of the group `local`

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    say = _say
    starting = asyncio.create_task(stopping.wait())
    async with run_stack(StackOptions(data, port, workers, durable=durable), say) as stack:
        typer.echo(
            f"TinyURL is up at {stack.url}, its API at {stack.url}/docs\n"
            f"Dashboard: {stack.sign_in_url} (signs in once, within five minutes)\n"
            f"API key: {stack.api_key}\n"
            "\n"
            "Shorten a link:\n"
            f"  curl -s {stack.url}/api/v1/links -H 'Authorization: Bearer {stack.api_key}' "
            "-H 'Content-Type: application/json' -d '{\"url\": \"https://www.python.org/\"}'\n"
            "\n"
            f"Data and logs are in {data}. Stop it with Ctrl-C."
        )
        await starting
        typer.echo("stopping")


def _say(line: str) -> None:
    typer.echo(line, err=True)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
