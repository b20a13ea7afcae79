"""The page Shorten: paste a URL, get the short link, copy it. The other fields of a link are folded away below."""

from dataclasses import dataclass, field
from uuid import uuid4

import streamlit as st

from services.dashboard.known import known_domains, known_tags
from services.dashboard.texts import is_web_address
from services.dashboard.viewer import viewer_zone
from services.dashboard.widgets.copying import show_copyable
from services.dashboard.widgets.inputs import (
    Errors,
    Fields,
    LinkInputs,
    errors_of,
    show_error,
    show_other_errors,
)
from services.dashboard.widgets.qr import show_qr
from shared.api import LONGEST_URL
from shared.client import ApiError, Client, Key, KeyRefused, Link, Unreachable

REASONS = {
    "taken": "is taken, or was: a code is never given out twice",
    "reserved": "is a reserved word",
    "malformed": "must be letters, digits, emoji or -_.~+, and has slashes only where the domain allows it",
}
FIELDS = ("url", "code", "domain", *LinkInputs.names)


@dataclass
class _ShortenState:
    """What the page remembers between two runs."""

    made: Link | None = None
    errors: Errors = field(default_factory=dict)
    refused: KeyRefused | None = None
    away: bool = False
    round: int = 0
    """Counts creations; the inputs of the next one begin anew."""
    tried: tuple[Fields, str] | None = None
    """The request whose answer was lost, and the key with which it can be sent again."""


def page(client: Client, key: Key) -> None:
    """Show the page."""
    state: _ShortenState = st.session_state.setdefault("shorten", _ShortenState())
    if state.refused is not None:
        refused, state.refused = state.refused, None
        raise refused
    st.title("Shorten", anchor=False)
    with st.form("shorten_form", border=False):
        url = st.text_input(
            "Long address",
            # Where a bookmark opened the page.
            value=st.query_params.get("url", "")[:LONGEST_URL] if state.round == 0 else "",
            max_chars=LONGEST_URL,
            key=f"shorten_{state.round}_url",
            placeholder="https://www.example.com/a/long/address",
            autocomplete="off",
        )
        pressed = st.form_submit_button("Shorten", type="primary", icon=":material/link:", width="stretch")
    show_error(state.errors, "url", "The address")
    if state.away:
        st.warning("The link service cannot be reached right now. Your input is kept: press Shorten again in a moment.")
    result = st.container()
    options = _options(client, key, state)
    show_other_errors(state.errors, FIELDS)
    if pressed:
        _create(client, {"url": (url or "").strip(), **options}, state)
        st.rerun()
    with result:
        if state.made is not None:
            _show_made(client, key, state.made)
        elif not state.errors and not state.away:
            st.caption("The short link appears here, with a button to copy it and its QR code.")


def _options(client: Client, key: Key, state: _ShortenState) -> Fields:
    """Draw the inputs that are folded away. They are open while one of them is wrong."""
    is_wrong = any(name in state.errors for name in FIELDS if name != "url")
    with st.expander("Options", expanded=is_wrong, icon=":material/tune:", key=f"shorten_options_{is_wrong}"):
        fields = _code(client, key, state)
        tags = known_tags(client) if key.may("links:read") else []
        fields |= LinkInputs(f"shorten_{state.round}", None, tags, viewer_zone(), state.errors).draw()
    # What is as by default is left out: a write service of the release before may not know the field.
    return {name: value for name, value in fields.items() if value not in (None, [], name == "preview")}


def _code(client: Client, key: Key, state: _ShortenState) -> Fields:
    # Only a key that can read lists the domains. Without them the link gets the first one.
    domains = known_domains(client) if key.may("links:read") else ()
    domain = domains[0] if domains else None
    if len(domains) > 1:
        domain = st.selectbox("Domain", domains, key="shorten_domain")
        show_error(state.errors, "domain", "The domain")
    code = st.text_input(
        "Code of your own",
        key=f"shorten_{state.round}_code",
        placeholder="Empty: one is drawn",
        autocomplete="off",
        live=True,
    )
    code = (code or "").strip()
    if "code" in state.errors:
        show_error(state.errors, "code", "The code")
    elif code:
        found = client.availability(code, domain)
        if found.available:
            st.success("This code is free.", icon=":material/check:")
        else:
            st.error(f"This code {REASONS.get(found.reason or '', 'cannot be had')}.", icon=":material/error:")
    return {"code": code or None, "domain": domain}


def _create(client: Client, fields: Fields, state: _ShortenState) -> None:
    repeat_key = state.tried[1] if state.tried is not None and state.tried[0] == fields else uuid4().hex
    state.errors, state.away, state.tried = {}, False, None
    if not fields["url"]:
        state.errors = {"url": "is missing: paste the one that is to be shortened"}
        return
    try:
        state.made = client.create_link(fields, repeat_key)
    except KeyRefused as refused:
        state.refused = refused
    except Unreachable:
        state.away, state.tried = True, (fields, repeat_key)
    except ApiError as error:
        state.errors = errors_of(error)
    else:
        state.round += 1


def _show_made(client: Client, key: Key, link: Link) -> None:
    with st.container(border=True, key="shortened"):
        show_copyable(link.short_url)
        st.text(f"leads to {link.url}")
        if is_web_address(link.short_url):
            st.link_button("Open", link.short_url, icon=":material/open_in_new:")
        if key.may("links:read"):
            show_qr(client, link, "shortened")
