"""Keeps copies of backups in an object storage: S3 and what speaks its protocol, Google Cloud Storage, Azure.

A backup is two objects there, `….dump.age` and `….json.age`. The manifest is written last, and an object is whole or not
there at all, so whatever has both is a backup. Copying reads, lists and removes nothing: credentials that may only write
are enough.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from deploy.backup.credentials import CREDENTIALS, read_credentials
from deploy.backup.encryption import encrypted
from deploy.backup.files import CLOCK_TOLERANCE, Backup, BackupRefused, dump_path, manifest_path
from deploy.backup.settings import BackupSettings

ENCRYPTED = ".age"
CONNECT_TIMEOUT_S = 10
REQUEST_TIMEOUT_S = 300
"""The deadline of a part of 8 MiB: a line of half a megabit per second is enough."""

RETRIES, RETRY_TIMEOUT_S = 3, 60
PART_BYTES = 8 * 2**20
MOST_PARTS = 9000
PARTS_AT_ONCE = 2
PROGRESS_S = 15
LIST_TIMEOUT_S = 120

Progress = Callable[[str, int, int], None]
"""Called now and then with a name, the bytes that are done, and all bytes."""

_REASONS = {
    "InvalidAccessKeyId": "the key in BACKUP_COPY_CREDENTIALS is not known there",
    "SignatureDoesNotMatch": "the secret in BACKUP_COPY_CREDENTIALS is wrong",
    "NoSuchBucket": "there is no such bucket",
    "AccessDenied": "access denied: check the name of the bucket, and what the credentials may do",
    "RequestTimeTooSkewed": "the clock of this host is wrong",
    "169.254.169.254": "BACKUP_COPY_CREDENTIALS is not set, and this machine has no role of its own",
    "error sending request": "it cannot be reached: check the network, and AWS_ENDPOINT_URL in BACKUP_COPY_CREDENTIALS",
}


@dataclass(frozen=True)
class Copy:
    """A backup in the storage."""

    name: str
    began_at: datetime
    size: int


class Storage:
    """A folder of an object storage.

    Args:
        settings: They hold the credentials.
        url: The folder.
    """

    def __init__(self, settings: BackupSettings, url: str) -> None:
        self.url = url.rstrip("/")
        scheme = url.partition("://")[0]
        if scheme not in CREDENTIALS:
            raise BackupRefused(f"a copy is at {', '.join(f'{each}://…' for each in CREDENTIALS)}, not at {scheme}://")
        config = read_credentials(settings, scheme)
        if scheme == "s3":
            config.setdefault("AWS_REGION", "us-east-1")
        endpoint = config.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL", "")
        try:
            # The library has a type of options for each provider; these are chosen by name above.
            make: Any = from_url
            self._store: ObjectStore = make(
                self.url,
                config=config,
                client_options={
                    "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
                    "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
                    "allow_http": endpoint.startswith("http://"),
                },
                retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_TIMEOUT_S)},
            )
        except (BaseError, ValueError):
            raise BackupRefused(f"BACKUP_COPY_CREDENTIALS are incomplete or malformed for {scheme}://") from None

    async def copy(self, backup: Backup, recipients: str, progress: Progress) -> None:
        """Encrypt a backup and put it there.

        Raises:
            BackupRefused: The storage refuses it or cannot be reached. What was written does not look like a backup.
        """
        for path in (backup.dump, manifest_path(backup.dump)):
            size = path.stat().st_size
            async with encrypted(path, recipients) as pieces:
                try:
                    await obstore.put_async(
                        self._store,
                        path.name + ENCRYPTED,
                        _counted(pieces, path.name, size, progress),
                        chunk_size=max(PART_BYTES, size // MOST_PARTS),
                        max_concurrency=PARTS_AT_ONCE,
                    )
                except BaseError as error:
                    raise self._refused(error) from None
                except FileNotFoundError as error:
                    raise self._refused(error) from None

    async def copies(self) -> list[Copy]:
        """Return the backups there, oldest first: those that have both dump and manifest.

        Raises:
            BackupRefused: They cannot be listed.
        """
        sizes = {}
        try:
            async with asyncio.timeout(LIST_TIMEOUT_S):
                async for found in obstore.list(self._store, chunk_size=1000):
                    sizes.update({each["path"]: each["size"] for each in found})
        except (BaseError, FileNotFoundError) as error:
            raise self._refused(error) from None
        copies = []
        for name, size in sizes.items():
            began_at = _date(name)
            if began_at is not None and manifest_path(Path(name.removesuffix(ENCRYPTED))).name + ENCRYPTED in sizes:
                copies.append(Copy(name.removesuffix(ENCRYPTED), began_at, size))
        return sorted(copies, key=lambda copy: copy.name)

    async def newest(self) -> Copy:
        """Return the newest backup there that is not from the future.

        Raises:
            BackupRefused: There is none.
        """
        limit = datetime.now(UTC) + CLOCK_TOLERANCE
        good = [copy for copy in await self.copies() if copy.began_at <= limit]
        if not good:
            raise BackupRefused(f"there is no backup in {self.url}")
        return good[-1]

    async def download(self, name: str, target: Path, progress: Progress) -> None:
        """Get an object, still encrypted.

        Raises:
            BackupRefused: It is not there, or cannot be read.
        """
        try:
            size = (await obstore.head_async(self._store, name))["size"]
            told = time.monotonic()
            with target.open("wb") as file:
                for start in range(0, size, PART_BYTES):
                    end = min(start + PART_BYTES, size)
                    piece = await obstore.get_range_async(self._store, name, start=start, end=end)
                    await asyncio.to_thread(file.write, piece)
                    if time.monotonic() - told > PROGRESS_S:
                        told = time.monotonic()
                        progress(name, end, size)
        except FileNotFoundError:
            raise BackupRefused(f"there is no {name} in {self.url}") from None
        except BaseError as error:
            raise self._refused(error) from None

    def _refused(self, error: Exception) -> BackupRefused:
        """Say in a line what is wrong, without the library's own text, which may hold a signature."""
        text = str(error)
        known = next((reason for sign, reason in _REASONS.items() if sign in text), None)
        if known is None and isinstance(error, PermissionDeniedError | UnauthenticatedError):
            known = _REASONS["AccessDenied"]
        if known is None and isinstance(error, FileNotFoundError):
            known = _REASONS["NoSuchBucket"]
        return BackupRefused(f"{self.url}: {known or type(error).__name__ + ', which the storage does not explain'}")


async def list_copies(settings: BackupSettings, url: str) -> list[Copy]:
    """Return the backups at a URL, oldest first."""
    return await Storage(settings, url).copies()


def is_url(text: str) -> bool:
    return "://" in text


def split_name(url: str) -> tuple[str, str]:
    """Take the name of a dump off the end of a URL, if one is there."""
    folder, _, name = url.rpartition("/")
    name = name.removesuffix(ENCRYPTED)
    return (folder, name) if _date(name + ENCRYPTED) is not None else (url, "")


def _date(name: str) -> datetime | None:
    """Return when a dump was taken, by the name of its copy; None for any other name."""
    try:
        date = datetime.strptime(name, f"tinyurl-%Y%m%dT%H%M%S.%fZ.dump{ENCRYPTED}").replace(tzinfo=UTC)
    except ValueError:
        return None
    return date if dump_path(Path(), date).name + ENCRYPTED == name else None


async def _counted(pieces: AsyncIterator[bytes], name: str, size: int, progress: Progress) -> AsyncIterator[bytes]:
    done, told = 0, time.monotonic()
    async for piece in pieces:
        yield piece
        done += len(piece)
        if time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            progress(name, min(done, size), size)
