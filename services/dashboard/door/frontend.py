"""Streamlit's HTML page, with a script in it that names the server's address.

Without it Streamlit's own script guesses that address from the page's. It would try `/dashboard/links/_stcore/…` first, which
costs time and writes two errors to the browser's console.
"""

from collections.abc import Iterable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from streamlit import file_util

from services.dashboard.door.cookies import PATH

_LOCATE = f'<script>window.__streamlit = {{BACKEND_BASE_URL: location.origin + "{PATH}/"}}</script>'


class Frontend:
    """The page, and the addresses at which it is served.

    Attributes:
        html: The page.
    """

    def __init__(self) -> None:
        page = (Path(file_util.get_static_dir()) / "index.html").read_text()
        before, head, after = page.partition("<head>")
        assert head, "Streamlit's page has no head"
        self.html = f"{before}{head}{_LOCATE}{after}"

    def routes(self, pages: Iterable[str]) -> list[Route]:
        """Return routes that serve the page at `/dashboard/` and at the address of each page."""
        return [Route(f"{PATH}/{page}", self._show, methods=["GET"]) for page in ("", *pages)]

    async def _show(self, request: Request) -> Response:
        return HTMLResponse(self.html, headers={"Cache-Control": "no-cache"})
