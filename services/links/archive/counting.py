"""Stores the clicks of an archive as they were there: own ones as own, imported ones as imported, each day whole.

`restoring.py` calls it, in a transaction that has locked the days. Days of owners are added up from those of their links.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from typing import NamedTuple

from services.links.clicks.counts import EnrichedClick
from services.links.clicks.rows import add_to_links
from services.links.packed.chunks import pack_chunk
from services.links.packed.days import IMPORTED, MOST_VALUES_OF_OWNER, OWN, DayCounts
from services.links.packed.imported import (
    NO_PEOPLE,
    CountedDay,
    People,
    add_imported,
    add_undated,
    select_imported_days,
    select_undated,
    write_imported_days,
    write_undated,
)
from services.links.packed.rows import Counted, insert_chunk, select_days, write_days
from services.links.sources.archive_lines import ClickLine, DayLine, LinkLine, TombstoneLine, VisitorsLine
from shared.api import UNKNOWN, Dimensions
from shared.postgres import Connection

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Place(NamedTuple):
    """A link that an import has made, or a tombstone."""

    link_id: int
    owner: str


async def add_totals(conn: Connection, lines: Sequence[tuple[Place, LinkLine | TombstoneLine]]) -> None:
    """Give links the clicks that were imported before. They are without a date, until their days come."""
    of_links = {
        place.link_id: People(line.imported_humans, max(0, line.imported_clicks - line.imported_humans))
        for place, line in lines
    }
    of_owners: dict[str, People] = {}
    for place, _ in lines:
        of_owners[place.owner] = of_owners.get(place.owner, NO_PEOPLE).plus(of_links[place.link_id])
    await add_undated(conn, of_links, of_owners)
    await add_imported(conn, of_links)


async def add_days(conn: Connection, lines: Sequence[tuple[Place, DayLine]]) -> dict[int, int]:
    """Add to the days of links and of their owners, and to the numbers in lists.

    Returns:
        The own clicks of links.
    """
    counted: dict[tuple[bool, date], dict[Counted, DayCounts]] = {}
    wanted: dict[tuple[bool, date], set[Counted]] = {}
    people: dict[bool, dict[int, People]] = {False: {}, True: {}}
    for place, line in lines:
        wanted.setdefault((line.imported, line.day), set()).update(place)
        of_kind = people[line.imported]
        of_kind[place.link_id] = of_kind.get(place.link_id, NO_PEOPLE).plus(
            People(*(sum(slot[kind] for slot in line.slots) for kind in (1, 2)))
        )
    for (imported, day), whose in sorted(wanted.items(), key=itemgetter(0)):
        counted[imported, day] = await _select(conn, day, whose, imported=imported)
    for place, line in lines:
        of_day = counted[line.imported, line.day]
        # A link of the archive may name as many as its owner: imported days do.
        _add_line(of_day.setdefault(place.link_id, DayCounts()), line, MOST_VALUES_OF_OWNER)
        _add_line(of_day.setdefault(place.owner, DayCounts()), line, MOST_VALUES_OF_OWNER)
        _add_visitors(of_day[place.link_id], line.visitors)
    for (imported, day), of_day in counted.items():
        await _write(conn, day, of_day, imported=imported)
    owners = {place.link_id: place.owner for place, _ in lines}
    await _date(conn, people[True], owners)
    ids = sorted(people[False])
    if ids:
        own = [people[False][each] for each in ids]
        await add_to_links(conn, (ids, [each.clicks for each in own], [each.humans for each in own]))
    return {link_id: each.clicks for link_id, each in people[False].items()}


async def add_visitors(conn: Connection, lines: Iterable[tuple[str, VisitorsLine]]) -> None:
    """Add the unique visitors of owners to their days, which no sum of those of their links tells."""
    for owner, line in lines:
        counted = await _select(conn, line.day, {owner}, imported=line.imported)
        _add_visitors(counted.setdefault(owner, DayCounts()), line.visitors)
        await _write(conn, line.day, counted, imported=line.imported)


async def store_clicks(conn: Connection, lines: Sequence[tuple[Place, ClickLine]]) -> None:
    """Store single clicks, which the days count already."""
    of_days: dict[tuple[bool, date], list[EnrichedClick]] = {}
    for place, line in lines:
        time_us = (line.at - EPOCH) // timedelta(microseconds=1)
        visitor = None if line.visitor is None else bytes.fromhex(line.visitor)
        dimensions = Dimensions(**{name: line.values.get(name, UNKNOWN) for name in Dimensions._fields})  # type: ignore[call-overload]  # they are the same
        click = EnrichedClick(time_us, place.link_id, place.owner, visitor, line.bot, dimensions)
        of_days.setdefault((line.imported, line.at.astimezone(UTC).date()), []).append(click)
    for (imported, day), clicks in sorted(of_days.items(), key=itemgetter(0)):
        # A chunk has its clicks in the order of links; those of one link stay in that of the archive.
        chunk = pack_chunk(_number(day), sorted(clicks, key=itemgetter(1)))
        number = await insert_chunk(conn, chunk, IMPORTED if imported else OWN)
        wanted: set[Counted] = {whose for click in clicks for whose in click[1:3]}
        counted = await _select(conn, day, wanted, imported=imported)
        for whose in wanted:
            counted.setdefault(whose, DayCounts()).add_chunk(number)
        await _write(conn, day, counted, imported=imported)


async def _date(conn: Connection, dated: dict[int, People], owners: dict[int, str]) -> None:
    """Take imported clicks that have a day from those without one. An archive that has more of them tells of more clicks."""
    if not dated:
        return
    undated = await select_undated(conn, dated)
    left, surplus, of_owners = dict[int, People](), dict[int, People](), dict[str, People]()
    for link_id, people in dated.items():
        before = undated.get(link_id, NO_PEOPLE)
        left[link_id] = People(max(0, before.humans - people.humans), max(0, before.bots - people.bots))
        taken = before.minus(left[link_id])
        surplus[link_id] = people.minus(taken)
        owner = owners[link_id]
        of_owners[owner] = of_owners.get(owner, NO_PEOPLE).minus(taken)
    await write_undated(conn, left)
    await add_undated(conn, {}, of_owners)
    await add_imported(conn, surplus)


def _add_line(counts: DayCounts, line: DayLine, most: int) -> None:
    for is_bot in (False, True):
        for slot in line.slots:
            if slot[1 + is_bot]:
                counts.add_slot(slot[0], is_bot, slot[1 + is_bot])
        for name, values in line.values.items():
            for value, people, bots in values:
                if clicks := bots if is_bot else people:
                    counts.add_value(name, value, is_bot, clicks, most)


def _add_visitors(counts: DayCounts, visitors: tuple[int, int]) -> None:
    for is_bot in (False, True):
        if visitors[is_bot]:
            counts.add_visitors(is_bot, visitors[is_bot])


async def _select(conn: Connection, day: date, whose: Iterable[Counted], *, imported: bool) -> dict[Counted, DayCounts]:
    if not imported:
        return await select_days(conn, _number(day), whose)
    found = await select_imported_days(conn, [(each, _number(day)) for each in whose])
    return {each: counts for (each, _), counts in found.items()}


async def _write(conn: Connection, day: date, counted: dict[Counted, DayCounts], *, imported: bool) -> None:
    if not imported:
        await write_days(conn, _number(day), counted)
        return
    of_day: dict[CountedDay, DayCounts] = {(whose, _number(day)): counts for whose, counts in counted.items()}
    await write_imported_days(conn, of_day)


def _number(day: date) -> int:
    return (day - EPOCH.date()).days
