"""Routes that take JSON from callers with a key: the key is asked for before the body is read.

`web/bodies.py` reads the body; the routers of keys and links have this as their `route_class`.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Receive, Scope

from services.links.keys.authentication import identify
from services.links.web.bodies import read_json


class JsonRoute(APIRoute):
    """A route for callers with a key, whose body, if there is one, is JSON that every parser understands alike."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def handle_json(request: Request) -> Response:
            # FastAPI would ask for the key after the body; whoever has none sends it for nothing.
            await identify(request)
            return await handle(_ParsedRequest(request.scope, request.receive, await read_json(request)))

        return handle_json


class _ParsedRequest(Request):
    """The request that FastAPI sees: its body is read and parsed already."""

    def __init__(self, scope: Scope, receive: Receive, value: object) -> None:
        super().__init__(scope, receive)
        self._value = value

    async def body(self) -> bytes:
        return b"parsed"

    async def json(self) -> object:
        return self._value
