"""The way of `POST /api/v1/links`, the API's busiest route: around FastAPI, which costs more than creating the link does.

It parses and checks exactly what the route declares (the same models, the same dependencies, the same errors) and calls
the route's own function; the declaration in `routes.py` is what the documentation shows. All other requests pass by.
"""

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.links.keys.authentication import authenticate
from services.links.links.forms import LinkIn
from services.links.links.routes import IDEMPOTENCY_KEY, create_link, router
from services.links.web.bodies import read_json
from services.links.web.errors import FieldError, InvalidInput, answer_error
from services.links.web.parameters import refuse_repeats

_key = TypeAdapter(IDEMPOTENCY_KEY)


class CreateLane:
    """ASGI middleware outside of FastAPI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != router.prefix or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            response = await _create(Request(scope, receive))
        except Exception as error:
            response = answer_error(error)
        await response(scope, receive, send)


async def _create(request: Request) -> Response:
    await refuse_repeats(request)
    caller = await authenticate(request, "links:write")
    body = LinkIn.model_validate(await read_json(request))
    key = request.headers.get("idempotency-key")
    if key is not None:
        try:
            key = _key.validate_python(key)
        except ValidationError:
            raise InvalidInput(FieldError("Idempotency-Key", "must be 1 to 255 visible ASCII characters")) from None
    return await create_link(request, body, caller, key)
