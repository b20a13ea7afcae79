"""Refuses requests when too many run, and marks these answers.

nginx logs the mark, and deploy/host/watch.py does not count a marked answer as an error of the release.
"""

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

BUSY = "X-Busy"
"""The header that marks the answer of a full service."""


class BoundedConcurrency:
    """Lets a number of requests into an app at once, and answers more of them with a marked 503."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and self._under_way >= self._limit:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1013})
            else:
                await PlainTextResponse("Too many requests at once.", 503, {"Retry-After": "1", BUSY: "1"})(
                    scope, receive, send
                )
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1
