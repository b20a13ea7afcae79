"""The table of links: what its columns show, which of them can be edited, and what was edited, as changes for the API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

import streamlit as st

from services.dashboard.texts import is_web_address, shorten
from services.dashboard.widgets.frames import make_frame
from shared.api import LONGEST_TITLE, LONGEST_URL, LinkState
from shared.client import Link, Recent

if TYPE_CHECKING:
    import pandas as pd

SPARKLINE_DAYS = 14
SELECT_PX, NARROW_PX, WIDE_PX = 92, 85, 160
"""Widths of columns: what is looked at most is seen without scrolling on a screen of 1,280 pixels."""

ROW_PX, MOST_ROWS_SHOWN = 35, 15

SELECT, SHORT, TARGET, TITLE, TAGS, ENABLED = "Select", "Short link", "Target", "Title", "Tags", "On"
CLICKS, HUMANS, RECENT, STATE = "Clicks", "Humans", "Last 14 days", "State"
EXPIRES, CREATED, OWNER = "Expires", "Created", "Owner"

EDITABLE = {TARGET: "url", TITLE: "title", TAGS: "tags", ENABLED: "enabled"}
"""The columns that can be edited, and the fields that they are."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What was changed in one row."""

    link: Link
    changes: dict[str, object]


def link_state(link: Link, now: datetime) -> LinkState:
    """Return the state of a link, as the API calls it."""
    if not link.enabled:
        return "disabled"
    if link.clicks_left == 0 or (link.expires_at is not None and link.expires_at <= now):
        return "expired"
    if link.valid_from is not None and link.valid_from > now:
        return "scheduled"
    return "active"


def link_frame(links: Sequence[Link], recent: Recent | None, selected: frozenset[str], zone: tzinfo) -> "pd.DataFrame":
    """Make the rows of the table.

    Args:
        links: In their order.
        recent: Their clicks by day; None for a key that may not see statistics.
        selected: Names of links whose box is ticked.
        zone: Of the times.
    """
    now = datetime.now(UTC)
    clicks = {item.name: list(item.clicks) for item in recent.items} if recent else {}
    frame = make_frame(
        {
            SELECT: [link.name in selected for link in links],
            SHORT: [link.short_url if is_web_address(link.short_url) else "" for link in links],
            TITLE: [link.title or "" for link in links],
            TARGET: [link.url for link in links],
            CLICKS: [link.clicks for link in links],
            HUMANS: [link.humans for link in links],
            RECENT: [clicks.get(link.name, []) for link in links],
            ENABLED: [link.enabled for link in links],
            TAGS: [list(link.tags) for link in links],
            STATE: [link_state(link, now) for link in links],
            EXPIRES: _times([link.expires_at for link in links], zone),
            CREATED: _times([link.created_at for link in links], zone),
            OWNER: [link.owner for link in links],
        }
    )
    return frame if recent else frame.drop(columns=RECENT)


def link_columns() -> dict[str, Any]:
    """Return how the columns look. Texts of users are plain text; only the short link is a link."""
    column = st.column_config
    return {
        SELECT: column.CheckboxColumn(
            SELECT, width=SELECT_PX, pinned=True, help="Tick links, then choose what to do below"
        ),
        SHORT: column.LinkColumn(SHORT, disabled=True, width=WIDE_PX, display_text=r"^https?://(.*)$"),
        TARGET: column.TextColumn(TARGET, width=WIDE_PX, max_chars=LONGEST_URL, required=True),
        TITLE: column.TextColumn(TITLE, width=WIDE_PX, max_chars=LONGEST_TITLE),
        TAGS: column.ListColumn(TAGS, width=WIDE_PX),
        ENABLED: column.CheckboxColumn(ENABLED, width=NARROW_PX, help="Whether the link works"),
        CLICKS: column.NumberColumn(CLICKS, width="small", disabled=True, format="localized"),
        HUMANS: column.NumberColumn(
            HUMANS, width="small", disabled=True, format="localized", help="Clicks without those of known bots"
        ),
        RECENT: column.LineChartColumn(RECENT, width=110, y_min=0),
        STATE: column.TextColumn(STATE, width="small", disabled=True),
        EXPIRES: column.TextColumn(EXPIRES, width="small", disabled=True),
        CREATED: column.TextColumn(CREATED, width="small", disabled=True),
        OWNER: column.TextColumn(OWNER, width="small", disabled=True),
    }


def ticked_names(
    links: Sequence[Link], selected: frozenset[str], edited: Mapping[int, Mapping[str, Any]]
) -> frozenset[str]:
    """Return the names of the links whose box is ticked: as the table began, with what was clicked since."""
    return frozenset(
        link.name for row, link in enumerate(links) if edited.get(row, {}).get(SELECT, link.name in selected)
    )


def read_edits(links: Sequence[Link], edited: Mapping[int, Mapping[str, Any]]) -> list[Edit]:
    """Return what was changed in each row."""
    edits = []
    for row, cells in edited.items():
        if not 0 <= row < len(links):
            continue
        link = links[row]
        changes = {EDITABLE[name]: _field(EDITABLE[name], value) for name, value in cells.items() if name in EDITABLE}
        changes = {field: value for field, value in changes.items() if value != _now(link, field)}
        if changes:
            edits.append(Edit(link, changes))
    return edits


def _field(field: str, value: Any) -> object:
    if field == "tags":
        return [str(tag) for tag in value or []]
    if field == "enabled":
        return bool(value)
    text = str(value or "").strip()
    return text or None if field == "title" else text


def _now(link: Link, field: str) -> object:
    value: object = getattr(link, field)
    return list(value) if isinstance(value, tuple) else value


def _times(instants: Sequence[datetime | None], zone: tzinfo) -> list[str]:
    return ["" if instant is None else instant.astimezone(zone).strftime("%Y-%m-%d %H:%M") for instant in instants]


def describe(link: Link) -> str:
    """Describe a link in one line, for lists within a dialog."""
    return f"{shorten(link.name, 80)} → {shorten(link.url, 80)}"


def table_height(rows: int) -> int:
    """Return the height of the table in pixels, for at most fifteen rows."""
    return ROW_PX * (min(rows, MOST_ROWS_SHOWN) + 1) + 3
