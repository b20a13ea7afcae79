"""Reads the settings of a host from `host.env`, which bootstrap writes and an operator may edit.

Everything in `deploy/host/` runs on the host itself under its own Python (3.11 or newer) with the standard library alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

DASHBOARD = "dashboard"

USUAL_MEMORY_MB = 64
BESIDE_MEMORY_MB = 448
"""The memory of a redirect process beside its MEMORY_MB: 320 by decision 40, and some room."""


class HostError(Exception):
    """A verb cannot go on; the message is one line that says why."""


@dataclass(frozen=True)
class HostSite:
    """One installation on this host.

    Attributes:
        root: Its folder.
        values: All of `host.env`, from which the Compose files take their variables.
        tinyurl_name: Begins the names of its projects, networks and volumes.
        repository: The repository of the image, without tag or digest.
        public_base_url: The address of the short links.
        start_timeout_s: How long a colour may take to become healthy.
        watch_s: How long a new release is watched after the switch.
        canary_failures: So many failed canaries within that time undo the release.
        error_share: This share of 5xx among a service's answers undoes it, too,
        error_minimum: if the service gave at least so many answers.
        backup_max_age_hours: A deployment takes a new backup if the newest is older.
        keep_releases: How many releases keep their image and files.
        free_space_mb: The free space that the disk needs before anything is pulled.
        verify_command: It gets an image by its digest before a release is fetched, and ends with 0 if the image may run.
    """

    root: Path
    values: Mapping[str, str] = field(repr=False)
    tinyurl_name: str
    repository: str
    public_base_url: str
    start_timeout_s: int = 60
    watch_s: int = 60
    canary_failures: int = 3
    error_share: float = 0.01
    error_minimum: int = 100
    backup_max_age_hours: float = 24
    keep_releases: int = 5
    free_space_mb: int = 1024
    verify_command: str = ""

    @property
    def compose_profiles(self) -> str:
        """The profiles of Compose that are on: the dashboard's, which an empty value switches off."""
        return self.values.get("COMPOSE_PROFILES", DASHBOARD)

    @property
    def environment_file(self) -> Path:
        return self.root / "host.env"

    @property
    def sockets(self) -> Path:
        return self.root / "run"

    @property
    def redirect_memory(self) -> str:
        """The limit of a redirect container: what `host.env` says, or MEMORY_MB and what a process needs beside it."""
        said = self.values.get("REDIRECT_MEMORY")
        memory_mb = self.values.get("MEMORY_MB", "")
        return said or f"{(int(memory_mb) if memory_mb.isdecimal() else USUAL_MEMORY_MB) + BESIDE_MEMORY_MB}m"

    @property
    def domain(self) -> str:
        """The default domain, without a port."""
        return self.public_base_url.rpartition("//")[2].partition(":")[0]


_KINDS = {each.name: type(each.default) for each in fields(HostSite) if isinstance(each.default, int | float)}


def load_site(root: Path) -> HostSite:
    """Read `host.env`.

    Raises:
        HostError: The file is missing, or a line or a setting is wrong; the message names it.
    """
    path = root / "host.env"
    if not path.is_file():
        raise HostError(f"{path} is missing: run deploy/host/bootstrap first")
    values: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.isidentifier():
            raise HostError(f"{path}:{number}: expected NAME=value")
        values[name] = value.strip()
    arguments: dict[str, Any] = {}
    for each in fields(HostSite):
        text = values.get(each.name.upper())
        if each.name in ("root", "values") or not text:
            continue
        try:
            arguments[each.name] = _KINDS[each.name](text) if each.name in _KINDS else text
        except ValueError:
            raise HostError(f"{path}: {each.name.upper()} must be a number, not {text!r}") from None
    for name in ("tinyurl_name", "repository", "public_base_url"):
        if name not in arguments:
            raise HostError(f"{path}: {name.upper()} is not set")
    site = HostSite(root=root, values=values, **arguments)
    if site.compose_profiles not in ("", DASHBOARD):
        raise HostError(f"{path}: COMPOSE_PROFILES must be {DASHBOARD} or empty, not {site.compose_profiles!r}")
    return site
