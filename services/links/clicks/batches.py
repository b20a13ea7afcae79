"""Takes one batch of the click journal in one transaction. It skips what was taken before, and sets aside what is damaged.

`worker.py` calls `take_batch`. The offset in `click_segments` moves with the clicks, so no click is counted twice if a batch is
repeated, overlaps another one or races with it.
"""

import zlib
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from uuid import UUID

import asyncpg
import structlog

from services.links.clicks.counts import SECOND_US, EnrichedClick
from services.links.clicks.enrichment import Enricher, VisitorHash
from services.links.clicks.pipe import EVERYTHING, LARGEST_BATCH, BatchPart, TakenBatch, WorkerMark
from services.links.clicks.reading import ClickReader, SentBatch, split_batch
from services.links.clicks.rows import insert_clicks, lock_segment, move_segment, select_keys, select_owners
from shared.postgres import Connection

TRIES_LIMIT = 200
"""So many parts of a batch are tried; then a part that is refused is set aside as a whole. This bounds a bad batch's time."""

Store = Callable[[Connection, Sequence[EnrichedClick]], Awaitable[None]]
"""Stores clicks, at least one, and everything that is counted of them."""

log = structlog.get_logger()


class BatchRefused(Exception):
    """The batch cannot be taken as it is, and nothing of it was taken. `status` tells why; `offset` is what is known."""

    def __init__(self, status: HTTPStatus, offset: int = 0) -> None:
        super().__init__(status)
        self.status = status
        self.offset = offset


def decompress(body: bytes) -> bytes:
    """Undo gzip (RFC 1952), one member of at most `LARGEST_BATCH` bytes.

    Raises:
        BatchRefused: The data is larger, or the body is no gzip.
    """
    stream = zlib.decompressobj(wbits=31)
    try:
        data = stream.decompress(body, LARGEST_BATCH + 1)
    except zlib.error:
        raise BatchRefused(HTTPStatus.BAD_REQUEST) from None
    if len(data) > LARGEST_BATCH:
        raise BatchRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if not stream.eof or stream.unused_data:
        raise BatchRefused(HTTPStatus.BAD_REQUEST)
    return data


async def take_batch(
    conn: Connection,
    enricher: Enricher,
    segment: UUID,
    offset: int,
    data: bytes,
    *,
    part: BatchPart = EVERYTHING,
    mark: WorkerMark | None = None,
    store: Store = insert_clicks,
) -> TakenBatch:
    """Take records that begin at an offset of a segment.

    Args:
        conn: A connection of the write service's role.
        enricher: The parsers.
        segment: The segment's name.
        offset: The offset in the segment where the records begin.
        data: The records.
        part: The part of them that is wanted.
        mark: Notes what is done next.
        store: `insert_clicks`, or `pack_clicks`.

    Raises:
        BatchRefused: The records begin beyond what is known.
        MemoryError: Nothing was taken; the mark tells which click took too much.
        asyncpg.PostgresError, OSError: Nothing was taken, or it is not known; send the batch again.
    """
    mark = mark or WorkerMark(bytearray(WorkerMark.SIZE))
    async with conn.transaction():
        reached = await lock_segment(conn, segment)
        if offset > reached:
            raise BatchRefused(HTTPStatus.CONFLICT, reached)
        # `reached` is the end of a record, or of a batch with damage; the next record begins there.
        data = data[reached - offset :]
        if not data:
            return TakenBatch(HTTPStatus.OK, reached)
        batch = split_batch(data, reached, part, mark)
        mark.rest()
        reader = await _prepare(conn, enricher, batch)
        enriched, found = reader.read_batch(batch, part, mark)
        mark.rest()
        if found:
            return TakenBatch(HTTPStatus.ACCEPTED, reached, found=found)
        mark.begin_storing(len(enriched))
        stored = await _store(conn, store, enriched)
        refused = batch.sent - len(stored)
        await move_segment(conn, segment, batch.end, refused)
    if refused:
        log.warning(
            "clicks_set_aside",
            segment=str(segment),
            offset=reached,
            refused=refused,
            stored=len(stored),
            errors=sorted(reader.errors),
        )
    return TakenBatch(
        HTTPStatus.OK if batch.damage_end is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        batch.end,
        len(stored),
        refused,
        max((click.time_us for click in stored), default=0) / SECOND_US,
    )


async def _prepare(conn: Connection, enricher: Enricher, batch: SentBatch) -> ClickReader:
    link_ids = batch.link_ids
    if not link_ids:
        return ClickReader(enricher, {}, {})
    owners = await select_owners(conn, link_ids)
    keys = await select_keys(conn, batch.days)
    return ClickReader(enricher, owners, {day: VisitorHash(key) for day, key in keys.items()})


async def _store(conn: Connection, store: Store, clicks: Sequence[EnrichedClick]) -> list[EnrichedClick]:
    """Store clicks. Halving finds those that Postgres refuses.

    Returns:
        The clicks that were stored.
    """
    stored: list[EnrichedClick] = []
    parts, tries = [clicks] if clicks else [], 0
    while parts:
        part = parts.pop()
        tries += 1
        try:
            async with conn.transaction():
                await store(conn, part)
        except _REFUSALS as error:
            if len(part) > 1 and tries < TRIES_LIMIT:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            else:
                # Neither its text nor its detail, which quote the row.
                log.error("click_refused", clicks=len(part), error=type(error).__name__)
        else:
            stored += part
    return stored


_REFUSALS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    # Too large for an index, or too deep for a stack.
    asyncpg.ProgramLimitExceededError,
    # The client's own: a value that it cannot encode.
    asyncpg.exceptions.DataError,
)
"""Errors for which a row is to blame (SQLSTATE classes 22, 23 and 54). After any other error the batch comes again."""
