"""The tags and the domains, which every run of a page needs and which seldom change. They are read now and then."""

from time import monotonic

import streamlit as st

from shared.client import Client

KNOWN_S = 30
"""Listing the tags of 100,000 links takes 0.2 s, and a page runs anew with every press."""


def known_tags(client: Client) -> list[str]:
    """Return the tags in use, by name. A new tag may be missing for half a minute."""
    until, tags = st.session_state.get("known_tags", (0.0, []))
    if monotonic() >= until:
        tags = [each.tag for each in client.tags()]
        st.session_state["known_tags"] = (monotonic() + KNOWN_S, tags)
    return list(tags)


def known_domains(client: Client) -> tuple[str, ...]:
    """Return the domains of the site, the default one first."""
    domains: tuple[str, ...] = st.session_state.get("known_domains", ())
    if not domains:
        domains = st.session_state["known_domains"] = client.domains()
    return domains
