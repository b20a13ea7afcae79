"""`tinyurl links stats`: who followed a link, or all of them."""

import sys
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from ..counts import Stats
from ..questions import StatsQuestion
from ..words import Bots, Interval
from .instance import Key, Url, asking
from .output import as_json, show_table
from .places import Domain, place_of

BAR = 40


class StatsForm(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def stats_command(
    which: Annotated[
        str | None, typer.Argument(metavar="[LINK]", help="A short URL, DOMAIN/CODE, or a code; all links without one.")
    ] = None,
    *,
    domain: Domain = None,
    start: Annotated[datetime | None, typer.Option("--from", help="Since when; 30 days ago if left out.")] = None,
    end: Annotated[datetime | None, typer.Option("--to", help="Until when; now if left out.")] = None,
    interval: Annotated[Interval, typer.Option(help="Of the series.")] = "day",
    time_zone: Annotated[str, typer.Option(help="Of the days, such as Europe/Berlin.")] = "UTC",
    bots: Annotated[Bots, typer.Option(help="Whether known bots count.")] = "include",
    top: Annotated[int, typer.Option(min=0, max=100, help="Values of each dimension.")] = 5,
    output: Annotated[
        StatsForm, typer.Option(help="`table` for people, `json` or `csv` for programs.")
    ] = StatsForm.TABLE,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show who followed a link, by time, country, browser, system, device, referrer and language.

    Example: tinyurl links stats py --from 2026-01-01 --interval week --time-zone Europe/Berlin
    """
    query = StatsQuestion(
        _in_zone(start, time_zone),
        _in_zone(end, time_zone),
        interval=interval,
        time_zone=time_zone,
        bots=bots,
        top=top,
    )
    with asking("links stats", url, key) as client:
        link = client.link(*place_of(which, domain)) if which else None
        if output is StatsForm.CSV:
            sys.stdout.buffer.write(client.stats_csv(query, link))
            return
        found = client.stats(query, link)
    if output is StatsForm.JSON:
        typer.echo(as_json(asdict(found)))
    else:
        _show_stats(found)


def _in_zone(moment: datetime | None, time_zone: str) -> datetime | None:
    try:
        return None if moment is None else moment.replace(tzinfo=ZoneInfo(time_zone))
    except (ValueError, KeyError):
        raise typer.BadParameter(f"there is no time zone {time_zone}", param_hint="--time-zone") from None


def _show_stats(found: Stats) -> None:
    totals = found.totals
    unique = "unknown" if totals.unique_visitors is None else totals.unique_visitors
    typer.echo(f"clicks {totals.clicks}, humans {totals.humans}, bots {totals.bots}, unique {unique}")
    if totals.imported or found.undated.clicks:
        typer.echo(f"imported {totals.imported} of these, and {found.undated.clicks} without a date")
    most = max((bucket.clicks for bucket in found.series), default=0) or 1
    times = "%Y-%m-%d %H:%M" if found.interval == "hour" else "%Y-%m-%d"
    series = [
        (bucket.start.strftime(times), str(bucket.clicks), "▇" * round(BAR * bucket.clicks / most))
        for bucket in found.series
        if bucket.clicks
    ]
    if series:
        show_table(series, cut=None)
    for name, dimension in found.dimensions.items():
        if dimension.top:
            typer.echo(f"\n{name}")
            show_table([(f"  {count.value}", str(count.clicks)) for count in dimension.top], cut=None)
