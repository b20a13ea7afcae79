"""Types a command, as the servers' `tinyurl` has it."""

from dataclasses import dataclass, field
from pathlib import Path

from typer.testing import CliRunner, Result

from deploy.command.cli import app


@dataclass(frozen=True)
class Terminal:
    """Somebody's terminal.

    Attributes:
        home: Where the configuration is.
        environment: What is set besides.
    """

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def login_file(self) -> Path:
        return self.home / "tinyurl" / "login.json"

    def type(self, *arguments: str, stdin: str | bytes | None = None) -> Result:
        nothing: dict[str, str | None] = {"TINYURL_URL": None, "TINYURL_KEY": None}
        environment = nothing | {"XDG_CONFIG_HOME": str(self.home)} | self.environment
        return CliRunner().invoke(app, arguments, input=stdin, env=environment)

    def lines(self, *arguments: str, stdin: str | bytes | None = None) -> list[str]:
        """Type a command that succeeds; the lines of its answer."""
        done = self.type(*arguments, stdin=stdin)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
        return done.stdout.splitlines()
