"""One batch of the click journal in one transaction: what was taken before is skipped, what is damaged or refused set aside.

`services/links/click_worker.py` calls `take_batch`. The offset in `click_segments` moves with the clicks, so a batch that is
repeated, overlaps or races is not counted again.
"""

import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from uuid import UUID

import asyncpg
import structlog

from services.links.click_counts import DAY_S, SECOND_US, EnrichedClick
from services.links.click_pipe import LARGEST_BATCH, Taken
from services.links.click_rows import insert_clicks, lock_segment, move_segment, select_keys, select_owners
from services.links.enrichment import Enricher, VisitorHash
from shared.clicks import Click
from shared.journal import Damaged, split_records, unpack_clicks
from shared.postgres import Connection

TRIES_LIMIT = 200
"""Parts of a batch that are tried; then a part that is refused is set aside as a whole. Bounds the time of a bad batch."""

_EARLIEST_S = -62_104_060_800
_LATEST_S = 253_370_764_799
"""The years 2 to 9998: asyncpg takes the ends of Python's calendar for infinity."""

_LARGEST_ID = 2**63 - 1

_NO_REQUEST = (TypeError, ValueError, IndexError, AttributeError)
"""What the parts of a request raise that are not bytes or are missing."""

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


async def take_batch(conn: Connection, enricher: Enricher, segment: UUID, offset: int, data: bytes) -> Taken:
    """Take records that begin at an offset of a segment.

    Raises:
        Refused: They begin beyond what is known.
        asyncpg.PostgresError, OSError: Nothing was taken, or it is not known; send them again.
    """
    async with conn.transaction():
        reached = await lock_segment(conn, segment)
        if offset > reached:
            raise Refused(HTTPStatus.CONFLICT, reached)
        # What was reached is the end of a record, or of a batch with damage, where the next one begins.
        data = data[reached - offset :]
        if not data:
            return Taken(HTTPStatus.OK, reached)
        batch = _read(data)
        stored = await _store(conn, await _enrich(conn, enricher, batch.clicks))
        refused = batch.refused + len(batch.clicks) - len(stored)
        await move_segment(conn, segment, reached + batch.end, refused)
    if refused:
        log.warning("clicks_set_aside", segment=str(segment), offset=reached, refused=refused, stored=len(stored))
    return Taken(
        HTTPStatus.UNPROCESSABLE_ENTITY if batch.is_damaged else HTTPStatus.OK,
        reached + batch.end,
        len(stored),
        refused,
        max((click.time_us for click in stored), default=0) / SECOND_US,
    )


@dataclass(slots=True)
class _Batch:
    """The clicks of a batch as they were sent.

    Attributes:
        end: Of what is taken or set aside.
    """

    clicks: list[Click]
    end: int = 0
    refused: int = 0
    is_damaged: bool = False


def _read(data: bytes) -> _Batch:
    """Read a batch as far as it can be read.

    What is missing of a last record comes with the next batch. A batch that holds no whole record, although a sender sends
    nothing else, is damaged: a wrong length must not stop a segment for ever.
    """
    batch = _Batch([])
    try:
        for end, body in split_records(data):
            batch.end = end
            try:
                batch.clicks += unpack_clicks(body)
            except ValueError:
                batch.refused += 1
        batch.is_damaged = not batch.end
    except Damaged:
        batch.is_damaged = True
    if batch.is_damaged:
        batch.end = len(data)
        batch.refused += 1
    return batch


async def _enrich(conn: Connection, enricher: Enricher, clicks: Iterable[Click]) -> list[EnrichedClick]:
    """Find out what is stored of each; what cannot be a click, or is of a link that does not exist, is left out.

    The checksums were right, so this is what a redirector wrote; one with a defect must not stop the others.
    """
    timed = [
        (round(time * SECOND_US), link_id, request)
        for time, link_id, request in clicks
        if isinstance(time, float | int)
        and _EARLIEST_S <= time <= _LATEST_S
        and type(link_id) is int
        and 0 < link_id <= _LARGEST_ID
    ]
    if not timed:
        return []
    owners = await select_owners(conn, {link_id for _, link_id, _ in timed})
    keys = await select_keys(conn, {time_us // (DAY_S * SECOND_US) for time_us, _, _ in timed})
    hashes = {day: VisitorHash(key) for day, key in keys.items()}
    found = []
    for time_us, link_id, request in timed:
        owner = owners.get(link_id)
        if owner is not None:
            with suppress(*_NO_REQUEST):
                visitor = hashes[time_us // (DAY_S * SECOND_US)].digest(request)
                found.append(EnrichedClick(time_us, link_id, owner, visitor, *enricher.enrich(request)))
    return found


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
    # The client's own: a value that it cannot encode.
    asyncpg.exceptions.DataError,
)
"""The row is to blame (SQLSTATE classes 22 and 23); after anything else the batch comes again."""
