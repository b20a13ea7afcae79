"""The files of a click journal: how a segment is made, synced, deleted or set aside.

A segment belongs to the process that has locked its file, and a process that ends loses its locks. So a file is locked
before it gets the name under which others look for it. `writer.py` writes them, `shipper.py` ships them.
"""

import fcntl
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time_ns
from uuid import UUID

from shared.backoff import Backoff
from shared.journal import HEADER

SUFFIX = ".journal"
TEMPORARY = ".new"
DAMAGED = ".damaged"

RECORD_BYTES = 2**20
"""A tick with more becomes several records, so that each fits into one request to the write service."""

KEPT_DAMAGED = 4
"""Damaged files that stay for someone to look at; older ones are deleted."""

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


@dataclass(slots=True, eq=False)
class Segment:
    """A segment that this process has locked.

    Attributes:
        end: Where its last whole record ends; of an adopted one, how large the file is.
        taken: The write service has everything below.
        synced: Everything below is on the disk.
        is_complete: Nothing more will be written to it.
        is_damaged: What follows `taken` cannot be read.
        is_closed: This process has given it up, perhaps while a thread was about to sync it.
        oldest_at: When the oldest click was made that is not taken, as far as is known; Unix seconds.
        backoff: When the write service may be asked again to take something of it.
    """

    path: Path
    descriptor: int
    end: int = len(HEADER)
    taken: int = len(HEADER)
    synced: int = len(HEADER)
    is_complete: bool = False
    is_damaged: bool = False
    is_closed: bool = False
    oldest_at: float | None = None
    opened_at: float = field(default_factory=monotonic)
    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S))

    @property
    def name(self) -> str:
        """The UUID by which the write service knows it."""
        return self.path.stem

    @property
    def waiting_bytes(self) -> int:
        return max(0, self.end - self.taken)

    def sync(self) -> None:
        """Put it on the disk, if there is anything new in it."""
        end = self.end
        if self.synced < end:
            try:
                os.fdatasync(self.descriptor)
            except OSError:
                if not self.is_closed:
                    raise
            self.synced = end

    def close(self) -> None:
        """Give it up: another process may adopt it."""
        self.is_closed = True
        os.close(self.descriptor)

    def delete(self) -> None:
        # Before the lock goes: who waits for the lock looks whether the name is still there.
        self.path.unlink(missing_ok=True)
        self.close()

    def set_aside(self) -> None:
        """Keep it for people under another name, and of these files the newest only."""
        self.path.rename(self.path.with_name(self.path.name + DAMAGED))
        self.close()
        damaged = sorted(self.path.parent.glob("*" + DAMAGED))
        for old in damaged[:-KEPT_DAMAGED]:
            old.unlink(missing_ok=True)


def create_segment(folder: Path) -> Segment:
    """Make a segment, locked before others can find it, and on the disk before anything is written to it.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = draw_name()
    temporary = folder / (name + TEMPORARY)
    descriptor = os.open(temporary, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.write(descriptor, HEADER) != len(HEADER):
            raise OSError("no room for a header")
        os.fdatasync(descriptor)
        path = temporary.rename(folder / (name + SUFFIX))
        _sync_folder(folder)
    except OSError:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)
        raise
    return Segment(path, descriptor)


def lock_file(path: Path) -> int | None:
    """Open and lock a file, unless someone else has; the name must still be this file's once the lock is there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def draw_name() -> str:
    """A new UUID of version 7 (RFC 9562, 5.7): milliseconds first, so that names sort by age."""
    stamp = time_ns() // 1_000_000
    number = stamp << 80 | 7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(UUID(int=number))


def _sync_folder(folder: Path) -> None:
    """Without it a crash of the machine could lose the name of a file whose content is safe."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
