"""The newest raw clicks of many links, or of all links of an owner: what foreign APIs call visits.

`clicks.py` pages through those of one link without a bound. Here a page has a number, so everything before it is read, too;
the bound is that only the newest clicks are listed.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime, timedelta
from operator import attrgetter
from typing import NamedTuple

from services.links.packed.chunks import ChunkClicks, ChunkLinks
from services.links.packed.days import FORMAT
from services.links.packed.rows import select_chunk_spans, select_chunks, select_days
from services.links.stats.intervals import EPOCH
from services.links.stats.scopes import Period
from shared.api import Dimensions
from shared.postgres import Connection

ROWS_AT_ONCE = 2_000
CHUNKS_AT_ONCE = 4
DAYS_AT_ONCE = 31

_ANY_CHUNK = (-(2**62), 2**62)


class Visit(NamedTuple):
    """A raw click, with its link."""

    clicked_at: datetime
    link_id: int
    is_bot: bool
    dimensions: Dimensions


class VisitScope(NamedTuple):
    """Whose clicks are meant: those of some links, or if these are None, those of an owner, or if he is None, of all."""

    link_ids: frozenset[int] | None
    owner: str | None = None

    def has(self, link_id: int, owner: str) -> bool:
        if self.link_ids is not None:
            return link_id in self.link_ids
        return self.owner is None or owner == self.owner


async def select_visits(
    conn: Connection, whose: VisitScope, period: Period, *, without_bots: bool, most: int
) -> list[Visit]:
    """Read the newest clicks of a period, the newest first.

    Args:
        conn: In a snapshot.
        whose: Whose clicks.
        period: When they were.
        without_bots: Whether those of bots are left out.
        most: Clicks at most.
    """
    found: list[Visit] = []
    async for days in _spans(conn, whose, period, most):
        span = Period(max(period.since, _midnight(days[-1])), min(period.until, _midnight(days[0]) + _DAY))
        left = most - len(found)
        part = await _select_rows(conn, whose, span, without_bots, left)
        for day in days:
            if len(part) == left and part[-1].clicked_at >= _midnight(day) + _DAY:
                break
            part += await _read_chunks(conn, whose, day, span, without_bots=without_bots, most=left)
            part.sort(key=_clicked_at, reverse=True)
            del part[left:]
        found += part
        if len(found) == most:
            break
    return found


async def _spans(conn: Connection, whose: VisitScope, period: Period, most: int) -> AsyncIterator[list[date]]:
    """The days with clicks, the newest first; so many together that they may have as many clicks as are wanted."""
    condition = "link_id = ANY ($1::bigint[])" if whose.link_ids is not None else "($1::text IS NULL OR owner = $1)"
    owned = "owner = ''" if whose.link_ids is not None else "link_id = 0"
    table = "link" if whose.link_ids is not None else "owner"
    statement = _DAYS.replace("<whose>", condition).replace("<owned>", owned).replace("<table>", table)
    rows = await conn.fetch(statement, _who(whose), period.since, period.until, FORMAT)
    days: list[date] = []
    clicks = 0
    for row in rows:
        days.append(row["day"])
        clicks += row["clicks"]
        if clicks >= most or len(days) == DAYS_AT_ONCE:
            yield days
            days, clicks = [], 0
    if days:
        yield days


async def _select_rows(conn: Connection, whose: VisitScope, span: Period, without_bots: bool, most: int) -> list[Visit]:
    arguments = [_who(whose), span.since, span.until, without_bots, most]
    if whose.link_ids is None:
        condition = "($1::text IS NULL OR owner = $1)"
    elif len(whose.link_ids) == 1:
        # In the order of the index, so no more is read than is wanted.
        condition, arguments[0] = "link_id = $1::bigint", *whose.link_ids
    else:
        condition = "link_id = ANY ($1::bigint[])"
    cursor = await conn.cursor(_ROWS.replace("<whose>", condition), *arguments)
    found: list[Visit] = []
    while rows := await cursor.fetch(ROWS_AT_ONCE):
        found += [Visit(row[0], row[1], row[2], Dimensions(*list(row)[3:])) for row in rows]
    return found


async def _read_chunks(
    conn: Connection, whose: VisitScope, day: date, span: Period, *, without_bots: bool, most: int
) -> list[Visit]:
    """Read a day's clicks out of its chunks, the latest ones first."""
    number = (day - EPOCH.date()).days
    since, until = ((moment - EPOCH) // _MICROSECOND for moment in (span.since, span.until))
    if whose.link_ids is None and whose.owner is None:
        ranges = [_ANY_CHUNK]
    else:
        counted = await select_days(conn, number, whose.link_ids if whose.link_ids is not None else [str(whose.owner)])
        ranges = sorted({each for counts in counted.values() for each in counts.chunks()})
    if not ranges:
        return []
    spans = await select_chunk_spans(conn, number, ranges, since, until)
    found: list[Visit] = []
    for first in range(0, len(spans), CHUNKS_AT_ONCE):
        found.sort(key=_clicked_at, reverse=True)
        del found[most:]
        if len(found) == most and found[-1].clicked_at > EPOCH + timedelta(microseconds=spans[first].until_us):
            break
        chunks = await select_chunks(conn, number, [each.number for each in spans[first : first + CHUNKS_AT_ONCE]])
        for _, chunk in chunks:
            clicks, start = None, 0
            for link_id, owner, count in ChunkLinks(chunk.links):
                places = range(start, start + count)
                start += count
                if not whose.has(link_id, owner):
                    continue
                clicks = clicks or ChunkClicks(chunk.since_us, chunk.clicks)
                found += [
                    Visit(EPOCH + timedelta(microseconds=click.time_us), link_id, click.is_bot, click.dimensions)
                    for click in clicks.rows(places)
                    if since <= click.time_us < until and not (without_bots and click.is_bot)
                ]
            # A chunk takes some 30 ms at most; then other requests run.
            await asyncio.sleep(0)
    return found


def _who(whose: VisitScope) -> Sequence[int] | str | None:
    return whose.owner if whose.link_ids is None else list(whose.link_ids)


def _midnight(day: date) -> datetime:
    return EPOCH + (day - EPOCH.date())


_clicked_at = attrgetter("clicked_at")
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)

_DAYS = """
    SELECT day, sum(clicks)::bigint AS clicks
    FROM (SELECT (slot AT TIME ZONE 'UTC')::date AS day, clicks FROM click_totals_by_<table>
          WHERE <whose> AND slot > $2::timestamptz - interval '15 minutes' AND slot < $3
          UNION ALL
          SELECT day, humans + bots FROM click_days
          WHERE <whose> AND <owned> AND day >= ($2 AT TIME ZONE 'UTC')::date AND day <= ($3 AT TIME ZONE 'UTC')::date
              AND format = $4) AS counted
    GROUP BY day ORDER BY day DESC
"""

_ROWS = """
    SELECT clicked_at, link_id, is_bot, country, browser, os, device, referrer, language, coalesce(variant, 'unknown')
    FROM clicks
    WHERE <whose> AND clicked_at >= $2 AND clicked_at < $3 AND NOT ($4 AND is_bot)
    ORDER BY clicked_at DESC, id DESC LIMIT $5
"""
