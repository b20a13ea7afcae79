"""Answers HEAD like GET, without the body (RFC 9110, 9.1). FastAPI does not do this for its routes."""

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FLAG = "tinyurl.is_head"


class HeadMiddleware:
    """ASGI middleware that turns a HEAD into a GET and drops the body.

    Args:
        app: The app that it wraps.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            # The server would drop the body, too; here it is dropped earlier.
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        asked = {**scope, "method": "GET", _FLAG: True}
        try:
            await self._app(asked, receive, send_without_body)
        finally:
            # The metrics wrap this app and read the route.
            scope["route"] = asked.get("route")


def is_head(request: HTTPConnection) -> bool:
    """Return whether the client gets no body. A route can then leave out work that only the body needs."""
    return bool(request.scope.get(_FLAG))
