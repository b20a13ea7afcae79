"""Docker and Compose, called as commands with a deadline; every step of a rollout goes through here."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from deploy.host.site import HostError, HostSite

TIMEOUT_S = 120.0
PULL_TIMEOUT_S = 900.0


class DockerFailed(HostError):
    """A command of Docker failed; the message has its last lines."""


@dataclass(frozen=True)
class Container:
    """A container of a project.

    Attributes:
        id: The whole id.
        service: Its service in the Compose file.
        number: Its number among the replicas of the service.
        is_running: Whether it runs now.
        config_hash: Compose's hash of the definition that it was made from.
        listen: Its LISTEN, as `compose.prod.yaml` of its release has it; empty if it does not listen.
    """

    id: str
    service: str
    number: int
    is_running: bool
    config_hash: str
    listen: str = ""

    @property
    def socket(self) -> str:
        """Return where it listens: LISTEN, with the name that Docker gives a container."""
        return self.listen.replace("{hostname}", self.id[:12])


def docker(
    *arguments: str,
    timeout_s: float = TIMEOUT_S,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run `docker`.

    Returns:
        Its standard output.

    Raises:
        DockerFailed: It failed, or did not end in time.
    """
    shown = " ".join(arguments[:3])
    try:
        done = subprocess.run(
            ["docker", *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",  # nginx's log has visitors' paths, which may hold any bytes
            timeout=timeout_s,
            env={**os.environ, **(environment or {})},
            # The command inherits the lock of the journal: a killed rollout holds it until its last command has ended.
            close_fds=False,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DockerFailed(f"docker {shown} took longer than {timeout_s:g} s") from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise DockerFailed(f"docker {shown} failed: {' | '.join(lines[-6:])}")
    return done.stdout


def project_containers(project: str) -> list[Container]:
    """Return every container of a Compose project, without those of `run`."""
    ids = docker(
        "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=com.docker.compose.project={project}"
    ).split()
    if not ids:
        return []
    found = []
    for each in json.loads(docker("inspect", *ids)):
        labels = each["Config"]["Labels"]
        if labels.get("com.docker.compose.oneoff") != "True":
            found.append(
                Container(
                    id=each["Id"],
                    service=labels["com.docker.compose.service"],
                    number=int(labels["com.docker.compose.container-number"]),
                    is_running=each["State"]["Running"],
                    config_hash=labels["com.docker.compose.config-hash"],
                    listen=next((text[7:] for text in each["Config"]["Env"] if text.startswith("LISTEN=")), ""),
                )
            )
    return sorted(found, key=lambda container: (container.service, container.number))


def last_lines(container: Container) -> str:
    """Return the last lines that a container wrote, on either of its outputs; nothing if it cannot be asked."""
    command = ["docker", "logs", "--tail", "20", container.id]
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S, check=False
        ).stdout
    return ""


def inspect(name: str, template: str) -> Any:
    """Read a value of a container, as `--format '{{json …}}'` gives it."""
    return json.loads(docker("inspect", "--format", f"{{{{json {template}}}}}", name))


class Compose:
    """The Compose files of one release, for one project.

    Args:
        site: The host.
        project: `tinyurl` for nginx and the stores, `tinyurl-blue` and `tinyurl-green` for the colours.
        variables: What the files need besides `host.env`.
        folder: Where the files are.
    """

    def __init__(self, site: HostSite, project: str, variables: Mapping[str, str], folder: str) -> None:
        self.project = project
        self._environment = {
            **variables,
            "TINYURL_ROOT": str(site.root),
            "REDIRECT_MEMORY": site.redirect_memory,
            "COMPOSE_PROFILES": site.compose_profiles,
            "BACKUP_COPY_CREDENTIALS_FILE": str(site.root / "secrets" / "backup_copy_credentials"),
        }
        command = site.values.get("BACKUP_COPY_COMMAND", "")
        if command and command[0] not in "'\"":
            # Compose would replace the command's variables by its own, and the one with the file's name by nothing.
            self._environment["BACKUP_COPY_COMMAND"] = command
        files = [part for name in ("compose.yaml", "compose.prod.yaml") for part in ("--file", f"{folder}/{name}")]
        self._command = ("compose", "--project-name", project, "--env-file", str(site.environment_file), *files)

    def call(self, *arguments: str, timeout_s: float = TIMEOUT_S, stdin: str | None = None) -> str:
        return docker(*self._command, *arguments, timeout_s=timeout_s, stdin=stdin, environment=self._environment)

    def run_tool(self, service: str, command: Sequence[str], *options: str, timeout_s: float = TIMEOUT_S) -> str:
        """Run a command in a container of its own, which is removed afterwards."""
        return self.call(
            "run", "--rm", "--no-deps", "--quiet-pull", "-T", *options, service, *command, timeout_s=timeout_s
        )

    def config_hashes(self) -> dict[str, str]:
        """Return the hash of the definition that each service would be made from now."""
        lines = self.call("config", "--hash", "*").splitlines()
        return dict(line.split() for line in lines if line.strip())
