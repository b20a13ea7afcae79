"""The command `tinyurl`: run it all on this machine, migrate, back up and restore, manage API keys, measure, make links."""

import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer

COMMANDS = {
    "migrate": "deploy.command.release:migrate_command",
    "nginx-files": "deploy.command.release:nginx_files",
    "smoke": "deploy.command.release:smoke_command",
    "backup": "deploy.command.backup:backup_command",
    "backup-key": "deploy.command.backup:backup_key_command",
    "restore": "deploy.command.backup:restore_command",
    "retention": "deploy.command.retention:retention_command",
    "up": "deploy.command.up:up_command",
    "bench": "deploy.command.bench:bench_command",
    "keys": "deploy.command.keys:keys",
    "login": "shared.client.commands.login:login_command",
    "shorten": "shared.client.commands.shorten:shorten_command",
    "links": "shared.client.commands.links:links",
    "import": "shared.client.commands.importing:import_command",
    "export": "shared.client.commands.exporting:export_command",
}
"""Each command's module and its function or group there; the last ones are also those of the wheel `tinyurl-client`."""


class Commands(Mapping[str, Any]):
    """The commands by name. One is loaded when it is asked for: the libraries of all take a third of a second and 30 MB."""

    def __getitem__(self, name: str) -> Any:
        module_name, _, attribute = COMMANDS[name].partition(":")
        module = import_module(module_name)
        found = getattr(module, attribute)
        if isinstance(found, typer.Typer):
            group = typer.main.get_group(found)
            group.name = name
            return group
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name, context_settings=getattr(module, "SETTINGS", None))(found)
        return typer.main.get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class CommandGroup(typer.core.TyperGroup):
    """The command `tinyurl` with all that it can do."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Commands()  # type: ignore[assignment]  # nobody adds to it


app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Colours would need rich, which is not installed (pyproject.toml).
    rich_markup_mode=None,
    help="A self-hosted link shortener.",
    epilog="Begin with `tinyurl up`.",
)


@app.callback()
def _root() -> None:
    """Without it Typer takes an app that registers no command for a mistake."""


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
