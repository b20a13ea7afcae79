"""Reads what an owner has, or everyone, in pages of lines for an archive. Nothing is held while the client reads a page.

`routes.py` writes and sends them. Each link is as it was when its page was read, and each of its days likewise: no snapshot
keeps Postgres from cleaning up for as long as a client reads.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

import asyncpg

from services.links.archive.clicks import BEFORE_ALL, find_spans, read_rows, read_span
from services.links.archive.lines import day_line, domain_line, link_line, tombstone_line
from services.links.archive.rows import (
    select_archived_domains,
    select_archived_files,
    select_archived_links,
    select_chunk_days,
    select_clicked,
    select_day_spans,
    select_next_owner,
    select_owner_days,
    select_packed_days,
    select_slots,
    select_uniques,
    select_values,
)
from services.links.packed import days
from services.links.packed.days import DayCounts
from services.links.sources.archive_lines import DayLine, Line, VisitorsLine
from services.links.web.pace import Pace
from shared.postgres import Connection, Pool, connection

PAGE_LINKS = 100
"""Some 2 ms of work without a pause, as in `services/links/links/exports.py`."""

PAUSE_S = 0.005
"""The pause between two pages is as long as the work of one."""

MOST_COUNT_ROWS = 2_000
"""Rows of counts that are read together; a link that has more of them is read month by month."""

MONTH_DAYS = 31
PAGE_DAYS = 500

ABOVE_ALL_IDS = 2**63 - 1
FIRST_DAY = date(1970, 1, 1)
ALWAYS = date(1, 1, 2), date(9999, 12, 30)

FORMATS = {days.FORMAT * days.OWN: False, days.FORMAT * days.IMPORTED: True}
"""The formats of packed days, and whether they are of imported clicks."""

T = TypeVar("T")
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ArchivePages:
    """The pages of one archive.

    Args:
        pool: Connections for exports.
        pace: The pages are heavy work of the caller.
        caller: Who asks.
        owner: Whose links are wanted; None for those of all, and the domains with them.
        passwords: Whether the hashes of passwords come along.
        raw_until: Single clicks up to this moment come along; None: none do.
    """

    pool: Pool
    pace: Pace
    caller: str
    owner: str | None
    passwords: bool
    raw_until: datetime | None = None

    async def read(self) -> AsyncIterator[Sequence[Line]]:
        """Read page after page."""
        if self.owner is None:
            async for page in self._domains():
                yield page
        async for owner in self._owners():
            for is_deleted in (False, True):
                async for page in self._links(owner, is_deleted=is_deleted):
                    yield page
            async for page in self._visitors(owner):
                yield page
        if self.raw_until is not None:
            async for page in self._clicks(self.raw_until):
                yield page

    async def _owners(self) -> AsyncIterator[str]:
        if self.owner is not None:
            yield self.owner
            return
        owner: str | None = ""
        while (owner := await self._ask(select_next_owner, owner)) is not None:
            yield owner

    async def _domains(self) -> AsyncIterator[Sequence[Line]]:
        for row in await self._ask(select_archived_domains):
            yield [domain_line(row, await self._ask(select_archived_files, row["domain"]))]

    async def _rows_of(self, owner: str, *, is_deleted: bool) -> AsyncIterator[list[asyncpg.Record]]:
        before_id = ABOVE_ALL_IDS
        while rows := await self._ask(
            select_archived_links, owner, is_deleted=is_deleted, before_id=before_id, limit=PAGE_LINKS
        ):
            yield rows
            before_id = rows[-1]["id"]

    async def _links(self, owner: str, *, is_deleted: bool) -> AsyncIterator[Sequence[Line]]:
        """Links, or tombstones, each page with the days of its links behind it."""
        async for rows in self._rows_of(owner, is_deleted=is_deleted):
            yield [tombstone_line(row) if is_deleted else link_line(row, passwords=self.passwords) for row in rows]
            # A link without clicks has no days. It is what most links of a large import are.
            keys = {row["id"]: (row["domain"], row["code"]) for row in rows if row["clicks"]}
            spans = await self._ask(select_day_spans, list(keys)) if keys else {}
            for link_ids, first, last in _groups(spans):
                if lines := await self._ask(_read_days, {each: keys[each] for each in link_ids}, first, last):
                    yield lines

    async def _visitors(self, owner: str) -> AsyncIterator[Sequence[Line]]:
        day = FIRST_DAY - timedelta(days=1)
        while rows := await self._ask(select_owner_days, owner, day, PAGE_DAYS, list(FORMATS)):
            found: dict[tuple[date, bool], tuple[int, int]] = {}
            for day, format_, counts, people, bots in rows:
                packed = DayCounts(counts)
                before = found.get((day, format_ < 0), (0, 0))
                seen = before[0] + people + packed.visitors(False), before[1] + bots + packed.visitors(True)
                found[day, format_ < 0] = seen
            yield [
                VisitorsLine(owner=owner, day=day, imported=imported, visitors=seen)
                for (day, imported), seen in found.items()
                if seen != (0, 0)
            ]

    async def _clicks(self, until: datetime) -> AsyncIterator[Sequence[Line]]:
        """Single clicks, behind all days: first those in rows, then packed ones."""
        async for owner in self._owners():
            for is_deleted in (False, True):
                async for links in self._rows_of(owner, is_deleted=is_deleted):
                    keys = {row["id"]: (row["domain"], row["code"]) for row in links if row["clicks"]}
                    for link_id in await self._ask(select_clicked, list(keys)) if keys else ():
                        lines, after = await self._ask(read_rows, keys[link_id], link_id, BEFORE_ALL, until)
                        while lines:
                            yield lines
                            lines, after = await self._ask(read_rows, keys[link_id], link_id, after, until)
        for day in await self._ask(select_chunk_days):
            for kind in days.EVERYTHING:
                for span in await self._ask(find_spans, self.owner, day, until, kind):
                    yield await self._ask(read_span, self.owner, day, span, kind)

    async def _ask(self, select: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
        """Ask Postgres once: a step of the caller's heavy work, with a rest after it."""
        await asyncio.sleep(PAUSE_S)
        async with self.pace.step(self.caller), connection(self.pool) as conn:
            return await select(conn, *arguments, **options)


