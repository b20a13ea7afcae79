"""The page Links: find links, edit them in the table, and act on some of them. Create many and Export are tabs of their own."""

from dataclasses import dataclass, field

import streamlit as st

from services.dashboard.pages.links.actions import show_actions, show_dialog
from services.dashboard.pages.links.bulk import show_bulk
from services.dashboard.pages.links.export import show_export
from services.dashboard.pages.links.filter import draw_filter, wanted_links
from services.dashboard.pages.links.table import (
    EDITABLE,
    OWNER,
    ROW_PX,
    SELECT,
    SPARKLINE_DAYS,
    Edit,
    link_columns,
    link_frame,
    read_edits,
    table_height,
    ticked_names,
)
from services.dashboard.texts import format_count, plain
from services.dashboard.viewer import viewer_zone
from services.dashboard.widgets.inputs import errors_of
from shared.client import ApiError, Client, Key, KeyRefused, Link, LinkQuestion, Page, Unreachable


@dataclass
class _ListState:
    """Where in the list somebody is, and what the last edit said."""

    asked: tuple[object, ...] = ()
    cursors: list[str] = field(default_factory=list)
    """The cursors of the pages before this one and of this one. The first page has none."""
    shown: tuple[Link, ...] = ()
    """The links in the table, at the versions that were shown. Edits are based on these versions."""
    selected: frozenset[str] = frozenset()
    """The names of the links that were ticked when the table was made."""
    round: int = 0
    """Counts the tables: another page and a stored edit make a new one."""
    told: list[tuple[str, str]] = field(default_factory=list)


def page(client: Client, key: Key) -> None:
    """Show the page."""
    st.title("Links", anchor=False)
    state: _ListState = st.session_state.setdefault("links", _ListState())
    names = ["All links", *(["Create many"] if key.may("links:write") else []), "Export"]
    tabs = dict(zip(names, st.tabs(names, key="links_tabs", on_change="rerun"), strict=True))
    for name, tab in tabs.items():
        if tab.open:
            with tab:
                _show_tab(client, key, state, name)


def _show_tab(client: Client, key: Key, state: _ListState, name: str) -> None:
    if name == "Create many":
        show_bulk(client)
    elif name == "Export":
        show_export(client, wanted_links(key))
    else:
        _show_links(client, key, state)


def _show_links(client: Client, key: Key, state: _ListState) -> None:
    sort, size = draw_filter(client, key)
    wanted = wanted_links(key)
    ticked = _take_edits(client, key, state)
    if state.asked != (wanted, sort, size):
        state.asked, state.cursors = (wanted, sort, size), []
        ticked = _begin_anew(state, frozenset())
    for kind, text in state.told:
        (st.error if kind == "error" else st.success)(text)
    state.told = []
    found = client.links(wanted, sort=sort, limit=size, cursor=state.cursors[-1] if state.cursors else None)
    if not found.items:
        _show_nothing(wanted, state)
        return
    if [link.name for link in found.items] != [link.name for link in state.shown]:
        # The browser knows rows only by their number, and these are other links now.
        _begin_anew(state, ticked)
    state.shown = found.items
    _show_table(client, key, state)
    _show_pager(state, found)
    show_actions(client, key, [link for link in found.items if link.name in ticked])
    show_dialog(client, key)


def _show_nothing(wanted: LinkQuestion, state: _ListState) -> None:
    if wanted != LinkQuestion():
        st.info("No link is like this. Take a word out of the search, or choose another tag or state.")
    elif state.cursors:
        st.info("This page is empty by now.")
        _show_pager(state, Page((), None))
    else:
        st.info("There are no links yet. Make the first one on the page Shorten, or many at once under Create many.")


def _take_edits(client: Client, key: Key, state: _ListState) -> frozenset[str]:
    """Store what was edited in the table since it was shown.

    Returns:
        The names of the links that are ticked.
    """
    cells = st.session_state.get(_table_key(state), {}).get("edited_rows", {})
    edited = {int(row): values for row, values in cells.items()}
    ticked = ticked_names(state.shown, state.selected, edited)
    edits = read_edits(state.shown, edited)
    if edits and key.may("links:write"):
        state.told = _store(client, edits)
        _begin_anew(state, ticked)
    return ticked


def _begin_anew(state: _ListState, selected: frozenset[str]) -> frozenset[str]:
    """Make the table forget its edits."""
    state.selected = selected
    state.round += 1
    return selected


def _table_key(state: _ListState) -> str:
    return f"links_table_{state.round}"


def _show_table(client: Client, key: Key, state: _ListState) -> None:
    zone = viewer_zone()
    recent = None
    if key.may("stats:read"):
        recent = client.recent(state.shown, days=SPARKLINE_DAYS, time_zone=zone.key)
    frame = link_frame(state.shown, recent, state.selected, zone)
    if not key.may("admin"):
        frame = frame.drop(columns=OWNER)
    writes = key.may("links:write")
    st.data_editor(
        frame,
        key=_table_key(state),
        hide_index=True,
        column_config=link_columns(),
        disabled=[column for column in frame.columns if column != SELECT and not (writes and column in EDITABLE)],
        num_rows="fixed",
        row_height=ROW_PX,
        height=table_height(len(frame)),
        alt="Links, one in each row",
    )


def _store(client: Client, edits: list[Edit]) -> list[tuple[str, str]]:
    """Store what was edited.

    Returns:
        What is to be told: a kind and a text that Markdown shows as it is.
    """
    told = []
    for edit in edits:
        name = plain(edit.link.name)
        try:
            client.edit_link(edit.link, edit.changes)
        except (KeyRefused, Unreachable):
            raise
        except ApiError as error:
            if error.status == 412:
                told.append(
                    (
                        "error",
                        f"{name} was changed by somebody else meanwhile. This is the newest version: edit it again.",
                    )
                )
                continue
            reasons = "; ".join(f"{field} {reason}".strip() for field, reason in errors_of(error).items())
            told.append(("error", f"{name} was not changed: {plain(reasons)}"))
    stored = len(edits) - len(told)
    return [*told, ("success", f"{format_count(stored, 'link')} changed.")] if stored else told


def _show_pager(state: _ListState, found: Page) -> None:
    number = len(state.cursors) + 1
    with st.container(horizontal=True, vertical_alignment="center"):
        back = st.button("Previous", disabled=not state.cursors, icon=":material/chevron_left:", key="links_back")
        st.text(f"Page {number}", width="content")
        on = st.button(
            "Next",
            disabled=found.next_cursor is None,
            icon=":material/chevron_right:",
            icon_position="right",
            key="links_on",
        )
        st.button("Refresh", icon=":material/refresh:", key="links_refresh", type="tertiary")
    if back and state.cursors:
        state.cursors.pop()
    elif on and found.next_cursor is not None:
        state.cursors.append(found.next_cursor)
    else:
        return
    _begin_anew(state, frozenset())
    st.rerun()
