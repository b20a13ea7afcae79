"""The filter and the order of the list: the inputs above it. The export uses the same filter."""

from collections.abc import Mapping
from typing import Any, get_args

import streamlit as st

from services.dashboard.known import known_domains, known_tags
from shared.api import LONGEST_SEARCH, MOST_LISTED, LinkState, Sort
from shared.client import Client, Key, LinkQuestion

PAGE_SIZES = (25, 50, MOST_LISTED)
SORTS: dict[Sort, str] = {
    "-created_at": "Newest first",
    "created_at": "Oldest first",
    "-clicks": "Most clicks first",
    "clicks": "Fewest clicks first",
    "-humans": "Most humans first",
    "humans": "Fewest humans first",
    "-updated_at": "Last changed first",
    "code": "Code A to Z",
    "-code": "Code Z to A",
}
STATES: tuple[LinkState, ...] = get_args(LinkState)


def draw_filter(client: Client, key: Key) -> tuple[Sort, int]:
    """Draw the inputs.

    Returns:
        The order, and the rows of a page.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Search",
            key="links_q",
            type="search",
            max_chars=LONGEST_SEARCH,
            live="400ms",
            width=260,
            placeholder="Code, target or title",
            persist_state="session",
        )
        tags = known_tags(client)
        st.selectbox("Tag", tags, index=None, key="links_tag", placeholder="Any", width=160, persist_state="session")
        st.selectbox(
            "State",
            STATES,
            index=None,
            key="links_state",
            placeholder="Any",
            width=140,
            format_func=str.title,
            persist_state="session",
        )
        domains = known_domains(client)
        if len(domains) > 1:
            st.selectbox(
                "Domain", domains, index=None, key="links_domain", placeholder="Any", width=180, persist_state="session"
            )
        if key.may("admin"):
            st.text_input("Owner", key="links_owner", placeholder="Anyone", width=140, persist_state="session")
        sort = st.selectbox("Sort", list(SORTS), key="links_sort", format_func=SORTS.__getitem__, width=190)
        size = st.selectbox("Rows", PAGE_SIZES, key="links_size", width=90)
    return sort, size


def wanted_links(key: Key) -> LinkQuestion:
    """Return the filter that is set, for the list and for the export."""
    asked: Mapping[str, Any] = {name: st.session_state.get(f"links_{name}") for name in ("q", "tag", "state", "domain")}
    owner = st.session_state.get("links_owner") if key.may("admin") else None
    return LinkQuestion(**{name: (value or "").strip() or None for name, value in {**asked, "owner": owner}.items()})
