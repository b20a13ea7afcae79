"""What is stored of clicks, in rows and packed, read in full: what statistics have to add up to."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from services.links.packed.chunks import ChunkClicks, ChunkLinks, cut_visitor
from services.links.packed.days import DayCounts
from shared.api import UNKNOWN, Dimensions
from shared.postgres import Connection

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StoredClick(NamedTuple):
    """A raw click; of its visitor so much as a chunk keeps."""

    at: datetime
    link_id: int
    owner: str
    visitor: bytes | None
    is_bot: bool
    dimensions: Dimensions

    @property
    def day(self) -> date:
        return self.at.astimezone(UTC).date()


@dataclass
class StoredCounts:
    """All counts, by whose they are (a link's id or an owner) and what they are of.

    Attributes:
        slots: whose, start of the quarter of an hour, is_bot.
        values: whose, day, dimension, value, is_bot.
        visitors: whose, day, is_bot.
    """

    slots: Counter[tuple[object, ...]] = field(default_factory=Counter)
    values: Counter[tuple[object, ...]] = field(default_factory=Counter)
    visitors: Counter[tuple[object, ...]] = field(default_factory=Counter)


async def select_raw(conn: Connection) -> list[StoredClick]:
    """Every raw click, out of rows and out of chunks."""
    rows = await conn.fetch(
        """
        SELECT clicked_at, link_id, owner, visitor, is_bot, country, browser, os, device, referrer, language,
               coalesce(variant, 'unknown') FROM clicks
        """
    )
    found = [
        StoredClick(row[0], row[1], row[2], cut_visitor(row[3]), row[4], Dimensions(*list(row)[5:])) for row in rows
    ]
    for chunk in await conn.fetch("SELECT since_us, links, clicks FROM click_chunks"):
        links, clicks = ChunkLinks(chunk["links"]), ChunkClicks(chunk["since_us"], chunk["clicks"])
        for link_id in links.links:
            found += [
                StoredClick(EPOCH + timedelta(microseconds=time_us), link_id, owner, visitor, is_bot, dimensions)
                for owner, places in links.of_link(link_id)
                for _, time_us, is_bot, visitor, dimensions in clicks.rows(places)
            ]
    return found


async def select_counts(conn: Connection) -> StoredCounts:
    """Every count, out of rows and out of packed days."""
    counts = StoredCounts()
    for table in ("link", "owner"):
        for row in await conn.fetch(f"SELECT * FROM click_totals_by_{table}"):
            counts.slots[row[0], row["slot"], row["is_bot"]] += row["clicks"]
        for row in await conn.fetch(f"SELECT * FROM click_dimensions_by_{table}"):
            counts.values[row[0], row["day"], row["dimension"], row["value"], row["is_bot"]] += row["clicks"]
        for row in await conn.fetch(f"SELECT * FROM click_uniques_by_{table}"):
            counts.visitors[row[0], row["day"], row["is_bot"]] += row["visitors"]
    for row in await conn.fetch("SELECT link_id, owner, day, humans, bots, counts FROM click_days"):
        whose, day, packed = row["link_id"] or row["owner"], row["day"], DayCounts(row["counts"])
        assert (row["humans"], row["bots"]) == (packed.clicks(False), packed.clicks(True))
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        for is_bot in (False, True):
            for slot, clicks in packed.slots(is_bot).items():
                counts.slots[whose, midnight + slot * timedelta(minutes=15), is_bot] += clicks
            for name in Dimensions._fields:
                for value, clicks in packed.values(name, is_bot).items():
                    counts.values[whose, day, name, value, is_bot] += clicks
            if visitors := packed.visitors(is_bot):
                counts.visitors[whose, day, is_bot] += visitors
    return counts


def count_raw(clicks: list[StoredClick]) -> StoredCounts:
    """The same counts, made click by click."""
    counts = StoredCounts()
    for whose in ("link_id", "owner"):
        for click in clicks:
            who = getattr(click, whose)
            slot = EPOCH + (click.at - EPOCH) // timedelta(minutes=15) * timedelta(minutes=15)
            counts.slots[who, slot, click.is_bot] += 1
            for name, value in click.dimensions._asdict().items():
                if (name, value) == ("variant", UNKNOWN):
                    continue
                counts.values[who, click.day, name, value, click.is_bot] += 1
        seen = {(getattr(each, whose), each.day, each.is_bot, each.visitor) for each in clicks if each.visitor}
        counts.visitors.update((who, day, is_bot) for who, day, is_bot, _ in seen)
    return counts


async def check_stored(conn: Connection) -> int:
    """Check that every count, and the number in lists, is that of the raw clicks, however they are stored.

    Returns:
        How many raw clicks there are.
    """
    raw = await select_raw(conn)
    assert await select_counts(conn) == count_raw(raw)
    in_lists = {row["id"]: row["clicks"] for row in await conn.fetch("SELECT id, clicks FROM links WHERE clicks > 0")}
    assert in_lists == Counter(click.link_id for click in raw)
    return len(raw)
