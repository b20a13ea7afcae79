"""The file of an import as a stream: received into parts in Postgres, and read from there, uncompressed.

The service keeps nothing on its disk, so a deployment or another host can go on with any import.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from itertools import chain
from uuid import UUID

from services.links.imports.rows import UNFINISHED
from services.links.sources.found import Hints, UnusableFile
from services.links.web.errors import BodyTooLarge, BodyTooSlow
from shared.postgres import Connection, Pool, connection

PART_BYTES = 1024 * 1024
LARGEST_IMPORT = 4 * 2**30
"""Bytes as they are sent. Ten million visits have some two."""

IDLE_TIMEOUT_S = 30.0
"""The longest pause of a client. nginx drops one that pauses for 5 s."""

BLOCK_BYTES = 256 * 1024
LARGEST_UNCOMPRESSED = 16 * 2**30
FREE_BYTES = 64 * 2**20
MOST_RATIO = 100
"""A file may become so many times larger, once it is larger than `FREE_BYTES`. Exports become 5 to 20 times larger."""

GZIP = b"\x1f\x8b"
FETCH_TIMEOUT_S = 30.0

PARTS_KEPT = "3 days"
"""A file stays for so long after its import is done; after a dry run it can be started until then."""

ABANDONED_AFTER = "7 days"
"""An upload that goes on no more, and a dry run that nobody starts."""

IMPORTS_KEPT = "90 days"
"""Until then an import can be undone."""


_BEGIN_LOCK = 0x696D_7062


class WrongOffset(Exception):
    """The file that was received so far does not end where the client goes on."""


async def receive(pool: Pool, import_id: UUID, stream: AsyncIterator[bytes], start: int) -> int:
    """Add what a client sends to the file of an import; what has come is kept, however it ends.

    Returns:
        The bytes that the file now has.

    Raises:
        WrongOffset: Another upload was faster.
        BodyTooLarge: The file is larger than 4 GiB.
        BodyTooSlow: The client pauses for too long.
    """
    held, size, chunks = 0, start, aiter(stream)
    parts: list[bytes] = []
    try:
        while True:
            try:
                async with asyncio.timeout(IDLE_TIMEOUT_S):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return size + held
            except TimeoutError:
                raise BodyTooSlow(f"Nothing came for {IDLE_TIMEOUT_S:g} seconds. Go on with PATCH.") from None
            parts.append(chunk)
            held += len(chunk)
            if size + held > LARGEST_IMPORT:
                parts.clear()
                raise BodyTooLarge(f"A file must not be larger than {LARGEST_IMPORT} bytes.")
            if held >= PART_BYTES:
                await _append(pool, import_id, size, parts)
                size, held = size + held, 0
    finally:
        if parts:
            await _append(pool, import_id, size, parts)


async def _append(pool: Pool, import_id: UUID, start: int, parts: list[bytes]) -> None:
    data = b"".join(parts)
    parts.clear()
    async with connection(pool) as conn:
        if not await append_part(conn, import_id, start, data):
            raise WrongOffset


class FileConnection:
    """The connection for files. The threads that read take turns at it."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.turn = asyncio.Lock()

    async def read(self, import_id: UUID, start: int) -> bytes | None:
        """Read the part of a file that begins at an offset; None at its end."""
        async with self.turn:
            return await select_part(self._conn, import_id, start)


class SpooledFile:
    """The file of an import, for the thread in which a source reads it.

    Args:
        conn: The connection for files.
        loop: Where the connection lives.
        import_id: The import.
        name: Of the file, as the client has it.
        hints: What the client says about it.
        is_gzip: Whether it was sent with `Content-Encoding: gzip`. A file that is gzip itself is unpacked, too.
    """

    def __init__(
        self,
        conn: FileConnection,
        loop: asyncio.AbstractEventLoop,
        import_id: UUID,
        *,
        name: str,
        hints: Hints,
        is_gzip: bool,
    ) -> None:
        self.name = name.removesuffix(".gz")
        self.hints = hints
        self.bytes_read = 0
        self._conn = conn
        self._loop = loop
        self._import_id = import_id
        self._is_gzip = is_gzip
        self._is_closed = False

    def close(self) -> None:
        """End the reading in a thread, at the next part."""
        self._is_closed = True

    def blocks(self) -> Iterator[bytes]:
        """Read the file from the beginning, in blocks of at most 256 KiB.

        Raises:
            UnusableFile: It is damaged, or becomes too large.
        """
        parts = self._parts()
        blocks = _unpack(parts) if self._is_gzip else parts
        first = next(blocks, b"")
        blocks = chain([first] if first else [], blocks)
        return _unpack(blocks) if first.startswith(GZIP) else blocks

    def _parts(self) -> Iterator[bytes]:
        start = self.bytes_read = 0
        while data := self._fetch(start):
            start += len(data)
            for place in range(0, len(data), BLOCK_BYTES):
                block = data[place : place + BLOCK_BYTES]
                self.bytes_read += len(block)
                yield block

    def _fetch(self, start: int) -> bytes | None:
        if self._is_closed:
            raise TimeoutError("nobody waits for it any more")
        future = asyncio.run_coroutine_threadsafe(self._conn.read(self._import_id, start), self._loop)
        try:
            return future.result(FETCH_TIMEOUT_S)
        except CancelledError:
            raise TimeoutError("the process ends") from None
        finally:
            future.cancel()


