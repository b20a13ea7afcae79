"""Who is signed in, for the pages: the key from the cookie of the browser's connection, and a client that speaks with it.

The settings come in `st.secrets["dashboard"]`, where `app.py` puts them; only the cookie tells who somebody is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from services.dashboard.door.cookies import COOKIE, KeyCookies
from services.dashboard.door.upstream import links_url
from shared.client import Client, Key

_STATE = "_signed_in"


class SignedOut(Exception):
    """Nobody is signed in, or the sign-in is too old."""


@dataclass
class _SignedIn:
    api_key: str
    url: str
    client: Client
    key: Key | None = None


def current_client() -> Client:
    """Return a client of the API with the key of the person who is signed in.

    Raises:
        SignedOut: There is nobody.
    """
    return _signed_in().client


def current_key() -> Key | None:
    """Return the key of the person who is signed in; None if there is nobody. The API is asked once per session.

    Raises:
        ApiError: The API refuses the key, or cannot be reached.
    """
    try:
        signed_in = _signed_in()
    except SignedOut:
        return None
    if signed_in.key is None:
        signed_in.key = signed_in.client.current_key()
    return signed_in.key


def _signed_in() -> _SignedIn:
    settings: Mapping[str, Any] = st.secrets["dashboard"]
    api_key = _api_key(settings)
    if api_key is None:
        raise SignedOut
    url = links_url(settings["links_address"])
    known: _SignedIn | None = st.session_state.get(_STATE)
    if known is not None and known.api_key != api_key:
        # Somebody else is signed in in the same session, so nothing of before is kept.
        st.session_state.clear()
        known = None
    if known is None or known.url != url:
        known = _SignedIn(api_key, url, Client(url, api_key), known.key if known else None)
        st.session_state[_STATE] = known
    return known


def _api_key(settings: Mapping[str, Any]) -> str | None:
    cookies = KeyCookies(settings["cookie_secret"], settings["cookie_secret_previous"], days=settings["sign_in_days"])
    return cookies.read(st.context.cookies.get(COOKIE))
