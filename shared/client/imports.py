"""Moving house: what an import is told, what it says of itself, and a file that is sent until it has arrived."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from random import uniform
from time import sleep
from typing import BinaryIO, Protocol
from uuid import uuid4
from zlib import MAX_WBITS, compressobj

from .calls import Parameters
from .problems import ApiError, Unreachable
from .words import ImportState, OnConflict

PART = 256 * 1024
"""Bytes of a file that are read and sent together."""

PACKING = 3
"""The level: a faster one than the usual, for lists that shrink to a fifth all the same."""
GZIP = MAX_WBITS | 16

MOST_FAILURES = 8
LONGEST_PAUSE_S = 20.0
"""Together the pauses of failures without progress are a minute or two: a service that restarts is back by then."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How a file is understood, and what happens to its links; what is not said is told apart by the service.

    Attributes:
        domains: `FROM=TO` puts the links of a host under another domain, `TO` alone those without a host.
        zone: Of times without one, such as `Europe/Berlin`.
        day_first: How to read `3/4/2024`.
        fold_case: The source did not tell upper from lower case in codes.
        scheme: Of targets without one.
        slashes: What takes the place of `/` in codes.
    """

    format: str | None = None
    filename: str | None = None
    on_conflict: OnConflict | None = None
    dry_run: bool = False
    domains: tuple[str, ...] = ()
    zone: str | None = None
    encoding: str | None = None
    day_first: bool | None = None
    fold_case: bool = False
    scheme: str | None = None
    slashes: str | None = None

    def parameters(self) -> Parameters:
        asked: dict[str, str | list[str] | None] = {
            "format": self.format,
            "filename": self.filename,
            "on_conflict": self.on_conflict,
            "dry_run": "true" if self.dry_run else None,
            "domain": list(self.domains),
            "zone": self.zone,
            "encoding": self.encoding,
            "day_first": None if self.day_first is None else str(self.day_first).lower(),
            "fold_case": "true" if self.fold_case else None,
            "scheme": self.scheme,
            "slashes": self.slashes,
        }
        return {name: value for name, value in asked.items() if value}


@dataclass(frozen=True, slots=True)
class Import:
    """An import, as far as it has come.

    Attributes:
        bytes: That have arrived, of the file as it was sent.
        notices: Rows that were imported with a change; they are among the refused ones.
        kept: Links that an undoing has kept, as they were edited or clicked.
        error: Why it failed.
    """

    id: str
    state: ImportState
    format: str | None = None
    filename: str = ""
    created_at: datetime | None = None
    dry_run: bool = False
    bytes: int = 0
    rows_read: int = 0
    made: int = 0
    found: int = 0
    replaced: int = 0
    refused: int = 0
    notices: int = 0
    visits: int = 0
    kept: int = 0
    rows_per_second: float | None = None
    seconds_left: float | None = None
    error: str | None = None

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "failed", "undone")


def is_packed(name: str) -> bool:
    """Whether a file of this name is packed with gzip, and is no archive of many."""
    return name.endswith(".gz") and not name.endswith(".tar.gz")


@dataclass(frozen=True, slots=True)
class Imports:
    items: tuple[Import, ...]


class ImportClient(Protocol):
    """What `send_file` needs of a client."""

    def start_import(self, import_id: str, options: ImportOptions, content: Iterator[bytes]) -> Import: ...
    def continue_import(self, import_id: str, offset: int, content: Iterator[bytes]) -> Import: ...
    def read_import(self, import_id: str) -> Import: ...


def send_file(
    client: ImportClient,
    file: BinaryIO,
    options: ImportOptions,
    *,
    is_packed: bool = False,
    import_id: str | None = None,
    progress: Callable[[int], None] = lambda sent: None,
    pause: Callable[[float], None] = sleep,
) -> Import:
    """Send a file, packed on the way, and go on where it broke off until all of it has arrived.

    Args:
        client: Sends it.
        file: Can be read again from the beginning.
        options: What is said about it.
        is_packed: The file is one of gzip already, and is sent as it is.
        import_id: A UUID that the caller made, or that of an import whose sending broke off before.
        progress: Is told how many bytes of the file were read.
        pause: Waits so many seconds.

    Raises:
        ApiError: The service refuses the file, or is away for too long.
    """
    import_id = import_id or str(uuid4())
    arrived = _find(client, import_id)
    failures = 0
    while arrived is None or arrived.state == "receiving":
        offset = 0 if arrived is None else arrived.bytes
        parts = _after(offset, (_read if is_packed else _pack)(file, progress))
        try:
            if arrived is None:
                arrived = client.start_import(import_id, options, parts)
            else:
                arrived = client.continue_import(import_id, offset, parts)
        except ApiError as error:
            # 409: an answer was lost, and more of the file has arrived than it seemed.
            if failures == MOST_FAILURES or not (isinstance(error, Unreachable) or error.status in (409, 429)):
                raise
            pause_s = error.retry_after_s or min(0.5 * 2**failures, LONGEST_PAUSE_S) * uniform(0.5, 1)
        else:
            continue
        pause(pause_s)
        failures += 1
        with suppress(Unreachable):
            arrived = _find(client, import_id)
            if arrived is not None and arrived.bytes > offset:
                failures = 0
    return arrived


def _read(file: BinaryIO, progress: Callable[[int], None]) -> Iterator[bytes]:
    file.seek(0)
    size = 0
    while part := file.read(PART):
        yield part
        size += len(part)
        progress(size)


def _pack(file: BinaryIO, progress: Callable[[int], None]) -> Iterator[bytes]:
    """Read a file packed: the same file gives the same bytes each time."""
    packer = compressobj(PACKING, wbits=GZIP)
    for part in _read(file, progress):
        yield packer.compress(part)
    yield packer.flush()


def _after(offset: int, parts: Iterator[bytes]) -> Iterator[bytes]:
    """Leave out what has arrived."""
    for part in parts:
        if rest := part[offset:]:
            yield rest
        offset = max(offset - len(part), 0)


def _find(client: ImportClient, import_id: str) -> Import | None:
    """Return an import, if the service has heard of it."""
    try:
        return client.read_import(import_id)
    except ApiError as error:
        if error.status != 404:
            raise
        return None
