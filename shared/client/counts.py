"""The API's answers about clicks, as frozen dataclasses: totals, series, dimensions, single clicks."""

from dataclasses import dataclass
from datetime import datetime

from .words import UNKNOWN, Bots, Interval


@dataclass(frozen=True, slots=True)
class Totals:
    clicks: int
    humans: int
    bots: int
    unique_visitors: int | None
    imported: int = 0


@dataclass(frozen=True, slots=True)
class Bucket:
    """The clicks of one interval of a series."""

    start: datetime
    clicks: int
    humans: int
    bots: int


@dataclass(frozen=True, slots=True)
class ValueCount:
    """The clicks with one value of a dimension."""

    value: str
    clicks: int
    humans: int
    bots: int


@dataclass(frozen=True, slots=True)
class OtherCount:
    """The clicks with all other values together."""

    clicks: int
    humans: int
    bots: int


_NONE = OtherCount(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Dimension:
    """The clicks by value: the first ones, and the rest."""

    top: tuple[ValueCount, ...]
    other: OtherCount

    def first(self, number: int) -> "Dimension":
        """Return the same with fewer values; the rest counts those that are left out."""
        left_out = self.top[number:]
        return Dimension(
            self.top[:number],
            OtherCount(
                self.other.clicks + sum(count.clicks for count in left_out),
                self.other.humans + sum(count.humans for count in left_out),
                self.other.bots + sum(count.bots for count in left_out),
            ),
        )


@dataclass(frozen=True, slots=True)
class Stats:
    """The clicks of a link, or of many, in a span of time.

    Attributes:
        undated: Imported clicks that came without a date; in no span.
    """

    interval: Interval
    time_zone: str
    bots: Bots
    totals: Totals
    series: tuple[Bucket, ...]
    dimensions: dict[str, Dimension]
    undated: OtherCount = _NONE


@dataclass(frozen=True, slots=True)
class Click:
    clicked_at: datetime
    is_bot: bool
    country: str
    browser: str
    os: str
    device: str
    referrer: str
    language: str
    variant: str = UNKNOWN
    imported: bool = False


@dataclass(frozen=True, slots=True)
class Clicks:
    """Clicks, the newest first."""

    items: tuple[Click, ...]


@dataclass(frozen=True, slots=True)
class DailyClicks:
    domain: str
    code: str
    clicks: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.domain}/{self.code}"


@dataclass(frozen=True, slots=True)
class Recent:
    """The clicks of each of some links by day, the oldest first."""

    items: tuple[DailyClicks, ...]
