"""The page Statistics: how often links were followed, when, from where and with what; of one link, or of all."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import streamlit as st

from services.dashboard.known import known_domains
from services.dashboard.pages.links.actions import STATISTICS_LINK
from services.dashboard.viewer import viewer_zone
from services.dashboard.widgets.copying import show_copyable
from shared.api import Bots, Interval
from shared.client import ApiError, Client, Key, KeyRefused, Link, StatsQuestion

RANGES: dict[str, tuple[int, Interval]] = {
    "24 hours": (1, "hour"),
    "7 days": (7, "day"),
    "30 days": (30, "day"),
    "90 days": (90, "day"),
    "12 months": (365, "month"),
}
"""Days back from today, and how finely they are drawn; 24 hours go back from now."""

OWN_RANGE = "Own range"
WHO: dict[str, Bots] = {"Everyone": "include", "Humans": "exclude", "Bots": "only"}
REFRESH_S = 5
HOURLY_UP_TO, DAILY_UP_TO, WEEKLY_UP_TO = timedelta(days=3), timedelta(days=120), timedelta(days=730)


@dataclass(frozen=True, slots=True)
class _Span:
    """The range that is asked for. Without an end it goes up to now."""

    days: int | None = None
    first: date | None = None
    last: date | None = None
    interval: Interval = "day"

    def query(self, zone: ZoneInfo, bots: Bots) -> StatsQuestion:
        now = datetime.now(zone)
        midnight = datetime.combine(now.date(), time(), zone)
        start, end = midnight, None
        if self.first is not None and self.last is not None:
            start = datetime.combine(self.first, time(), zone)
            end = min(datetime.combine(self.last + timedelta(days=1), time(), zone), now)
        elif self.days == 1:
            start = now - timedelta(days=1)
        elif self.days is not None:
            start = midnight - timedelta(days=self.days - 1)
        return StatsQuestion(start=start, end=end, interval=self.interval, time_zone=zone.key, bots=bots)


def page(client: Client, key: Key) -> None:
    """Show the page."""
    st.title("Statistics", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        link = _choose_link(client, key)
        owner = None
        if link is None and key.may("admin"):
            owner = st.text_input("Owner", key="statistics_owner", placeholder="Everyone", width=180).strip() or None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        span = _choose_span()
        who = st.segmented_control("Who", list(WHO), default="Everyone", required=True, key="statistics_who")
        live = st.toggle("Live", value=True, key="statistics_live", help=f"Counts anew every {REFRESH_S} seconds")
    if span is None:
        st.info("Choose the first and the last day.")
        return
    if link is not None:
        show_copyable(link.short_url)
        st.text(f"leads to {link.url}")

    # With it comes Altair, which takes 25 MB that a dashboard at rest does not need.
    from services.dashboard.pages.statistics.view import show_statistics  # noqa: PLC0415

    @st.fragment(run_every=REFRESH_S if live else None)
    def counted() -> None:
        show_statistics(client, key, span.query(viewer_zone(), WHO[who]), link, owner)

    counted()


def _choose_link(client: Client, key: Key) -> Link | None:
    """Return the link that is asked for; None for all."""
    if STATISTICS_LINK in st.session_state:
        st.session_state["statistics_name"] = st.session_state.pop(STATISTICS_LINK)
    if not key.may("links:read"):
        return None
    name = st.text_input(
        "Link",
        key="statistics_name",
        placeholder="All links: type a code to see one",
        width=320,
        type="search",
        icon="",
    )
    domain, code = split_name(name or "")
    if not code:
        return None
    try:
        return client.link(code, domain or known_domains(client)[0])
    except ApiError as error:
        if isinstance(error, KeyRefused) or error.status not in {404, 422}:
            raise
        st.error("There is no such link. These are the counts of all links.", icon=":material/error:")
        return None


def split_name(name: str) -> tuple[str, str]:
    """Split a link's name or short URL into its domain, if any, and its code."""
    domain, slash, code = re.sub(r"^https?://", "", name.strip()).partition("/")
    return (re.sub(r":\d{1,5}$", "", domain), unquote(code)) if slash else ("", unquote(domain))


def _choose_span() -> _Span | None:
    """Return the range that is asked for; None while its second day is not chosen yet."""
    name = st.segmented_control("Range", [*RANGES, OWN_RANGE], default="30 days", required=True, key="statistics_range")
    if name != OWN_RANGE:
        days, interval = RANGES[name]
        return _Span(days=days, interval=interval)
    today = datetime.now(viewer_zone()).date()
    chosen = st.date_input(
        "Days",
        value=(today - timedelta(days=6), today),
        max_value=today,
        min_value=date(2000, 1, 1),
        format="YYYY-MM-DD",
        key="statistics_days",
        width=260,
    )
    if not isinstance(chosen, tuple) or len(chosen) != 2:
        return None
    return _Span(first=chosen[0], last=chosen[1], interval=_interval_of(chosen[1] - chosen[0] + timedelta(days=1)))


def _interval_of(length: timedelta) -> Interval:
    if length <= HOURLY_UP_TO:
        return "hour"
    if length <= DAILY_UP_TO:
        return "day"
    return "week" if length <= WEEKLY_UP_TO else "month"
