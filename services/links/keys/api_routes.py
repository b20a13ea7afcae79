"""Routes of the API: the key and its scopes are checked before anything else of a request is looked at.

`web/parameters.py` checks the address, and `web/bodies.py` reads the body. Each router of the API has `ApiRoute` as its
`route_class`; `direct_routes.py` has the routes that do without the framework.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Receive, Scope

from services.links.web.bodies import read_json
from services.links.web.parameters import Parameters


class ApiRoute(APIRoute):
    """A route for callers with a key. It takes the parameters that it declares, and JSON that every parser reads alike."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        checks = [each.call for each in self.dependant.dependencies if each.call is not None]
        if not checks:
            raise TypeError(f"{self.path}: a route of the API declares who may call it")
        parameters = Parameters(self.dependant)
        has_body = self.body_field is not None

        async def handle_request(request: Request) -> Response:
            # FastAPI would do this last. Whoever may not call the route sends the rest for nothing, and learns nothing of it.
            for check in checks:
                await check(request, None)
            parameters.check(request)
            if has_body:
                request = _ParsedRequest(request.scope, request.receive, await read_json(request))
            return await handle(request)

        return handle_request


class _ParsedRequest(Request):
    """The request that FastAPI sees: its body is read and parsed already."""

    def __init__(self, scope: Scope, receive: Receive, value: object) -> None:
        super().__init__(scope, receive)
        self._value = value

    async def body(self) -> bytes:
        return b"parsed"

    async def json(self) -> object:
        return self._value
