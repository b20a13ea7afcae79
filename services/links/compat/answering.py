"""Routes whose errors are written as a foreign API writes them."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from services.links.web.errors import Problem, find_problem


def answering(write: Callable[[Request, Problem], Response]) -> type[APIRoute]:
    """Return a class of routes that answer what goes wrong with `write`."""

    class ForeignRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_request(request: Request) -> Response:
                try:
                    return await handle(request)
                except Exception as error:
                    return write(request, find_problem(error))

            return handle_request

    return ForeignRoute
