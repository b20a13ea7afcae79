"""Counts on the page Statistics: totals, the course of time, dimensions, the last clicks; drawn anew while it is live."""

from datetime import datetime
from zoneinfo import ZoneInfo

import streamlit as st

from services.dashboard.pages.statistics.charts import clicks_over_time, top_values, value_name, world_map
from services.dashboard.widgets.failures import explain
from services.dashboard.widgets.frames import make_frame
from shared.api import MOST_VALUES
from shared.client import ApiError, Click, Client, Key, Link, Stats, StatsQuestion

SHOWN_VALUES = 10
"""The most values in the bars. More are asked for, so that the map has all countries."""

LAST_CLICKS = 20
TITLES = {
    "referrer": "Referrers",
    "browser": "Browsers",
    "os": "Systems",
    "device": "Devices",
    "language": "Languages",
    "variant": "Rules and splits",
}


def show_statistics(client: Client, key: Key, query: StatsQuestion, link: Link | None, owner: str | None) -> None:
    """Show the counts that answer a question."""
    try:
        stats = client.stats(query.top_of(MOST_VALUES), link, owner)
        last = client.clicks(link, limit=LAST_CLICKS, bots=query.bots).items if link is not None else ()
    except ApiError as error:
        explain(error)
        return
    zone = ZoneInfo(query.time_zone)
    _show_totals(stats)
    if not stats.totals.clicks:
        _show_nothing(stats, key)
        return
    st.altair_chart(
        clicks_over_time(stats.series, stats.interval, zone, stats.bots, query.end or datetime.now(zone)),
        alt="Clicks over time",
        key="chart_time",
    )
    _show_dimensions(stats)
    if last:
        _show_last(last, zone)
    st.download_button(
        "Download as CSV",
        lambda: client.stats_csv(query.top_of(MOST_VALUES), link, owner),
        file_name=f"statistics-{link.code.replace('/', '-')}.csv" if link else "statistics.csv",
        mime="text/csv",
        on_click="ignore",
        icon=":material/download:",
        key="statistics_csv",
    )


def _show_totals(stats: Stats) -> None:
    totals = stats.totals
    grid = st.grid(4, min_column_width=130)
    grid.metric("Clicks", totals.clicks, format="localized", border=True)
    grid.metric("Humans", totals.humans, format="localized", border=True)
    grid.metric("Bots", totals.bots, format="localized", border=True)
    grid.metric(
        "Unique visitors",
        totals.unique_visitors,
        format="localized",
        border=True,
        help="Counted for each day (UTC): who comes on two days counts twice. Unknown for clicks imported without addresses.",
    )
    lines = []
    if totals.imported:
        lines.append(f"{totals.imported:,} of these {totals.clicks:,} clicks came with imported links.")
    if stats.undated.clicks:
        lines.append(f"{stats.undated.clicks:,} more came without a date; they are in no range.")
    if lines:
        st.caption(" ".join(lines))


def _show_nothing(stats: Stats, key: Key) -> None:
    hidden = stats.totals.bots if stats.bots == "exclude" else stats.totals.humans if stats.bots == "only" else 0
    if hidden:
        st.info("Nobody of these came in this range, but others did: choose Everyone.")
    elif key.may("links:write"):
        st.info("Nobody followed a link in this range yet. Share one from the page Links, or choose a longer range.")
    else:
        st.info("Nobody followed a link in this range yet. Choose a longer range.")


def _show_dimensions(stats: Stats) -> None:
    countries = stats.dimensions.get("country")
    if countries is not None and (map_chart := world_map(countries, stats.bots)) is not None:
        st.subheader("Countries", anchor=False)
        st.altair_chart(map_chart, alt="Map of countries by clicks", key="chart_map")
        st.altair_chart(
            top_values(countries.first(SHOWN_VALUES), "country", stats.bots),
            alt="Clicks by country",
            key="chart_country",
        )
    grid = st.grid(2, min_column_width=300)
    for name, title in TITLES.items():
        dimension = stats.dimensions.get(name)
        if dimension is None or not dimension.top:
            continue
        with grid.cell():
            st.subheader(title, anchor=False)
            st.altair_chart(
                top_values(dimension.first(SHOWN_VALUES), name, stats.bots),
                alt=f"Clicks by {name}",
                key=f"chart_{name}",
            )


def _show_last(clicks: tuple[Click, ...], zone: ZoneInfo) -> None:
    st.subheader("Last clicks", anchor=False)
    st.dataframe(
        make_frame(
            {
                "When": [click.clicked_at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S") for click in clicks],
                "Who": ["bot" if click.is_bot else "human" for click in clicks],
                "Referrer": [value_name(click.referrer, "referrer") for click in clicks],
                "Browser": [value_name(click.browser, "browser") for click in clicks],
                "System": [value_name(click.os, "os") for click in clicks],
                "Device": [value_name(click.device, "device") for click in clicks],
                "Language": [value_name(click.language, "language") for click in clicks],
                "Country": [value_name(click.country, "country") for click in clicks],
            }
        ),
        hide_index=True,
        alt="The last clicks of this link, the newest first",
        key="last_clicks",
    )
