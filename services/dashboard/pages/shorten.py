"""The page Shorten."""

import streamlit as st

from services.dashboard.client import Client, Key


def show(client: Client, key: Key) -> None:
    """Show the page."""
    st.title("Shorten")
