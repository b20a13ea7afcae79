"""Counts of a link's hour or day, as another shortener has them, and how they become those of a day.

`storing.py` adds them to the days of links and owners. Nothing tells when in the hour or day the clicks were: those of an hour
are in its first quarter, those of a day at noon, which is on the same date in nearly every time zone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from services.links.imported.values import read_country, read_value
from services.links.packed.days import SLOTS, DayCounts
from services.links.sources.found import FoundCounts
from shared.api import UNKNOWN, VARIANT, Dimensions

NOON = SLOTS // 2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SLOT = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class DatedCounts:
    """Clicks of a link in a quarter of an hour.

    Attributes:
        day: Days since 1970.
        slot: The quarter of an hour, from midnight.
        values: By dimension, how many had which value; the rest had unknown ones.
    """

    link_id: int
    owner: str
    day: int
    slot: int
    humans: int
    bots: int
    values: Mapping[str, Mapping[str, int]]

    @property
    def clicks(self) -> int:
        return self.humans + self.bots

    def cut(self, most: int) -> "DatedCounts":
        """The same with so many clicks at most."""
        if self.clicks <= most:
            return self
        humans = min(self.humans, most)
        return replace(self, humans=humans, bots=most - humans)


def read_counts(link_id: int, owner: str, found: FoundCounts) -> DatedCounts:
    """Read the counts of a link."""
    slots = (found.since - _EPOCH) // _SLOT
    day, slot = divmod(slots, SLOTS)
    clicks, values = max(0, found.clicks), dict[str, dict[str, int]]()
    for name, counted in found.values.items():
        if name in Dimensions._fields:
            read = read_country if name == "country" else read_value
            of_name = values.setdefault(name, {})
            for text, count in counted.items():
                value = read(text)
                of_name[value] = of_name.get(value, 0) + max(0, count)
    bots = min(max(0, found.bots), clicks)
    return DatedCounts(link_id, owner, day, slot if found.is_hour else NOON, clicks - bots, bots, values)


def add_dated(counts: DayCounts, added: DatedCounts, most: int) -> None:
    """Add to the counts of a day. The values are those of people as far as there are some, then those of bots."""
    left = {False: added.humans, True: added.bots}
    for is_bot, clicks in left.items():
        if clicks:
            counts.add_slot(added.slot, is_bot, clicks)
    for name in Dimensions._fields:
        rest = dict(left)
        for value, clicks in added.values.get(name, {}).items():
            unseen = clicks
            for is_bot in (False, True):
                taken = min(unseen, rest[is_bot])
                if taken:
                    counts.add_value(name, value, is_bot, taken, most)
                    rest[is_bot] -= taken
                    unseen -= taken
        if name != VARIANT:
            for is_bot, clicks in rest.items():
                if clicks:
                    counts.add_value(name, UNKNOWN, is_bot, clicks, most)
