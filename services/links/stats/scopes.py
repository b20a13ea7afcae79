"""Whose clicks are asked for and when, and how many there were: what the modules of statistics say to each other."""

from dataclasses import dataclass
from datetime import date, datetime

from shared.api import Bots, Dimensions


@dataclass(frozen=True, slots=True)
class StatsScope:
    """Whose clicks are meant: those of a link, of an owner's links, or of all links if both are None."""

    link_id: int | None = None
    owner: str | None = None


NOBODY = StatsScope(link_id=0)


@dataclass(frozen=True, slots=True)
class Count:
    """Clicks, or visitors, of people and of bots."""

    humans: int = 0
    bots: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.humans + other.humans, self.bots + other.bots)

    def of(self, bots: Bots) -> int:
        """The number that an answer is about."""
        return {"include": self.humans + self.bots, "exclude": self.humans, "only": self.bots}[bots]


@dataclass(frozen=True, slots=True)
class Period:
    """Since and until; the second moment is not part of it."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class DaySpan:
    """UTC days from the first one up to, and without, the second one."""

    first: date
    end: date


@dataclass(frozen=True, slots=True)
class ClickRow:
    """A stored click; `id` tells those of one moment apart."""

    id: int
    clicked_at: datetime
    is_bot: bool
    dimensions: Dimensions
    imported: bool = False
