"""HEAD wherever GET is (RFC 9110, 9.1): the answer of the GET without its body; the framework offers it for no route."""

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FLAG = "tinyurl.is_head"


class HeadMiddleware:
    """ASGI middleware that asks the routes for a GET where the client asked for a HEAD.

    Args:
        app: What it wraps.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            # The server sends nothing of a body either; here it is not even handed over.
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        asked = {**scope, "method": "GET", _FLAG: True}
        try:
            await self._app(asked, receive, send_without_body)
        finally:
            # For the metrics, which are further out.
            scope["route"] = asked.get("route")


def is_head(request: HTTPConnection) -> bool:
    """Whether the client will get no body; a route may then leave out what only the body needs."""
    return bool(request.scope.get(_FLAG))