def _groups(spans: Mapping[int, tuple[int, date, date]]) -> Iterator[tuple[list[int], date, date]]:
    """Put links together whose counts can be read at once; those of a large one are read month by month."""
    together: list[int] = []
    size = 0
    for link_id, (rows, first, last) in spans.items():
        if rows > MOST_COUNT_ROWS:
            for since in range(first.toordinal(), last.toordinal() + 1, MONTH_DAYS):
                yield [link_id], date.fromordinal(since), date.fromordinal(since + MONTH_DAYS - 1)
            continue
        if size + rows > MOST_COUNT_ROWS:
            yield together, *ALWAYS
            together, size = [], 0
        together.append(link_id)
        size += rows
    if together:
        yield together, *ALWAYS


async def _read_days(conn: Connection, keys: Mapping[int, Key], first: date, last: date) -> list[DayLine]:
    """Read the days of some links, packed ones and those in rows together, in one snapshot."""
    link_ids = list(keys)
    found: dict[tuple[int, date, bool], DayCounts] = {}
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        for format_, imported in FORMATS.items():
            for link_id, day, packed in await select_packed_days(conn, link_ids, first, last, format_):
                found[link_id, day, imported] = DayCounts(packed)
        for link_id, day, slot, is_bot, clicks in await select_slots(conn, link_ids, first, last):
            found.setdefault((link_id, day, False), DayCounts()).add_slot(slot, is_bot, clicks)
        for link_id, day, dimension, value, is_bot, clicks in await select_values(conn, link_ids, first, last):
            counts = found.setdefault((link_id, day, False), DayCounts())
            counts.add_value(dimension, value, is_bot, clicks, days.MOST_VALUES_OF_OWNER)
        for link_id, day, is_bot, visitors in await select_uniques(conn, link_ids, first, last):
            found.setdefault((link_id, day, False), DayCounts()).add_visitors(is_bot, visitors)
    return [
        day_line(keys[link_id], day, counts, imported=imported)
        for (link_id, day, imported), counts in sorted(found.items(), key=lambda item: item[0])
    ]
