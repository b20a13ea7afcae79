"""The command `tinyurl`: run it all on this machine, migrate, back up and restore, manage API keys, measure."""

import os
import sys
from pathlib import Path

import typer

from deploy.command.backup import backup_command, backup_key_command, restore_command
from deploy.command.keys import keys
from deploy.command.release import migrate_command, nginx_files, smoke_command
from deploy.command.retention import retention_command
from deploy.command.runner import fail
from deploy.command.up import up_command

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
app.command("up")(up_command)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def bench(context: typer.Context) -> None:
    """Measure speed side by side; `tinyurl bench --help` tells what."""
    root = Path(__file__).parents[2]
    if not (root / "tests" / "bench").is_dir():
        fail("bench", "it lives in the repository; run it from a clone.")
    os.chdir(root)
    os.execv(sys.executable, [sys.executable, "-m", "tests.bench", *context.args])  # noqa: S606  # this very interpreter


def main() -> None:
    """Run the command that was typed.

    If the storage's library was used, the process ends without Python's own finalization: threads of that library may
    still hand over a result then, and abort the process (https://github.com/PyO3/pyo3-async-runtimes/issues/40).
    """
    try:
        app()
    except SystemExit as ended:
        if "obstore" not in sys.modules or not isinstance(ended.code, int | None):
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code or 0)


if __name__ == "__main__":
    main()
