"""Writes down what is live, what is under way and what was done, so that no crash of a rollout or of the host loses it."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from deploy.host.site import HostError

Colour = Literal["blue", "green"]

_LAST_COMMAND_TIMEOUT_S = 300.0

FIRST_REPLICAS = {"links": 1, "redirect": 2, "dashboard": 1}

LOG_NAME = "releases.jsonl"


@dataclass(frozen=True)
class Deployed:
    """A release in a colour."""

    digest: str
    colour: Colour
    since: str


@dataclass(frozen=True)
class Rollout:
    """What is under way.

    Attributes:
        verb: `deploy`, `rollback`, `rotate` or `scale`.
        digest: The release that is to be live.
        colour: The colour in which it runs.
        step: The step that began last.
        generation: The generation of nginx's files, from the switch on.
        reason: Why a rollback came by itself.
        secret: What `rotate` changes.
    """

    verb: str
    digest: str
    colour: Colour
    step: str
    generation: int | None = None
    reason: str = ""
    secret: str = ""


@dataclass(frozen=True)
class DeploymentState:
    """What a verb has to know of the verbs before it."""

    live: Deployed | None = None
    previous: Deployed | None = None
    rollout: Rollout | None = None
    replicas: dict[str, int] = field(default_factory=lambda: dict(FIRST_REPLICAS))


class Journal:
    """The state file, the release log and the lock of one installation."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / "state.json"
        self.state = self._load()

    def live(self) -> Deployed:
        """Return what is live.

        Raises:
            HostError: Nothing is live.
        """
        if self.state.live is None:
            raise HostError("nothing is live yet: deploy first")
        return self.state.live

    def write(self, **changes: Any) -> None:
        """Change the state, on the disk first, in one step."""
        state = replace(self.state, **changes)
        write_file(self._path, json.dumps(asdict(state), indent=2) + "\n", 0o644)
        self.state = state

    def note(self, event: str, **facts: Any) -> None:
        """Add a line to the release log."""
        line = json.dumps({"time": now(), "event": event, **facts})
        with (self._root / LOG_NAME).open("a+b") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 1))
            # A crash may have torn the last line: the new one does not continue it.
            torn = log.read() not in (b"", b"\n")
            log.write(b"\n" * torn + line.encode() + b"\n")
            log.flush()
            os.fsync(log.fileno())

    def last_notes(self, count: int) -> list[dict[str, Any]]:
        path = self._root / LOG_NAME
        notes = []
        for line in path.read_text().splitlines()[-count:] if path.exists() else []:
            with suppress(ValueError):
                notes.append(json.loads(line))
        return notes

    @contextmanager
    def lock(self, what: str) -> Iterator[None]:
        """Be the only one who changes this installation.

        If the last holder was killed, this waits for the last command that it ran.

        Raises:
            HostError: Someone else holds the lock; the message tells who and since when.
        """
        with (self._root / "lock").open("a+") as holder:
            deadline = time.monotonic() + _LAST_COMMAND_TIMEOUT_S
            while not _try_lock(holder):
                holder.seek(0)
                text = holder.read().strip()
                if _is_alive(text.rpartition(" ")[2]) or time.monotonic() > deadline:
                    raise HostError(f"another verb is under way: {text or 'unknown'}")
                time.sleep(0.2)
            os.set_inheritable(holder.fileno(), True)  # see deploy/host/docker.py
            holder.truncate(0)
            holder.write(f"{what} since {now()}, process {os.getpid()}")
            holder.flush()
            # The last holder may have written the state after this object was made.
            self.state = self._load()
            yield
            holder.truncate(0)

    def _load(self) -> DeploymentState:
        if not self._path.exists():
            return DeploymentState()
        read = json.loads(self._path.read_text())
        return DeploymentState(
            live=Deployed(**read["live"]) if read["live"] else None,
            previous=Deployed(**read["previous"]) if read["previous"] else None,
            rollout=Rollout(**read["rollout"]) if read["rollout"] else None,
            # A state that is older than the dashboard has no number for it.
            replicas={**FIRST_REPLICAS, **read["replicas"]},
        )


def write_file(path: Path, text: str, mode: int, owner: int | None = None) -> None:
    """Replace a file in one step that a crash of the host cannot tear; it has the right owner from the beginning."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        if owner is not None:
            os.fchown(descriptor, owner, 0)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _try_lock(holder: IO[str]) -> bool:
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: str) -> bool:
    """Whether the process that noted its number in the lock still runs; one that is about to note it counts as alive."""
    return not pid.isdigit() or Path(f"/proc/{pid}").exists()
