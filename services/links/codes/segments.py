"""Keeps an encoded slash of a path (`%2F`) out of the routing: it is one of a code, and not between two segments."""

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

LINKS = "/api/v1/links/"

_SLASH = "%2F"
_split = re.compile(rb"%2[Ff]").split


class SegmentMiddleware:
    """ASGI middleware that decodes all of a link's path but its encoded slashes; the server decodes these, too.

    Args:
        app: The app that it wraps.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = _split(scope.get("raw_path") or b"")
        if len(parts) > 1 and scope["path"].startswith(LINKS):
            scope["path"] = _SLASH.join(unquote(part.decode("latin-1")) for part in parts)
        await self._app(scope, receive, send)


def read_segment(text: str) -> str:
    """Return a parameter of a path as its client meant it."""
    return text.replace(_SLASH, "/")
