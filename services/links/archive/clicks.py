"""Reads single clicks for an archive: those in rows link by link, packed ones day by day.

`pages.py` asks it for what a span of time holds, so that what it returns is bounded. Chunks are merged all the while, so all
that a span reads of a day is read in one snapshot.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from services.links.archive.rows import (
    select_chunk_numbers,
    select_erased_links,
    select_keys_of_links,
    select_packed_slots,
    select_raw_rows,
)
from services.links.packed import chunks
from services.links.packed.chunks import Chunk, ChunkClicks, ChunkLinks, RawClick, cut_visitor
from services.links.packed.days import DAY_US, FORMAT, IMPORTED, SLOT_US, SLOTS, DayCounts
from services.links.packed.rows import select_chunks
from services.links.sources.archive_lines import ClickLine
from shared.api import UNKNOWN, Dimensions
from shared.postgres import Connection
from shared.records import LinkKey

MOST_CLICKS = 10_000
"""Clicks of a page."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEFORE_ALL = (EPOCH, 0)

Span = tuple[int, int]
"""From a moment up to, and without, another, microseconds since 1970."""


async def read_rows(
    conn: Connection, key: LinkKey, link_id: int, after: tuple[datetime, int], before: datetime
) -> tuple[list[ClickLine], tuple[datetime, int]]:
    """Read clicks of a link that are in rows.

    Returns:
        Them, and behind which the next ones are.
    """
    rows = await select_raw_rows(conn, link_id, after, before, MOST_CLICKS)
    lines = [
        _line(key, row["clicked_at"], row["is_bot"], cut_visitor(row["visitor"]), Dimensions(*list(row)[4:]))
        for row in rows
    ]
    return lines, (rows[-1]["clicked_at"], rows[-1]["id"]) if rows else after


async def find_spans(conn: Connection, owner: str | None, day: date, until: datetime, kind: int) -> list[Span]:
    """Divide a day into spans that have as many packed clicks as a page has room for, as far as its counts tell."""
    slots = [0] * SLOTS
    for packed in await select_packed_slots(conn, owner, day, FORMAT * kind):
        counts = DayCounts(packed)
        for is_bot in (False, True):
            for slot, clicks in counts.slots(is_bot).items():
                slots[slot] += max(0, clicks)
    end = (until - EPOCH) // timedelta(microseconds=1)
    return [(since, min(before, end)) for since, before in _divide(slots, (day - EPOCH.date()).days) if since < end]


async def read_span(conn: Connection, owner: str | None, day: date, span: Span, kind: int) -> list[ClickLine]:
    """Read the packed clicks of an owner, or of all, in a span of a day."""
    lines: list[ClickLine] = []
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        for number in await select_chunk_numbers(conn, day, *span, chunks.FORMAT * kind):
            ((_, chunk),) = await select_chunks(conn, (day - EPOCH.date()).days, [number])
            erased = await select_erased_links(conn, day, number, is_imported=kind == IMPORTED)
            # It takes some hundredths of a second, in which others are served.
            found = await asyncio.to_thread(_open, chunk, owner, span)
            keys = await select_keys_of_links(conn, [link_id for link_id in found if link_id not in erased])
            lines += [_raw_line(keys[each], click, imported=kind == IMPORTED) for each in keys for click in found[each]]
    return lines


def _divide(slots: Sequence[int], day: int) -> Iterator[Span]:
    midnight, since, gathered = day * DAY_US, 0, 0
    for slot, clicks in enumerate(slots):
        if gathered and gathered + clicks > MOST_CLICKS:
            yield midnight + since * SLOT_US, midnight + slot * SLOT_US
            since, gathered = slot, 0
        gathered += clicks
        if gathered > MOST_CLICKS:
            parts = -(-gathered // MOST_CLICKS)
            edges = [midnight + slot * SLOT_US + SLOT_US * part // parts for part in range(parts + 1)]
            yield from pairwise(edges)
            since, gathered = slot + 1, 0
    if since < SLOTS:
        yield midnight + since * SLOT_US, midnight + DAY_US


def _open(chunk: Chunk, owner: str | None, span: Span) -> Mapping[int, list[RawClick]]:
    since, before = span
    links = ChunkLinks(chunk.links)
    wanted = [link_id for link_id, whose, _ in links if owner in (None, whose)]
    if not wanted:
        return {}
    clicks = ChunkClicks(chunk.since_us, chunk.clicks)
    return {
        link_id: [
            each
            for _, places in links.of_link(link_id)
            for each in clicks.rows(places)
            if since <= each.time_us < before
        ]
        for link_id in wanted
    }


def _raw_line(key: LinkKey, click: RawClick, *, imported: bool) -> ClickLine:
    at = EPOCH + timedelta(microseconds=click.time_us)
    return _line(key, at, click.is_bot, click.visitor, click.dimensions, imported=imported)


def _line(
    key: LinkKey, at: datetime, is_bot: bool, visitor: bytes | None, dimensions: Dimensions, *, imported: bool = False
) -> ClickLine:
    domain, code = key
    values = {name: value for name, value in dimensions._asdict().items() if value != UNKNOWN}
    return ClickLine(
        domain=domain,
        code=code,
        at=at,
        bot=is_bot,
        imported=imported,
        visitor=None if visitor is None else visitor.hex(),
        values=values,  # type: ignore[arg-type]  # the fields are the dimensions
    )
