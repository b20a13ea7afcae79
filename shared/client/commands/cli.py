"""The command `tinyurl` of the wheel `tinyurl-client`; the one of the servers has more (`deploy/command/cli.py`)."""

import typer

from .exporting import export_command
from .importing import import_command
from .links import links
from .login import login_command
from .shorten import shorten_command

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Short links of a TinyURL instance.",
    epilog="Begin with `tinyurl login`.",
)
app.command("login")(login_command)
app.command("shorten")(shorten_command)
app.add_typer(links, name="links")
app.command("import")(import_command)
app.command("export")(export_command)
