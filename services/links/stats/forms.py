"""What statistics look like to a client: the questions it may ask, the answers it gets, as JSON and as rows of CSV."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.links.stats.scopes import Count
from services.links.web.texts import AskedInstant, TimeZone, Wanted
from shared.api import MOST_LISTED, MOST_VALUES, Bots, Interval

CSV_HEADER = ("section", "value", "clicks", "humans", "bots")

Limit = Annotated[int, Field(ge=1, le=1_000)]


class StatsQuery(BaseModel):
    """Which clicks to count, and how."""

    model_config = ConfigDict(extra="forbid")

    since: AskedInstant | None = Field(
        None,
        alias="from",
        description="Rounded down to a quarter of an hour. If left out: midnight, so that `to` is on the 30th day.",
    )
    until: AskedInstant | None = Field(
        None, alias="to", description="Rounded up to a quarter of an hour. If left out: now."
    )
    interval: Interval = Field("day", description="Of the series: at most 2,000 of them.")
    time_zone: TimeZone = Field("UTC", description="Where days begin: a name of the IANA database.")
    bots: Bots = Field("include", description="Whether `clicks` counts them.")
    top: int = Field(10, ge=1, le=MOST_VALUES, description="How many values of each dimension are named.")


class LinkStatsQuery(StatsQuery):
    domain: str | None = Field(None, description="The link's domain; the first one if left out.")


class OwnerStatsQuery(StatsQuery):
    owner: Wanted | None = Field(None, description="For the scope `admin`, which counts everyone's clicks without it.")


class CountOut(BaseModel):
    """`clicks` are those that `bots` of the question asks for; `humans` and `bots` are given whatever it says."""

    clicks: int
    humans: int
    bots: int


class TotalsOut(CountOut):
    unique_visitors: int = Field(
        description="The sum of the unique visitors of each UTC day; who comes on two days counts twice. Clicks that reach the "
        "service after the end of the day that follows theirs are in `clicks`, but add no visitor: by then nothing tells "
        "visitors of that day apart."
    )


class IntervalOut(CountOut):
    start: datetime = Field(description="In the time zone of the question.")


class ValueOut(CountOut):
    value: str


class DimensionOut(BaseModel):
    top: list[ValueOut]
    other: CountOut = Field(description="All values that are not in `top`.")


class StatsOut(BaseModel):
    """Clicks of a range of time; each dimension adds up to the clicks of the range that the dimensions cover, but for
    `variant`, which counts the clicks of links with rules or a split.
    """

    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")
    interval: Interval
    time_zone: str
    bots: Bots
    totals: TotalsOut
    series: list[IntervalOut]
    dimensions: dict[str, DimensionOut]
    dimensions_from: datetime = Field(
        description="Earlier than `from` where the whole UTC day was taken, visitors included, because the raw clicks of its "
        "part are gone or more than 10,000."
    )
    dimensions_to: datetime = Field(description="Later than `to` in the same case.")


class RecentQuery(BaseModel):
    """Which links to count, and how far back."""

    model_config = ConfigDict(extra="forbid")

    link: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=512)]], Field(max_length=MOST_LISTED)
    ] = Field(description="`code`, or `domain/code`; can be repeated.", min_length=1)
    days: int = Field(14, ge=1, le=90, description="Today is the last one.")
    time_zone: TimeZone = "UTC"
    bots: Bots = "include"


class RecentCounts(BaseModel):
    domain: str
    code: str
    clicks: list[int] = Field(description="One number for each of `days`.")


class RecentOut(BaseModel):
    """Clicks by day of many links; those that are not yours or do not exist are left out."""

    days: list[str]
    items: list[RecentCounts]


class ClicksQuery(BaseModel):
    """Which of a link's raw clicks to list."""

    model_config = ConfigDict(extra="forbid")

    domain: str | None = Field(None, description="The link's domain; the first one if left out.")
    since: AskedInstant | None = Field(None, alias="from")
    until: AskedInstant | None = Field(None, alias="to")
    bots: Bots = "include"
    limit: Limit = 100
    cursor: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        None, description="`next_cursor` of the page before."
    )


class ClickOut(BaseModel):
    """A click, as long as it is kept; who it was is not."""

    clicked_at: datetime
    is_bot: bool
    country: str
    browser: str
    os: str
    device: str
    referrer: str
    language: str
    variant: str = Field(description="Which rule or target of a split; `unknown` for links without.")


class ClickPage(BaseModel):
    """A page of clicks, the newest first; the last one has no `next_cursor`."""

    items: list[ClickOut]
    next_cursor: str | None


def totals_out(clicks: Count, visitors: Count, bots: Bots) -> TotalsOut:
    return TotalsOut(clicks=clicks.of(bots), humans=clicks.humans, bots=clicks.bots, unique_visitors=visitors.of(bots))


def series_out(starts: Sequence[datetime], counts: Mapping[int, Count], bots: Bots) -> list[IntervalOut]:
    """Every interval, those without clicks as well.

    Args:
        starts: When they begin.
        counts: By their number, where there are any.
        bots: What `clicks` counts.
    """
    series = []
    for number, start in enumerate(starts):
        count = counts.get(number, _NONE)
        series.append(IntervalOut(start=start, clicks=count.of(bots), humans=count.humans, bots=count.bots))
    return series


def dimensions_out(found: Mapping[str, Sequence[tuple[str | None, Count]]], bots: Bots) -> dict[str, DimensionOut]:
    """The values of each dimension; those that have no name are the others."""
    dimensions = {}
    for name, values in found.items():
        top, other = [], _NONE
        for value, count in values:
            if value is None:
                other += count
            else:
                top.append(ValueOut(value=value, clicks=count.of(bots), humans=count.humans, bots=count.bots))
        dimensions[name] = DimensionOut(
            top=top, other=CountOut(clicks=other.of(bots), humans=other.humans, bots=other.bots)
        )
    return dimensions


def csv_rows(stats: StatsOut) -> Iterator[tuple[object, ...]]:
    """The same numbers as rows of `CSV_HEADER`."""
    yield _csv_row("total", "", stats.totals)
    yield "unique_visitors", "", stats.totals.unique_visitors, "", ""
    for each in stats.series:
        yield _csv_row("series", each.start.isoformat(), each)
    for name, dimension in stats.dimensions.items():
        for value in dimension.top:
            yield _csv_row(name, value.value, value)
        yield _csv_row(name, "", dimension.other)


def _csv_row(section: str, value: str, count: CountOut) -> tuple[object, ...]:
    return section, value, count.clicks, count.humans, count.bots


_NONE = Count()
