"""The actions on ticked links: edit, copy, QR code, statistics, switch on and off, delete."""

from collections.abc import Callable, Sequence

import streamlit as st

from services.dashboard.pages.links.editor import DIALOG, close_dialog, edit_dialog
from services.dashboard.pages.links.table import describe
from services.dashboard.texts import format_count, plain
from services.dashboard.widgets.copying import show_copyable
from services.dashboard.widgets.qr import show_qr
from shared.client import ApiError, Client, Key, KeyRefused, Link, Unreachable

MOST_NAMED = 10
STATISTICS_LINK = "statistics_link"
"""The place where the page Statistics finds the link to show."""


def show_actions(client: Client, key: Key, links: Sequence[Link]) -> None:
    """Show the actions on some links."""
    if not links:
        st.caption(
            "Double-click a cell to edit it. Tick links to switch them on or off, delete them, or see one's QR code."
        )
        return
    st.text(f"{format_count(len(links), 'link')} ticked")
    with st.container(horizontal=True):
        if len(links) == 1:
            _show_actions_of_one(client, key, links[0])
        if not key.may("links:write"):
            return
        if not all(link.enabled for link in links) and st.button("Enable", icon=":material/toggle_on:"):
            _apply(links, lambda link: client.edit_link(link, {"enabled": True}), "switched on")
        if any(link.enabled for link in links) and st.button("Disable", icon=":material/toggle_off:"):
            _apply(links, lambda link: client.edit_link(link, {"enabled": False}), "switched off")
        if st.button("Delete", icon=":material/delete:"):
            st.session_state[DIALOG] = ("delete", tuple(links))


def _show_actions_of_one(client: Client, key: Key, link: Link) -> None:
    if key.may("links:write") and st.button("Edit", icon=":material/edit:", type="primary"):
        st.session_state[DIALOG] = ("edit", (link,))
    if st.button("Share", icon=":material/qr_code_2:"):
        st.session_state[DIALOG] = ("share", (link,))
    if key.may("stats:read") and st.button("Statistics", icon=":material/bar_chart:"):
        st.session_state[STATISTICS_LINK] = link.name
        st.switch_page(st.Page(_elsewhere, title="Statistics", url_path="statistics"))


def show_dialog(client: Client, key: Key) -> None:
    """Show the dialog that is open, if any; it is remembered, so that no run of the page closes it by itself."""
    kind, links = st.session_state.get(DIALOG, ("", ()))
    if kind == "edit":
        edit_dialog(client, key, links[0])
    elif kind == "share":
        _share_dialog(client, links[0])
    elif kind == "delete":
        _delete_dialog(client, links)


@st.dialog("Share this link", on_dismiss=close_dialog)
def _share_dialog(client: Client, link: Link) -> None:
    """Show a link to copy, and its QR code."""
    show_copyable(link.short_url)
    st.text(f"leads to {link.url}")
    show_qr(client, link, "shared")


@st.dialog("Delete for good?", on_dismiss=close_dialog)
def _delete_dialog(client: Client, links: tuple[Link, ...]) -> None:
    """Ask before deleting."""
    st.write("A deleted link answers 410 at once and for ever: its code is never given to another link.")
    for link in links[:MOST_NAMED]:
        st.text(describe(link))
    if len(links) > MOST_NAMED:
        st.text(f"and {len(links) - MOST_NAMED:,} more")
    with st.container(horizontal=True):
        if st.button(f"Delete {format_count(len(links), 'link')}", type="primary", key="delete_confirmed"):
            _apply(links, client.delete_link, "deleted")
        if st.button("Keep", key="delete_dismissed"):
            close_dialog()
            st.rerun()


def _apply(links: Sequence[Link], act: Callable[[Link], object], done: str) -> None:
    """Do something with each link, then run the page again with a message."""
    told: list[tuple[str, str]] = []
    for link in links:
        try:
            act(link)
        except (KeyRefused, Unreachable):
            raise
        except ApiError as error:
            why = "it was changed by somebody else meanwhile" if error.status == 412 else error.detail or error.title
            told.append(("error", f"{plain(link.name)} was not {done}: {plain(why)}"))
    count = len(links) - len(told)
    if count:
        told.append(("success", f"{format_count(count, 'link')} {done}."))
    close_dialog()
    state = st.session_state["links"]
    state.told, state.selected = told, frozenset()
    state.round += 1
    st.rerun()


def _elsewhere() -> None:
    """Stands for the page that the frame knows by the same address."""
