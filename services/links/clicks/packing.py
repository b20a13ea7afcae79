"""Stores the clicks of a batch packed: a chunk of raw clicks, and what is added to the days of their links and owners.

`batches.py` calls `pack_clicks` instead of `insert_clicks` where PACKED_CLICKS is on. Visitors are noted, and links are
counted, in the same tables as by `insert_clicks`, so that both can store clicks of one day side by side.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from services.links.clicks.counts import EnrichedClick
from services.links.clicks.rows import add_to_links, note_visitors
from services.links.packed.chunks import MOST_CLICKS, pack_chunk
from services.links.packed.days import DAY_US, MOST_VALUES_OF_LINK, MOST_VALUES_OF_OWNER, DayCounts
from services.links.packed.rows import Counted, insert_chunk, lock_days, select_days, write_days
from shared.postgres import Connection

_by_link = itemgetter(1)
_by_owner = itemgetter(2)


async def pack_clicks(conn: Connection, clicks: Sequence[EnrichedClick]) -> None:
    """Store clicks, at least one, and everything that is counted of them.

    The links come last: their rows are locked until the commit, and an edit waits for that.
    """
    in_order = sorted(clicks, key=_by_link)
    of_days: dict[int, list[EnrichedClick]] = {}
    for click in in_order:
        of_days.setdefault(click[0] // DAY_US, []).append(click)
    await lock_days(conn)
    for day in sorted(of_days):
        await _pack_day(conn, day, of_days[day])
    links = [(link, list(group)) for link, group in groupby(in_order, _by_link)]
    counted = [(link, len(group), len([click for click in group if not click[4]])) for link, group in links]
    await add_to_links(conn, tuple(zip(*counted, strict=True)))


async def _pack_day(conn: Connection, day: int, clicks: Sequence[EnrichedClick]) -> None:
    """Store the clicks of a day, which are in the order of their links."""
    of_links: dict[Counted, list[EnrichedClick]] = {link: list(group) for link, group in groupby(clicks, _by_link)}
    of_owners: dict[Counted, list[EnrichedClick]] = {}
    for click in clicks:
        of_owners.setdefault(click[2], []).append(click)
    kept = await select_days(conn, day, (*of_links, *of_owners))
    counted: dict[Counted, DayCounts] = {}
    for groups, most in ((of_links, MOST_VALUES_OF_LINK), (of_owners, MOST_VALUES_OF_OWNER)):
        for whose, group in groups.items():
            counts = counted[whose] = kept.get(whose) or DayCounts()
            counts.add_clicks(group, most)
    for first in range(0, len(clicks), MOST_CLICKS):
        part = clicks[first : first + MOST_CLICKS]
        number = await insert_chunk(conn, pack_chunk(day, part))
        for whose in {click[1] for click in part} | {click[2] for click in part}:
            counted[whose].add_chunk(number)
    await _note_visitors(conn, day, clicks, counted)
    await write_days(conn, day, counted)


async def _note_visitors(
    conn: Connection, day: int, clicks: Sequence[EnrichedClick], counted: Mapping[Counted, DayCounts]
) -> None:
    owners = {click[1]: click[2] for click in clicks}
    for is_bot in (False, True):
        seen = {(click[1], click[3]) for click in clicks if click[4] is is_bot and click[3] is not None}
        if seen:
            for whose, new in (await note_visitors(conn, day, seen, owners)).items():
                counted[whose].add_visitors(is_bot, new)
