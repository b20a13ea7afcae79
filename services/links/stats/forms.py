"""What statistics look like to a client: the questions it may ask, the answers it gets, as JSON and as rows of CSV."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.links.stats.scopes import Count
from services.links.web.texts import AskedInstant, TimeZone, Wanted
from shared.api import MOST_LISTED, MOST_VALUES, Bots, Imported, Interval

CSV_HEADER = ("section", "value", "clicks", "humans", "bots", "imported")

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
    imported: Imported = Field("include", description="Whether clicks that came with imported links count.")


class LinkStatsQuery(StatsQuery):
    domain: str | None = Field(None, description="The link's domain; the first one if left out.")


class OwnerStatsQuery(StatsQuery):
    owner: Wanted | None = Field(None, description="For the scope `admin`, which counts everyone's clicks without it.")


class CountOut(BaseModel):
    """`clicks` are those that `bots` of the question asks for; `humans` and `bots` are given whatever it says."""

    clicks: int
    humans: int
    bots: int


class ImportedCountOut(CountOut):
    imported: int = Field(0, description="Of `clicks`, those that were counted elsewhere and came with imported links.")


class TotalsOut(ImportedCountOut):
    unique_visitors: int | None = Field(
        description="The sum of the unique visitors of each UTC day; who comes on two days counts twice. Clicks that reach the "
        "service after the end of the day that follows theirs are in `clicks`, but add no visitor: by then nothing tells "
        "visitors of that day apart. So are imported clicks that came without addresses; null if all clicks of the range did."
    )


class IntervalOut(ImportedCountOut):
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
    undated: CountOut = Field(
        description="Imported clicks that came without a date. No range has them; with those of all days they are all clicks."
    )


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
    imported: Imported = Field("include", description="Whether to list clicks that came with imported links.")
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
    imported: bool = Field(False, description="Whether it was counted elsewhere and came with the link.")


class ClickPage(BaseModel):
    """A page of clicks, the newest first; the last one has no `next_cursor`."""

    items: list[ClickOut]
    next_cursor: str | None


def totals_out(clicks: Count, imported: Count, visitors: Count, bots: Bots) -> TotalsOut:
    seen = visitors.of(bots)
    return TotalsOut(
        **_counted(clicks, bots),
        imported=imported.of(bots),
        # Whoever came with an address was at least one.
        unique_visitors=None if seen == 0 and imported.of(bots) else seen,
    )


def count_out(count: Count, bots: Bots) -> CountOut:
    return CountOut(**_counted(count, bots))


def series_out(
    starts: Sequence[datetime], counts: Mapping[int, Count], imported: Mapping[int, Count], bots: Bots
) -> list[IntervalOut]:
    """Every interval, those without clicks as well.

    Args:
        starts: When they begin.
        counts: By their number, where there are any.
        imported: Of these, those that were imported.
        bots: What `clicks` counts.
    """
    return [
        IntervalOut(
            start=start,
            **_counted(counts.get(number, _NONE), bots),
            imported=imported.get(number, _NONE).of(bots),
        )
        for number, start in enumerate(starts)
    ]


def dimensions_out(found: Mapping[str, Sequence[tuple[str | None, Count]]], bots: Bots) -> dict[str, DimensionOut]:
    """The values of each dimension; those that have no name are the others."""
    dimensions = {}
    for name, values in found.items():
        top, other = [], _NONE
        for value, count in values:
            if value is None:
                other += count
            else:
                top.append(ValueOut(value=value, **_counted(count, bots)))
        dimensions[name] = DimensionOut(top=top, other=count_out(other, bots))
    return dimensions


def csv_rows(stats: StatsOut) -> Iterator[tuple[object, ...]]:
    """The same numbers as rows of `CSV_HEADER`."""
    yield _csv_row("total", "", stats.totals, stats.totals.imported)
    yield "unique_visitors", "", stats.totals.unique_visitors, "", "", ""
    for each in stats.series:
        yield _csv_row("series", each.start.isoformat(), each, each.imported)
    for name, dimension in stats.dimensions.items():
        for value in dimension.top:
            yield _csv_row(name, value.value, value)
        yield _csv_row(name, "", dimension.other)
    yield _csv_row("undated", "", stats.undated, stats.undated.clicks)


def _csv_row(section: str, value: str, count: CountOut, imported: object = "") -> tuple[object, ...]:
    return section, value, count.clicks, count.humans, count.bots, imported


def _counted(count: Count, bots: Bots) -> dict[str, int]:
    return {"clicks": count.of(bots), "humans": count.humans, "bots": count.bots}


_NONE = Count()
