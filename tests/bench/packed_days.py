"""Fills a day with the clicks that `stats.py` makes up, packed as the click worker and the upkeep would have left them.

The day's clicks are chunks of a batch each; the upkeep has merged those that make a step, and all of a day that is over. The
counts of its links and of their owner are written once.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from operator import itemgetter

import asyncpg

from services.links.clicks.counts import EnrichedClick
from services.links.packed.chunks import pack_chunk
from services.links.packed.days import MOST_VALUES_OF_LINK, MOST_VALUES_OF_OWNER, DayCounts
from services.links.packed.rows import Counted, insert_chunk, write_days
from services.links.stats.intervals import EPOCH
from shared.api import Dimensions

BATCH = 5_000
MERGED = 13 * BATCH
"""Clicks of a step of the upkeep (`services/links/packed/merging.py`)."""

_TIMEOUT_S = 600

_by_link = itemgetter(1)


def fill_day(url: str, statement: str, day: date) -> None:
    """Make the clicks of a day and store them; for a process of its own.

    Args:
        url: Postgres.
        statement: Makes the clicks, in the order of time: microseconds since 1970, link, owner, visitor, is_bot, dimensions.
        day: The UTC day.
    """
    asyncio.run(_fill_day(url, statement, (day - EPOCH.date()).days))


async def _fill_day(url: str, statement: str, day: int) -> None:
    conn = await asyncpg.connect(
        url,
        timeout=10,
        command_timeout=_TIMEOUT_S,
        server_settings={"work_mem": "256MB", "timezone": "UTC", "jit": "off"},
    )
    async with conn.transaction():
        clicks = [
            EnrichedClick(time_us, link, owner, visitor, is_bot, Dimensions(*values))
            for time_us, link, owner, visitor, is_bot, *values in await conn.fetch(statement)
        ]
        numbers = await _insert_chunks(conn, day, clicks)
        counted = _count(clicks)
        for whose, chunks in numbers.items():
            for number in chunks:
                counted[whose].add_chunk(number)
        await write_days(conn, day, counted)
    await conn.close()


async def _insert_chunks(
    conn: "asyncpg.Connection[asyncpg.Record]", day: int, clicks: Sequence[EnrichedClick]
) -> Mapping[Counted, list[int]]:
    """Returns the chunks that each link's and owner's clicks are in."""
    numbers: dict[Counted, list[int]] = {}
    is_over = day < (datetime.now(UTC) - EPOCH).days
    in_steps: list[EnrichedClick] = []
    for first in range(0, len(clicks), MERGED):
        step = clicks[first : first + MERGED]
        # By time within a link, as the clicks came.
        in_steps += sorted(step, key=_by_link) if is_over or len(step) == MERGED else step
    for first in range(0, len(clicks), BATCH):
        batch = sorted(in_steps[first : first + BATCH], key=_by_link)
        number = await insert_chunk(conn, pack_chunk(day, batch))
        for whose in {click[1] for click in batch} | {click[2] for click in batch}:
            numbers.setdefault(whose, []).append(number)
    return numbers


def _count(clicks: Sequence[EnrichedClick]) -> dict[Counted, DayCounts]:
    counted: dict[Counted, DayCounts] = {}
    for whose, group in groupby(sorted(clicks, key=_by_link), _by_link):
        counted[whose] = _count_of(list(group), MOST_VALUES_OF_LINK)
    by_owner = itemgetter(2)
    for owner, group in groupby(sorted(clicks, key=by_owner), by_owner):
        counted[owner] = _count_of(list(group), MOST_VALUES_OF_OWNER)
    return counted


def _count_of(clicks: Sequence[EnrichedClick], most: int) -> DayCounts:
    counts = DayCounts()
    counts.add_clicks(clicks, most)
    for is_bot in (False, True):
        if visitors := len({click[3] for click in clicks if click[4] is is_bot}):
            counts.add_visitors(is_bot, visitors)
    return counts
