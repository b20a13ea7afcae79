"""How a service refuses what is too much at once, so that a deployment can tell it from a fault of the release.

nginx logs the header, and deploy/host/watch.py does not hold such an answer against a release.
"""

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

BUSY = "X-Busy"
"""The header of an answer that a full bound gives."""


class Bounded:
    """Lets so many requests into an app at once, and tells what stands before it that this is why others are refused."""

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
