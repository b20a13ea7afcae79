"""The folder of the click journals, which the redirect processes of a host share. Each process scans it once a second.

`writer.py` calls this in a thread, because everything here may wait for the disk.
"""

import contextlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from uuid import UUID

from services.redirect.journal.segments import SUFFIX, TEMPORARY, Segment, create_segment, lock_file
from shared.journal import HEADER, is_other_format

LEFTOVER_AGE_S = 60
"""A temporary file of this age that nobody locks is what a process left that died while it made a segment."""


@dataclass
class FolderScan:
    """The result of a scan.

    Attributes:
        created: The new segment, if one was wanted and could be made.
        adopted: The segments of processes that have died, which this process now has.
        folder_bytes: The size of all files together; None if it is not known.
        sync_error: The reason why what was written may not be on the disk.
        create_error: The reason why there is no new segment.
    """

    created: Segment | None = None
    adopted: list[Segment] = field(default_factory=list)
    folder_bytes: int | None = None
    sync_error: str | None = None
    create_error: str | None = None


def scan_folder(folder: Path, segments: Sequence[Segment], *, makes: bool, adopts: bool) -> FolderScan:
    """Sync this process's segments, and do what is due in the folder. A step that fails does not stop the others.

    Args:
        folder: The folder.
        segments: The segments of this process.
        makes: Whether to make a new segment.
        adopts: Whether to adopt the segments of processes that have died.
    """
    scan = FolderScan()
    try:
        for segment in segments:
            segment.sync()
    except OSError as error:
        scan.sync_error = str(error)
    if makes:
        try:
            scan.created = create_segment(folder)
        except OSError as error:
            scan.create_error = str(error)
    own = {segment.path for segment in segments} | ({scan.created.path} if scan.created else set())
    with contextlib.suppress(OSError):
        if adopts:
            remove_leftovers(folder)
            scan.adopted = adopt_segments(folder, own)
        scan.folder_bytes = count_bytes(folder)
    return scan


def adopt_segments(folder: Path, own: Collection[Path]) -> list[Segment]:
    """Lock the segments whose processes have died.

    Args:
        folder: The folder.
        own: The segments of this process.
    """
    found = (_adopt(path) for path in sorted(folder.glob("*" + SUFFIX)) if path not in own and _is_name(path.stem))
    return [segment for segment in found if segment is not None]


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of processes that died while they made a segment."""
    for path in folder.glob("*" + TEMPORARY):
        with contextlib.suppress(FileNotFoundError):
            # The age first: even a short lock would be in the way of a process that makes a segment right now.
            if path.stat().st_mtime > time() - LEFTOVER_AGE_S:
                continue
            descriptor = lock_file(path)
            if descriptor is not None:
                path.unlink()
                os.close(descriptor)


def count_bytes(folder: Path) -> int:
    """Returns the size of all files in a folder, of this process and of others.

    Raises:
        OSError: The folder cannot be read.
    """
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                total += entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue
    return total


def _adopt(path: Path) -> Segment | None:
    descriptor = lock_file(path)
    if descriptor is None:
        return None
    header = os.pread(descriptor, len(HEADER), 0)
    if is_other_format(header):
        # A process of that release will ship it.
        os.close(descriptor)
        return None
    size = os.fstat(descriptor).st_size
    return Segment(path, descriptor, end=size, is_complete=True, is_damaged=not HEADER.startswith(header))


def _is_name(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
