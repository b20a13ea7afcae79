"""Encrypts the copies that leave the host with age (age-encryption.org/v1). This host has the public key only, and cannot
read what it sent.

Whoever has the private key decrypts with `tinyurl restore --key`, or with the program `age` anywhere.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import pyrage
from pyrage import x25519

from deploy.backup.files import BackupRefused

QUEUE_PIECES = 32
"""Pieces of 64 KiB: encryption may be so far ahead of the network."""


def new_key(path: Path) -> str:
    """Draw a key, and write the private half where nobody else can read it.

    Returns:
        The public half, for BACKUP_RECIPIENT.

    Raises:
        BackupRefused: The file exists already.
    """
    identity = x25519.Identity.generate()
    public = str(identity.to_public())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BackupRefused(f"{path} exists; a key that backups were encrypted for must not be lost") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(f"# public key: {public}\n{identity}\n")
    return public


def read_key(text: str) -> list[x25519.Identity]:
    """Read the private keys of a file, in the form that `age-keygen` and `tinyurl backup-key` write.

    Raises:
        BackupRefused: The file has none.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        keys = [x25519.Identity.from_str(line) for line in lines]
    except pyrage.IdentityError:
        keys = []
    if not keys:
        raise BackupRefused("--key must be a file with a line that begins with AGE-SECRET-KEY-1")
    return keys


@asynccontextmanager
async def encrypted(path: Path, recipients: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """Encrypt a file piece by piece, in a thread, as fast as the pieces are taken and no faster.

    Args:
        path: The file.
        recipients: Public keys, separated by commas.

    Raises:
        BackupRefused: A recipient is no public key, or the file cannot be read to its end. The reader of the pieces gets the
            same error, and never a shorter file.
    """
    try:
        keys = [x25519.Recipient.from_str(each.strip()) for each in recipients.split(",")]
    except pyrage.RecipientError:
        raise BackupRefused("BACKUP_RECIPIENT is no public key of age (age1…)") from None
    pieces = _Pieces()
    with path.open("rb") as file:
        work = asyncio.create_task(_encrypt(file, pieces, keys))
        try:
            yield _take(pieces, work)
        finally:
            pieces.close()
            await asyncio.gather(work, return_exceptions=True)


def decrypt(source: Path, target: Path, keys: list[x25519.Identity]) -> None:
    """Decrypt a file.

    Raises:
        BackupRefused: The file is for another key, cut off or altered. Nothing of the result stays on the disk.
    """
    try:
        with source.open("rb") as reader, target.open("wb") as writer:
            pyrage.decrypt_io(reader, writer, keys)
    except pyrage.DecryptError as error:
        target.unlink(missing_ok=True)
        if "matching" in str(error).lower():
            raise BackupRefused(f"{source.name} is not encrypted for the key of --key") from None
        raise BackupRefused(f"{source.name} is cut off, altered or not encrypted: {error}") from None
    except OSError as error:
        target.unlink(missing_ok=True)
        if error.errno is not None:
            raise
        raise BackupRefused(f"{source.name} is cut off or altered: {error}") from None


class _Pieces:
    """What the thread writes to as a file, and the event loop reads from as a bounded queue."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_PIECES)

    def write(self, piece: bytes) -> int:
        if self._is_closed:
            raise BrokenPipeError
        asyncio.run_coroutine_threadsafe(self.queue.put(bytes(piece)), self._loop).result()
        return len(piece)

    def flush(self) -> None:
        """Everything was handed on already."""

    def close(self) -> None:
        self._is_closed = True
        while not self.queue.empty():
            self.queue.get_nowait()


async def _encrypt(file: BinaryIO, pieces: _Pieces, keys: list[x25519.Recipient]) -> None:
    try:
        await asyncio.to_thread(pyrage.encrypt_io, file, pieces, keys)
    except pyrage.EncryptError as error:
        raise BackupRefused(f"{file.name} cannot be read and encrypted: {error}") from None
    finally:
        await pieces.queue.put(b"")


async def _take(pieces: _Pieces, work: "asyncio.Task[None]") -> AsyncIterator[bytes]:
    while piece := await pieces.queue.get():
        yield piece
    await work
