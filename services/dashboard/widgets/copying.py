"""Texts to copy: short links, new keys."""

import streamlit as st

# Streamlit shows the button when a mouse is over the text; a finger is never over it.
_ALWAYS_THERE = """<style>
[data-testid="stCode"] div:has([data-testid="stElementToolbarButton"]) { visibility: visible; opacity: 1; }
[data-testid="stCode"] pre { padding-right: 3rem; }
</style>"""


def show_copyable(text: str) -> None:
    """Show a text with a button that copies it."""
    st.html(_ALWAYS_THERE)
    st.code(text, language=None, wrap_lines=True)
