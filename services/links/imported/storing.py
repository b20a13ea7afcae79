"""Stores what links bring along: their totals, and when some of the clicks were, as single visits or as counts.

The process of an import calls `store_imported` in its transaction, which moves its position, so each row counts once. A link's
total is fixed by its source: at first all of it is without a date, and each dated click is taken from there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from operator import itemgetter

from services.links.clicks.counts import EnrichedClick
from services.links.imported.batches import ImportedBatch, ImportedTotal, StoredImport
from services.links.imported.counts import DatedCounts, add_dated
from services.links.imported.keys import VisitorKey
from services.links.packed.chunks import MOST_CLICKS, VISITOR_BYTES, pack_chunk
from services.links.packed.days import DAY_US, IMPORTED, MOST_VALUES_OF_OWNER, DayCounts
from services.links.packed.imported import (
    NO_PEOPLE,
    CountedDay,
    People,
    add_imported,
    add_undated,
    lock_imported_clicks,
    note_imported_visitors,
    select_imported_days,
    select_undated,
    write_imported_days,
    write_undated,
)
from services.links.packed.rows import insert_chunk
from shared.api import FIRST_YEAR
from shared.postgres import Connection

EPOCH = date(1970, 1, 1)
FIRST_DAY = (date(FIRST_YEAR, 1, 1) - EPOCH).days
"""An earlier date is what databases write for none."""


async def store_imported(conn: Connection, batch: ImportedBatch, *, today: date, kept_days: int) -> StoredImport:
    """Store a batch. Links that do not exist are passed over.

    It takes `lock_imported_clicks` first, and locks links last and in their order. So the transaction has not announced changes
    yet, and has locked no links that others know, or has taken that lock before them.

    Args:
        conn: In a transaction, which should end soon: other imports and erasures wait.
        batch: Some ten thousand visits at most.
        today: The UTC day.
        kept_days: For so long raw clicks are kept; of earlier days only counts are stored. 0 keeps all.
    """
    await lock_imported_clicks(conn)
    stored, changed = StoredImport(), await _add_totals(conn, batch.totals)
    if batch.visits or batch.counts:
        accepted = await _accept(conn, batch, stored, (today - EPOCH).days + 1, changed)
        first_raw = (today - EPOCH).days - kept_days if kept_days else FIRST_DAY
        await _store_dated(conn, accepted, batch.key, first_raw)
    await add_imported(conn, changed)
    return stored


@dataclass(slots=True)
class _Accepted:
    """The dated clicks that are stored."""

    visits: list[EnrichedClick] = field(default_factory=list)
    counts: list[DatedCounts] = field(default_factory=list)


async def _add_totals(conn: Connection, totals: Sequence[ImportedTotal]) -> dict[int, People]:
    """Add totals to what is without a date.

    Returns:
        What their links are to be given.
    """
    of_links: dict[int, People] = {}
    of_owners: dict[str, People] = {}
    for total in totals:
        of_owners[total.owner] = of_owners.get(total.owner, NO_PEOPLE).plus(total.people)
        if not total.in_row:
            of_links[total.link_id] = of_links.get(total.link_id, NO_PEOPLE).plus(total.people)
    await add_undated(conn, of_links, of_owners)
    return of_links


async def _accept(
    conn: Connection, batch: ImportedBatch, stored: StoredImport, last_day: int, changed: dict[int, People]
) -> _Accepted:
    """Choose the clicks for which there is room in the totals of their links, and take them from those without a date.

    Args:
        conn: In the transaction that has the lock.
        batch: The batch.
        stored: What becomes of it is added here.
        last_day: Later ones cannot be right.
        changed: What links are to be given; it is added here.
    """
    link_ids = {visit[1] for visit in batch.visits} | {each.link_id for each in batch.counts}
    undated = await select_undated(conn, link_ids, changed)
    room = {link: people.clicks for link, people in undated.items()}
    accepted = _Accepted()
    humans: Counter[int] = Counter()
    bots: Counter[int] = Counter()
    owners: dict[int, str] = {}
    for visit in batch.visits:
        link = visit[1]
        if not FIRST_DAY <= visit[0] // DAY_US <= last_day:
            stored.undated += 1
        elif not room.get(link):
            stored.surplus += 1
        else:
            room[link] -= 1
            owners[link] = visit[2]
            (bots if visit[4] else humans)[link] += 1
            accepted.visits.append(visit)
    for each in batch.counts:
        if not FIRST_DAY <= each.day <= last_day:
            stored.undated += each.clicks
            continue
        fitting = each.cut(room.get(each.link_id, 0))
        stored.surplus += each.clicks - fitting.clicks
        if fitting.clicks:
            room[each.link_id] -= fitting.clicks
            owners[each.link_id] = each.owner
            humans[each.link_id] += fitting.humans
            bots[each.link_id] += fitting.bots
            accepted.counts.append(fitting)
    stored.dated += humans.total() + bots.total()
    left, of_owners = dict[int, People](), dict[str, People]()
    for link, owner in owners.items():
        dated, before = People(humans[link], bots[link]), undated[link]
        left[link] = _take(before, dated)
        taken = left[link].minus(before)
        of_owners[owner] = of_owners.get(owner, NO_PEOPLE).plus(taken)
        changed[link] = changed.get(link, NO_PEOPLE).plus(dated).plus(taken)
    await write_undated(conn, left, batch.import_number)
    await add_undated(conn, {}, of_owners)
    return accepted


def _take(undated: People, dated: People) -> People:
    """Take dated clicks from those without a date. Where one kind is too few, the visits know better who came."""
    humans = max(0, undated.humans - dated.humans - max(0, dated.bots - undated.bots))
    return People(humans, undated.clicks - dated.clicks - humans)


async def _store_dated(conn: Connection, accepted: _Accepted, key: VisitorKey | None, first_raw: int) -> None:
    of_days: dict[CountedDay, list[EnrichedClick]] = {}
    for visit in accepted.visits:
        day = visit[0] // DAY_US
        for whose in (visit[1], visit[2]):
            of_days.setdefault((whose, day), []).append(visit)
    wanted = {*of_days, *((whose, each.day) for each in accepted.counts for whose in (each.link_id, each.owner))}
    counted = await select_imported_days(conn, wanted)
    for place in wanted:
        if place not in counted:
            counted[place] = DayCounts()
    # A link has room for as many values as its owner: what an owner's day names can be taken away by its name.
    for place, visits in of_days.items():
        counted[place].add_clicks(visits, MOST_VALUES_OF_OWNER)
    for each in accepted.counts:
        for whose in (each.link_id, each.owner):
            add_dated(counted[whose, each.day], each, MOST_VALUES_OF_OWNER)
    await _store_raw(conn, [visit for visit in accepted.visits if visit[0] // DAY_US >= first_raw], counted)
    if key is not None:
        owners = {visit[1]: visit[2] for visit in accepted.visits}
        for is_bot in (False, True):
            seen = {
                (visit[0] // DAY_US, visit[1], int.from_bytes(visit[3][:VISITOR_BYTES], "little", signed=True))
                for visit in accepted.visits
                if visit[4] is is_bot and visit[3] is not None
            }
            for place, new in (await note_imported_visitors(conn, key.number, seen, owners)).items():
                counted[place].add_visitors(is_bot, new)
    await write_imported_days(conn, counted)


async def _store_raw(
    conn: Connection, visits: Sequence[EnrichedClick], counted: Mapping[CountedDay, DayCounts]
) -> None:
    in_order = sorted(visits, key=lambda visit: (visit[0] // DAY_US, visit[1]))
    for day, group in groupby(in_order, lambda visit: visit[0] // DAY_US):
        of_day = list(group)
        for first in range(0, len(of_day), MOST_CLICKS):
            part = of_day[first : first + MOST_CLICKS]
            number = await insert_chunk(conn, pack_chunk(day, part), IMPORTED)
            for whose in {*map(_by_link, part), *map(_by_owner, part)}:
                counted[whose, day].add_chunk(number)


_by_link, _by_owner = itemgetter(1), itemgetter(2)
