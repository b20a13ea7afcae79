"""Counts as Altair charts: pure functions, from data to a chart that is readable on a light and on a dark page.

All data is in the chart itself, as values: Vega shows them as text and evaluates none of them. Times are exact instants,
which the browser draws in its own time zone; what a tooltip says is written here, in the zone of the question.
"""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any

import altair as alt

from services.dashboard.pages.statistics.countries import world_shapes
from services.dashboard.texts import shorten
from shared.api import UNKNOWN, Bots, Interval
from shared.client import Bucket, Dimension, ValueCount
from shared.country_names import country_name

HUMANS, ROBOTS = "Humans", "Bots"
HUMANS_COLOR, BOTS_COLOR, LAND_COLOR = "#3b82f6", "#d97706", "#8b949e"
"""Blue and orange are told apart by all, and both have a contrast of 3:1 to white and to near black (WCAG 1.4.11)."""

OTHER = "All others"
LONGEST_LABEL = 40

_SERIES = alt.Scale(domain=[HUMANS, ROBOTS], range=[HUMANS_COLOR, BOTS_COLOR])
_FORMATS: dict[Interval, str] = {
    "hour": "%a %d %b %Y, %H:%M",
    "day": "%a %d %b %Y",
    "week": "week from %d %b %Y",
    "month": "%B %Y",
}
_BAR_SHARE = 0.85


def clicks_over_time(
    series: Sequence[Bucket], interval: Interval, zone: tzinfo, bots: Bots, end: datetime
) -> alt.Chart:
    """Draw one stacked bar for each interval.

    Args:
        series: The oldest first, without gaps.
        interval: Of the series.
        zone: In which the tooltips tell the time.
        bots: Which of the two parts are shown.
        end: Of the last interval, so that its bar is as wide as its time.
    """
    rows: list[dict[str, str | int]] = []
    ends = [*(each.start for each in series[1:]), end][: len(series)]
    for bucket, after in zip(series, ends, strict=True):
        start, until = _milliseconds(bucket.start), _milliseconds(after)
        below = 0
        for part, clicks in _parts(bucket, bots):
            rows.append(
                {
                    "start": start,
                    "end": start + round(max(until - start, 0) * _BAR_SHARE),
                    "below": below,
                    "above": below + clicks,
                    "when": bucket.start.astimezone(zone).strftime(_FORMATS[interval]),
                    "part": part,
                    "clicks": clicks,
                }
            )
            below += clicks
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        # Stacked here: Vega-Lite stacks no bars that have both ends in time, and only those are as wide as their time.
        .mark_rect()
        .encode(
            x=alt.X("start:T", title=None, axis=alt.Axis(labelOverlap=True, tickCount=6, grid=False)),
            x2="end:T",
            y=alt.Y("below:Q", title=None, axis=_count_axis()),
            y2="above:Q",
            color=_part_color(legend=bots == "include"),
            tooltip=[_text("when", "When"), _text("part", "Who"), _number("clicks", "Clicks")],
        )
        .properties(height=260)
    )
    return chart


def top_values(dimension: Dimension, name: str, bots: Bots) -> alt.Chart:
    """Draw a bar for each of the first values of a dimension, and one for all others."""
    counts = [*dimension.top]
    if dimension.other.clicks:
        other = dimension.other
        counts.append(ValueCount(OTHER, other.clicks, other.humans, other.bots))
    rows = [
        {"value": value_name(count.value, name), "rank": rank, "part": part, "clicks": clicks}
        for rank, count in enumerate(counts)
        for part, clicks in _parts(count, bots)
    ]
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar(cornerRadiusEnd=2)
        .encode(
            y=alt.Y(
                "value:N",
                title=None,
                sort=alt.EncodingSortField("rank", order="ascending"),
                axis=alt.Axis(labelLimit=150, ticks=False, domain=False),
            ),
            x=alt.X("clicks:Q", title=None, stack=True, axis=_count_axis()),
            # The chart over time has the legend.
            color=_part_color(legend=False),
            order=alt.Order("part:N", sort="descending"),
            tooltip=[_text("value", name.title()), _text("part", "Who"), _number("clicks", "Clicks")],
        )
        .properties(height=alt.Step(26))
    )
    return chart


def world_map(dimension: Dimension, bots: Bots) -> alt.LayerChart | None:
    """Colour the countries of the world by their clicks.

    Returns:
        None where no click has a country: then no country database is configured, or nobody came yet.
    """
    rows = [
        {"id": count.value, "name": country_name(count.value), "clicks": clicks}
        for count in dimension.top
        if count.value != UNKNOWN and (clicks := sum(clicks for _, clicks in _parts(count, bots)))
    ]
    if not rows:
        return None
    shapes = alt.InlineData(values=world_shapes(), format=alt.TopoDataFormat(feature="countries", type="topojson"))
    land = alt.Chart(shapes).mark_geoshape(fill=LAND_COLOR, fillOpacity=0.25, stroke=LAND_COLOR, strokeWidth=0.3)
    clicked = (
        alt.Chart(shapes)
        .mark_geoshape(fill=HUMANS_COLOR, stroke=LAND_COLOR, strokeWidth=0.3)
        .transform_lookup("id", from_=alt.LookupData(alt.InlineData(values=rows), "id", ["name", "clicks"]))
        .transform_filter("isValid(datum.clicks)")
        .encode(
            # Depth instead of hue: the page shines through, so few clicks are pale on white and dim on black.
            fillOpacity=alt.FillOpacity("clicks:Q", scale=alt.Scale(type="sqrt", range=[0.35, 1]), legend=None),
            tooltip=[_text("name", "Country"), _number("clicks", "Clicks")],
        )
    )
    chart: alt.LayerChart = alt.LayerChart(layer=[land, clicked]).project("equalEarth").properties(height=260)
    return chart


def value_name(value: str, dimension: str) -> str:
    """Return the name of a dimension's value, for people."""
    if value == UNKNOWN:
        return "Unknown or direct" if dimension == "referrer" else "Unknown"
    return country_name(value) if dimension == "country" else shorten(value, LONGEST_LABEL)


def _parts(count: Bucket | ValueCount, bots: Bots) -> list[tuple[str, int]]:
    parts = []
    if bots != "only":
        parts.append((HUMANS, count.humans))
    if bots != "exclude":
        parts.append((ROBOTS, count.bots))
    return parts


def _count_axis() -> alt.Axis:
    """Make an axis of whole numbers, shortened where they are long."""
    label = "datum.value >= 10000 ? format(datum.value, '~s') : format(datum.value, ',')"
    return alt.Axis(tickMinStep=1, tickCount=4, labelExpr=label)


def _part_color(*, legend: bool) -> alt.Color:
    drawn: Any = alt.Legend(orient="top", title=None) if legend else None
    return alt.Color("part:N", scale=_SERIES, legend=drawn)


def _text(field: str, title: str) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:N", title=title)


def _number(field: str, title: str) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:Q", title=title, format=",")


def _milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