def _unpack(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack gzip, also of several members, in blocks of bounded size."""
    packed = unpacked = 0
    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
    for block in blocks:
        packed += len(block)
        data = block
        while data:
            if member.eof:
                data = data.lstrip(b"\0")  # Tapes and `tar` fill up with them.
                if not data:
                    break
                member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                piece = member.decompress(data, BLOCK_BYTES)
            except zlib.error:
                raise UnusableFile(
                    f"The file is damaged: its compression cannot be read {packed:,} bytes after its beginning."
                ) from None
            data = member.unused_data if member.eof else member.unconsumed_tail
            unpacked += len(piece)
            if unpacked > LARGEST_UNCOMPRESSED:
                raise UnusableFile(f"The file is larger than {LARGEST_UNCOMPRESSED:,} bytes uncompressed.")
            if unpacked > FREE_BYTES + MOST_RATIO * packed:
                raise UnusableFile(f"The file becomes more than {MOST_RATIO} times larger: that is no list of links.")
            if piece:
                yield piece
    # With all of its input, the last block may still have output.
    while not member.eof and (piece := member.decompress(b"", BLOCK_BYTES)):
        yield piece
    if not member.eof:
        raise UnusableFile("The file is cut: its compression has no end.")


@dataclass(frozen=True, slots=True)
class Usage:
    """What the imports of an owner take, and those of all owners."""

    imports: int
    size: int
    all_imports: int
    all_size: int


async def lock_imports(conn: Connection) -> None:
    """Keep others from beginning imports until the transaction ends, so that limits hold."""
    await conn.execute("SELECT pg_advisory_xact_lock($1)", _BEGIN_LOCK)


async def select_usage(conn: Connection, owner: str) -> Usage:
    row = await conn.fetchrow(
        """
        SELECT count(*) FILTER (WHERE owner = $1 AND state = ANY ($2)) AS imports,
               coalesce(sum(bytes) FILTER (WHERE owner = $1), 0)::bigint AS size,
               count(*) FILTER (WHERE state = ANY ($2)) AS all_imports, coalesce(sum(bytes), 0)::bigint AS all_size
        FROM imports WHERE EXISTS (SELECT FROM import_parts WHERE import_id = id) OR state = ANY ($2)
        """,
        owner,
        UNFINISHED,
    )
    assert row is not None
    return Usage(**dict(row))


async def append_part(conn: Connection, import_id: UUID, start: int, data: bytes) -> bool:
    """Add to the file of an import that is being received; tell whether it ended there."""
    status = await conn.execute(
        """
        WITH grown AS (
            UPDATE imports SET bytes = bytes + octet_length($3::bytea), changed_at = now()
            WHERE id = $1 AND bytes = $2 AND state = 'receiving' RETURNING id
        )
        INSERT INTO import_parts (import_id, start, data) SELECT id, $2, $3 FROM grown
        """,
        import_id,
        start,
        data,
    )
    return status == "INSERT 0 1"


async def select_part(conn: Connection, import_id: UUID, start: int) -> bytes | None:
    """Read the part of a file that begins at an offset; None at its end."""
    data: bytes | None = await conn.fetchval(
        "SELECT data FROM import_parts WHERE import_id = $1 AND start = $2", import_id, start
    )
    return data


async def has_parts(conn: Connection, import_id: UUID) -> bool:
    """Tell whether the file of an import is still there."""
    return bool(await conn.fetchval("SELECT EXISTS (SELECT FROM import_parts WHERE import_id = $1)", import_id))


async def delete_parts(conn: Connection, import_id: UUID) -> None:
    await conn.execute("DELETE FROM import_parts WHERE import_id = $1", import_id)


async def delete_old_imports(conn: Connection) -> int:
    """Delete files that are no longer needed, and imports that nobody goes on with; a few of either.

    Returns:
        Rows deleted; call it again while there are any.
    """
    statuses = [
        await conn.execute(
            """
            DELETE FROM import_parts WHERE (import_id, start) IN (
                SELECT import_id, start FROM import_parts JOIN imports ON id = import_id
                WHERE (state = 'undone' OR (state IN ('done', 'failed') AND changed_at < now() - $1::text::interval))
                LIMIT 64)
            """,
            PARTS_KEPT,
        ),
        await conn.execute(
            """
            DELETE FROM imports WHERE id IN (
                SELECT id FROM imports
                WHERE (changed_at < now() - $1::text::interval AND (state = 'receiving' OR (state = 'done' AND dry_run)))
                   OR (changed_at < now() - $2::text::interval AND state IN ('done', 'failed', 'undone'))
                LIMIT 1)
            """,
            ABANDONED_AFTER,
            IMPORTS_KEPT,
        ),
    ]
    return sum(int(status.split()[-1]) for status in statuses)
