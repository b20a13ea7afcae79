"""The folder of backups: a dump and the manifest that describes it, named by the time at which the dump began.

`backups.py` writes them, `restores.py` reads them. A backup is good when both files are there and belong together.
"""

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TextIO

from pydantic import TypeAdapter, ValidationError

UNFINISHED = ".part"
LOCK_STEP_S = 0.1


class BackupRefused(Exception):
    """A backup cannot be taken or used; the message is one line that says why."""


@dataclass(frozen=True)
class Manifest:
    """What a dump holds.

    Attributes:
        began_at: Every link that was acknowledged before is in it.
        schema: The newest migration.
        links: Rows of the table, tombstones included.
        links_sha256: Over domain, code, target and state of every link, in order; see `backups.hash_links`.
        feed_version: The newest change that had been announced.
        postgres: Version of the server.
        roles: To whom the dump grants something.
        size: Of the dump, bytes.
        sha256: Of the dump.
        format: Of this manifest.
    """

    began_at: datetime
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


def dump_path(folder: Path, began_at: datetime) -> Path:
    """Where a dump goes; the names sort by time."""
    return folder / f"tinyurl-{began_at:%Y%m%dT%H%M%S.%fZ}.dump"


def manifest_path(dump: Path) -> Path:
    return dump.with_suffix(".json")


def store_backup(unfinished: Path, dump: Path, manifest: Manifest) -> None:
    """Give a dump its manifest and then its name, both on disk before they can be seen."""
    text = manifest_path(dump).with_suffix(f".json{UNFINISHED}")
    text.write_bytes(_manifest.dump_json(manifest, indent=2) + b"\n")
    for path in (text, unfinished):
        _sync(path)
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
        manifest = _manifest.validate_json(manifest_path(dump).read_bytes())
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


def good_backups(folder: Path) -> list[Backup]:
    """The good backups of a folder, oldest first; the size stands for the checksum, which takes long."""
    found = []
    for dump in sorted(folder.glob("tinyurl-*.dump")):
        try:
            manifest = _manifest.validate_json(manifest_path(dump).read_bytes())
        except (OSError, ValidationError):
            continue
        if dump.stat().st_size == manifest.size:
            found.append(Backup(dump, manifest))
    return found


def remove_old_backups(folder: Path, keep: int) -> None:
    """Remove all but the newest good backups, and what interrupted runs left; needs the lock.

    Args:
        folder: Of the backups.
        keep: How many stay, at least one.
    """
    for backup in good_backups(folder)[:-keep]:
        backup.dump.unlink()
    for path in folder.glob(f"tinyurl-*{UNFINISHED}"):
        path.unlink()
    for path in folder.glob("tinyurl-*.json"):
        if not path.with_suffix(".dump").exists():
            path.unlink()


@asynccontextmanager
async def locked(folder: Path, wait_s: float) -> AsyncIterator[None]:
    """Hold the folder's lock, so that one backup is taken at a time.

    Args:
        folder: Made if it is not there; only its owner may enter it.
        wait_s: How long to wait for another one.

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
                    raise BackupRefused(f"another backup into {folder} is under way") from None
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
