"""Routes that go around FastAPI, which costs more than what they do.

They are declared like all others, and the declaration is what runs: its dependencies, its headers and its body are read
from what FastAPI understood of it. `DirectRoutes` stands before the framework and has the table of them.
"""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase
from pydantic import BaseModel, ValidationError
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from services.links.web.bodies import read_json
from services.links.web.errors import answer_error
from services.links.web.parameters import Parameters


class DirectRoute(APIRoute):
    """A route at a fixed path, with dependencies, a JSON body and headers of one line each; its endpoint answers itself."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        declared = self.dependant
        (body,) = declared.body_params
        model = body.field_info.annotation
        is_simple = not (declared.path_params or declared.query_params or declared.cookie_params)
        if not is_simple or not isinstance(model, type) or not issubclass(model, BaseModel):
            raise TypeError(f"{self.path}: a direct route has a body of one model, headers, and no other parameters")
        self._parameters = Parameters(declared)
        self._call = _compile(declared)
        self._headers = [(field.name, field.alias, field.default, field.validate) for field in declared.header_params]
        self._body_name, self._body = body.name, model
        return self.answer

    async def answer(self, request: Request) -> Response:
        """Do what the framework does with an `ApiRoute`, in the same order; the scope is checked with the key."""
        values = await self._call.arguments(request)
        self._parameters.check(request)
        body = await read_json(request)
        errors: list[Any] = []
        for name, alias, default, validate in self._headers:
            text = request.headers.get(alias)
            values[name] = default
            if text is not None:
                values[name], wrong = validate(text, loc=("header", alias))
                errors += wrong
        try:
            values[self._body_name] = self._body.model_validate(body)
        except ValidationError as error:
            errors += [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
        if errors:
            raise RequestValidationError(errors)
        response: Response = await self.endpoint(**values)
        return response


class DirectRoutes:
    """ASGI middleware that answers the direct routes, and hands every other request to the framework.

    Args:
        app: The framework's application.
        routes: Its routes; the direct ones among them are the table.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._table = {
            (method, route.path): route
            for route in routes
            if isinstance(route, DirectRoute)
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._table.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        # For the metrics, as the framework notes it.
        scope["route"] = route
        try:
            response = await route.answer(Request(scope, receive))
        except Exception as error:
            response = answer_error(error)
        await response(scope, receive, send)


@dataclass(frozen=True, slots=True)
class _Call:
    """A function with what it gets: the request under some names, and under others what its dependencies return."""

    function: Callable[..., Coroutine[Any, Any, Any]]
    request_names: tuple[str, ...]
    dependencies: tuple[tuple[str | None, "_Call | None"], ...]

    async def arguments(self, request: Request) -> dict[str, Any]:
        values: dict[str, Any] = dict.fromkeys(self.request_names, request)
        for name, call in self.dependencies:
            value = None if call is None else await call.function(**await call.arguments(request))
            if name is not None:
                values[name] = value
        return values


def _compile(declared: Dependant) -> _Call:
    """Read once what the framework would look up at each request."""
    assert declared.call is not None, "a dependency is a function"
    names = (declared.request_param_name, declared.http_connection_param_name)
    # A scheme is for the description; the dependency that has it reads the key.
    dependencies = [
        (each.name, None if isinstance(each.call, SecurityBase) else _compile(each)) for each in declared.dependencies
    ]
    return _Call(declared.call, tuple(name for name in names if name is not None), tuple(dependencies))
