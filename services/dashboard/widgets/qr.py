"""The QR code of a link: to look at, and to take along as SVG or PNG."""

from functools import partial

import streamlit as st

from services.dashboard.texts import plain
from shared.client import Client, Link

SHOWN_PX = 180


def show_qr(client: Client, link: Link, prefix: str) -> None:
    """Show a link's QR code with its downloads; the images are asked for once."""
    svg, png = _images(client, link)
    st.image(png, width=SHOWN_PX, alt=f"QR code of {plain(link.short_url)}")
    with st.container(horizontal=True):
        for kind, image, mime in (("svg", svg, "image/svg+xml"), ("png", png, "image/png")):
            st.download_button(
                kind.upper(),
                # Handed over when pressed: a file made before goes when the page runs anew, while a browser looks for it.
                partial(bytes, image),
                file_name=f"{link.code.replace('/', '-')}.{kind}",
                mime=mime,
                key=f"{prefix}_{kind}",
                on_click="ignore",
                icon=":material/download:",
                help=f"Download the QR code as {kind.upper()}",
            )


def _images(client: Client, link: Link) -> tuple[bytes, bytes]:
    known: tuple[str, bytes, bytes] | None = st.session_state.get("qr_images")
    if known is None or known[0] != link.short_url:
        known = (link.short_url, client.qr(link, "svg"), client.qr(link, "png"))
        st.session_state["qr_images"] = known
    return known[1], known[2]
