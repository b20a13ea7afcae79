"""The page Links."""

import streamlit as st

from services.dashboard.client import Client, Key


def show(client: Client, key: Key) -> None:
    """Show the page."""
    st.title("Links")
