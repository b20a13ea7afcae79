"""The script that Streamlit runs for every visit and every press. It shows the frame and the chosen page."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st
import structlog
from streamlit.navigation.page import StreamlitPage

from services.dashboard.door.guard import SIGN_OUT
from services.dashboard.door.session import SignedOut, current_client, current_key
from services.dashboard.pages import domains, imports, keys, links, shorten, statistics
from services.dashboard.widgets.failures import explain, form_button
from shared.api import Scope
from shared.client import ApiError, Client, Key

ICON = Path(__file__).parent / "icon.svg"

PAGES: tuple[tuple[str, str, str, Scope, Callable[[Client, Key], None]], ...] = (
    ("shorten", "Shorten", ":material/add_link:", "links:write", shorten.page),
    ("links", "Links", ":material/link:", "links:read", links.page),
    ("statistics", "Statistics", ":material/bar_chart:", "stats:read", statistics.page),
    ("import", "Import", ":material/move_to_inbox:", "links:write", imports.page),
    ("domains", "Domains", ":material/language:", "admin", domains.page),
    ("keys", "Keys", ":material/key:", "admin", keys.page),
)
"""Path, title, icon, the scope that it needs, and what shows it."""

# Streamlit leaves a tenth of a screen above a title, and more below the page, which is much on a phone.
_LESS_SPACE = """<style>
[data-testid="stMainBlockContainer"] { padding-top: 4rem; padding-bottom: 3rem; }
</style>"""

log = structlog.get_logger()


def main() -> None:
    st.set_page_config(page_title="TinyURL", page_icon=str(ICON), layout="wide")
    st.html(_LESS_SPACE)
    try:
        key = current_key()
        if key is None:
            raise SignedOut
    except (ApiError, SignedOut) as error:
        # All addresses stay known, so that the page is the same one when it works again.
        st.navigation([st.Page(_nothing, title=page[1], url_path=page[0]) for page in PAGES], position="hidden")
        explain(error)
        _offer_sign_out(error)
        return
    pages = _pages(key)
    page = st.navigation(pages or [st.Page(_no_scopes, title="TinyURL")])
    with st.sidebar:
        st.text(key.owner if key.name is None else f"{key.owner} · {key.name}")
        form_button("Sign out", SIGN_OUT, "post")
    page.run()


def _pages(key: Key) -> list[StreamlitPage]:
    """Return the pages that the key's scopes open; the first is also at `/dashboard/`."""
    return [
        st.Page(_guarded(show), title=title, icon=icon, url_path=path)
        for path, title, icon, scope, show in PAGES
        if key.may(scope)
    ]


def _guarded(show: Callable[[Client, Key], None]) -> Callable[[], None]:
    """Wrap a page, so that people read an explanation of every failure."""

    def run() -> None:
        try:
            key = current_key()
            if key is None:
                raise SignedOut
            show(current_client(), key)
        except (ApiError, SignedOut) as error:
            explain(error)
        except Exception as error:
            log.exception("page_failed")
            explain(error)

    return run


def _offer_sign_out(error: Exception) -> None:
    if not isinstance(error, SignedOut):
        form_button("Sign out", SIGN_OUT, "post")


def _nothing() -> None:
    """Nobody is signed in."""


def _no_scopes() -> None:
    st.info("This key opens no page here: it needs `links:write`, `links:read`, `stats:read` or `admin`.")


if __name__ == "__main__":
    main()
