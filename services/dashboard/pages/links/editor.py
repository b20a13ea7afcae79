"""The editor of one link: all its fields beside the list, stored only if nobody else changed the link meanwhile."""

import streamlit as st

from services.dashboard.known import known_tags
from services.dashboard.pages.links.explanation import show_explanation
from services.dashboard.texts import format_instant, shorten
from services.dashboard.viewer import viewer_zone
from services.dashboard.widgets.copying import show_copyable
from services.dashboard.widgets.inputs import Errors, LinkInputs, errors_of, show_error, show_other_errors
from shared.api import LONGEST_URL
from shared.client import ApiError, Client, Key, KeyRefused, Link, Unreachable

DIALOG = "links_dialog"
"""Where the page remembers which dialog is open, and for which links."""

FIELDS = ("url", "enabled", *LinkInputs.names)


def close_dialog() -> None:
    st.session_state.pop(DIALOG, None)


@st.dialog("Edit link", position="right", on_dismiss=close_dialog)
def edit_dialog(client: Client, key: Key, link: Link) -> None:
    """Edit the version of a link that was in the list, or a newer version that was loaded here."""
    _, (link,) = st.session_state.get(DIALOG, ("edit", (link,)))
    errors: Errors = st.session_state.pop("edit_errors", {})
    prefix = f"edit_{link.name}_{link.version}"
    show_copyable(link.short_url)
    url = st.text_input("Leads to", value=link.url, max_chars=LONGEST_URL, key=f"{prefix}_url")
    show_error(errors, "url", "The address")
    enabled = st.toggle("On", value=link.enabled, key=f"{prefix}_enabled")
    tags = known_tags(client) if key.may("links:read") else []
    fields = LinkInputs(prefix, link, tags, viewer_zone(), errors).draw()
    show_other_errors(errors, FIELDS)
    if st.button("Save", type="primary", width="stretch", key="edit_save"):
        _save(client, link, {"url": (url or "").strip(), "enabled": enabled, **fields})
    if link.rules or link.split:
        show_explanation(client, link)


def _save(client: Client, link: Link, fields: dict[str, object]) -> None:
    changes = {name: value for name, value in fields.items() if name == "password" or value != _now(link, name)}
    try:
        if changes:
            client.edit_link(link, changes)
    except (KeyRefused, Unreachable):
        raise
    except ApiError as error:
        if error.status == 412:
            _show_conflict(client, link)
            return
        st.session_state["edit_errors"] = errors_of(error)
        st.rerun()
    close_dialog()
    state = st.session_state["links"]
    state.told = [("success", "1 link changed." if changes else "Nothing was changed.")]
    state.round += 1
    st.rerun()


def _show_conflict(client: Client, link: Link) -> None:
    """Show what somebody else stored meanwhile, beside what is in the inputs."""
    now = client.link(link.code, link.domain)
    st.warning("Somebody else changed this link meanwhile. Nothing of yours is stored yet.")
    zone = viewer_zone()
    st.text(f"Yours began from version {link.version} of {format_instant(link.updated_at, zone)}.")
    st.text(f"Theirs is version {now.version} of {format_instant(now.updated_at, zone)}:")
    for name in ("has_password" if name == "password" else name for name in FIELDS):
        if _now(now, name) != _now(link, name):
            st.text(f"{name}: {shorten(str(_now(now, name)), 120)}")
    st.button(
        "Load their version",
        key="edit_load",
        on_click=st.session_state.__setitem__,
        args=(DIALOG, ("edit", (now,))),
        width="stretch",
    )


def _now(link: Link, field: str) -> object:
    value: object = getattr(link, field)
    return list(value) if isinstance(value, tuple) else value
