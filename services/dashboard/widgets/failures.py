"""The explanation that people read when something fails: what happened, and what they can do. It is never a traceback.

Streamlit calls it for what no page caught; the details are in the log.
"""

from html import escape
from uuid import uuid4

import streamlit as st

from services.dashboard.door.guard import SIGN_IN
from services.dashboard.door.session import SignedOut
from shared.client import ApiError, KeyRefused, Unreachable


def explain(error: Exception) -> bool:
    """Show a failure.

    Returns:
        True: nothing more is to be shown.
    """
    if isinstance(error, SignedOut):
        st.info("You are not signed in any more.")
        form_button("Sign in", SIGN_IN, "get")
    elif isinstance(error, KeyRefused):
        st.error("Your key does not count any more: it was revoked, or it expired.")
        form_button("Sign in with another key", SIGN_IN, "get")
    elif isinstance(error, Unreachable):
        st.warning("The link service cannot be reached right now. Short links work all the same.")
        _offer_again()
    elif isinstance(error, ApiError):
        st.error("The link service refused this.")
        # As text: it may repeat what a user typed.
        st.text(error.detail or error.title)
        _offer_again()
    else:
        st.error("Something went wrong here. It is in the log.")
        _offer_again()
    return True


def form_button(label: str, action: str, method: str) -> None:
    """Show a button that sends a form to one of our own routes, which leaves Streamlit's page.

    Args:
        label: On the button.
        action: The path.
        method: `get` or `post`.
    """
    st.html(
        f'<form action="{escape(action)}" method="{escape(method)}" target="_self">'
        '<button style="font: inherit; padding: .35rem .9rem; border-radius: .5rem; cursor: pointer; color: inherit; '
        f'background: transparent; border: 1px solid color-mix(in srgb, currentColor 30%, transparent)">{escape(label)}'
        "</button></form>"
    )


def _offer_again() -> None:
    # Every press runs the page anew; the key is fresh because two parts of a page can fail in one run.
    st.button("Try again", key=f"again-{uuid4()}")
