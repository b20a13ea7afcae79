"""The folder of backups: a dump and the manifest that describes it, named by the time at which the dump began.

`dumps.py` writes the files, `thinning.py` removes them, `restores.py` reads them. A backup is good when both files are
there and belong together. Its manifest says when it was taken. Its name only tells that the file is ours, and the file's own
date counts for nothing.
"""

import asyncio
import fcntl
import hashlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, TextIO

from pydantic import AwareDatetime, TypeAdapter, ValidationError

UNFINISHED = ".part"
PENDING, COPIED = ".pending", ".copied"
"""Suffixes of a file beside a dump: it must still be copied off the host, or was. A backup with neither is not copied."""

CLOCK_TOLERANCE = timedelta(minutes=10)
LONGEST_MANIFEST_BYTES = 2**16
LOCK_STEP_S = 0.1

_stem = re.compile(r"tinyurl-\d{8}T\d{6}\.\d{6}Z")


class BackupRefused(Exception):
    """A backup cannot be taken or used; the message is one line that says why."""


@dataclass(frozen=True)
class Manifest:
    """What a dump holds.

    Attributes:
        began_at: When the dump began, by this host's clock. It holds every link that was acknowledged before.
        schema: The newest migration.
        links: Rows of the table, tombstones included.
        links_sha256: The hash of domain, code, target and state of every link, in order; see `dumps.hash_links`.
        feed_version: The newest change that had been announced.
        postgres: The version of the server.
        roles: The roles to which the dump grants something.
        size: The size of the dump, bytes.
        sha256: The hash of the dump.
        format: The format of this manifest.
    """

    began_at: AwareDatetime
    schema: int
    links: int
    links_sha256: str
    feed_version: int
    postgres: str
    roles: tuple[str, ...]
    size: int
    sha256: str
    format: Literal[1] = 1


_manifest = TypeAdapter(Manifest)


@dataclass(frozen=True)
class Backup:
    """A good backup."""

    dump: Path
    manifest: Manifest

    @property
    def pending(self) -> Path:
        """Is there while it has to be copied off the host."""
        return self.dump.with_suffix(PENDING)

    def is_from_the_future(self, now: datetime) -> bool:
        """Whether it was taken while the clock was wrong, or the clock is wrong now."""
        return self.manifest.began_at > now + CLOCK_TOLERANCE


def is_ours(path: Path) -> bool:
    """Whether a file has a name that `tinyurl backup` gives; all other files are left alone."""
    return _stem.fullmatch(path.stem) is not None


def dump_path(folder: Path, began_at: datetime) -> Path:
    """Return where a dump goes; the names sort by time."""
    return folder / f"tinyurl-{began_at:%Y%m%dT%H%M%S.%fZ}.dump"


def manifest_path(dump: Path) -> Path:
    return dump.with_suffix(".json")


def store_backup(unfinished: Path, dump: Path, manifest: Manifest, *, must_be_copied: bool) -> None:
    """Give a dump its manifest and then its name; each is on the disk before it can be seen."""
    text = manifest_path(dump).with_suffix(f".json{UNFINISHED}")
    text.write_bytes(_manifest.dump_json(manifest, indent=2) + b"\n")
    for path in (text, unfinished):
        _sync(path)
    if must_be_copied:
        dump.with_suffix(PENDING).touch(mode=0o600)
    text.rename(manifest_path(dump))
    unfinished.rename(dump)
    _sync(dump.parent)


def verify_backup(dump: Path) -> Manifest:
    """Read a dump's manifest, and check that the dump is the one that it describes, byte by byte.

    Raises:
        BackupRefused: Something is missing, cut off or altered.
    """
    if not dump.is_file():
        raise BackupRefused(f"there is no file {dump}")
    try:
        manifest = read_manifest(manifest_path(dump))
    except OSError as error:
        raise BackupRefused(f"its manifest {manifest_path(dump)} cannot be read: {error.strerror}") from None
    except ValidationError:
        raise BackupRefused(f"{manifest_path(dump)} is no manifest of a backup") from None
    size = dump.stat().st_size
    if size != manifest.size:
        raise BackupRefused(f"{dump} has {size} bytes, its manifest says {manifest.size}")
    if file_sha256(dump) != manifest.sha256:
        raise BackupRefused(f"{dump} was altered, or the manifest is of another one: the checksums differ")
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        OSError: The file cannot be read.
        ValidationError: It is no manifest.
    """
    with path.open("rb") as file:
        return _manifest.validate_json(file.read(LONGEST_MANIFEST_BYTES))


def good_backups(folder: Path) -> list[Backup]:
    """Return the good backups of a folder, oldest first. Sizes are compared here, because checksums take long."""
    found = []
    for dump in folder.glob("tinyurl-*.dump"):
        try:
            if not is_ours(dump):
                continue
            manifest = read_manifest(manifest_path(dump))
            if dump.is_file() and dump.stat().st_size == manifest.size:
                found.append(Backup(dump, manifest))
        except (OSError, ValidationError):
            continue
    return sorted(found, key=lambda backup: (backup.manifest.began_at, backup.dump.name))


def newest_backup(folder: Path, now: datetime | None = None) -> Backup | None:
    """The newest good backup that is not from the future."""
    now = now or datetime.now(UTC)
    return next((each for each in reversed(good_backups(folder)) if not each.is_from_the_future(now)), None)


def newest_age(folder: Path, now: datetime | None = None) -> timedelta | None:
    """How long ago the newest good backup began; None without one."""
    now = now or datetime.now(UTC)
    newest = newest_backup(folder, now)
    return None if newest is None else max(now - newest.manifest.began_at, timedelta(0))


@asynccontextmanager
async def locked(folder: Path, wait_s: float, what: str = "backup into") -> AsyncIterator[None]:
    """Hold the folder's lock, so that one backup is taken at a time.

    Args:
        folder: It is made if it is not there; only its owner may enter it.
        wait_s: How long to wait for another process.
        what: What is done there, for the message.

    Raises:
        BackupRefused: Another one is still under way.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    with _open_lock(folder) as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if loop.time() >= deadline:
                    raise BackupRefused(f"another {what} {folder} is under way") from None
                await asyncio.sleep(LOCK_STEP_S)
        yield


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_lock(folder: Path) -> TextIO:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return (folder / ".lock").open("a")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
