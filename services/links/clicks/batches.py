"""One batch of the click journal in one transaction: what was taken before is skipped, what is damaged or refused set aside.

`worker.py` calls `take_batch`. The offset in `click_segments` moves with the clicks, so a batch that is repeated, overlaps
or races is not counted again.
"""

import zlib
from collections.abc import Sequence
from http import HTTPStatus
from uuid import UUID

import asyncpg
import structlog

from services.links.clicks.counts import SECOND_US, EnrichedClick
from services.links.clicks.enrichment import Enricher, VisitorHash
from services.links.clicks.pipe import EVERYTHING, LARGEST_BATCH, Mark, Part, Taken
from services.links.clicks.reading import ClickReader, SentBatch, split_batch
from services.links.clicks.rows import insert_clicks, lock_segment, move_segment, select_keys, select_owners
from shared.postgres import Connection

TRIES_LIMIT = 200
"""Parts of a batch that are tried; then a part that is refused is set aside as a whole. Bounds the time of a bad batch."""

log = structlog.get_logger()


class Refused(Exception):
    """The batch cannot be taken as it is, and nothing of it was; `status` tells why, `offset` is what is known."""

    def __init__(self, status: HTTPStatus, offset: int = 0) -> None:
        super().__init__(status)
        self.status = status
        self.offset = offset


def decompress(body: bytes) -> bytes:
    """Undo gzip (RFC 1952), one member of at most `LARGEST_BATCH` bytes.

    Raises:
        Refused: It is larger, or it is no gzip.
    """
    stream = zlib.decompressobj(wbits=31)
    try:
        data = stream.decompress(body, LARGEST_BATCH + 1)
    except zlib.error:
        raise Refused(HTTPStatus.BAD_REQUEST) from None
    if len(data) > LARGEST_BATCH:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if not stream.eof or stream.unused_data:
        raise Refused(HTTPStatus.BAD_REQUEST)
    return data


async def take_batch(
    conn: Connection,
    enricher: Enricher,
    segment: UUID,
    offset: int,
    data: bytes,
    *,
    part: Part = EVERYTHING,
    mark: Mark | None = None,
) -> Taken:
    """Take records that begin at an offset of a segment.

    Args:
        conn: Of the write service's role.
        enricher: What tells what a click was.
        segment: Of the journal.
        offset: Where the records begin.
        data: The records.
        part: How much of them is wanted.
        mark: Told what is done, before it is done.

    Raises:
        Refused: They begin beyond what is known.
        MemoryError: Nothing was taken; the mark tells what was too much.
        asyncpg.PostgresError, OSError: Nothing was taken, or it is not known; send them again.
    """
    mark = mark or Mark(bytearray(Mark.SIZE))
    async with conn.transaction():
        reached = await lock_segment(conn, segment)
        if offset > reached:
            raise Refused(HTTPStatus.CONFLICT, reached)
        # What was reached is the end of a record, or of a batch with damage, where the next one begins.
        data = data[reached - offset :]
        if not data:
            return Taken(HTTPStatus.OK, reached)
        batch = split_batch(data, reached, part, mark)
        mark.rest()
        reader = await _prepare(conn, enricher, batch)
        enriched, found = reader.read_batch(batch, part, mark)
        mark.rest()
        if found:
            return Taken(HTTPStatus.ACCEPTED, reached, found=found)
        mark.begin_storing(len(enriched))
        stored = await _store(conn, enriched)
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
    return Taken(
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


async def _store(conn: Connection, clicks: Sequence[EnrichedClick]) -> list[EnrichedClick]:
    """Store clicks; what Postgres refuses is found by halving.

    Returns:
        Those that were stored.
    """
    stored: list[EnrichedClick] = []
    parts, tries = [clicks] if clicks else [], 0
    while parts:
        part = parts.pop()
        tries += 1
        try:
            async with conn.transaction():
                await insert_clicks(conn, part)
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
"""The row is to blame (SQLSTATE classes 22, 23 and 54); after anything else the batch comes again."""
