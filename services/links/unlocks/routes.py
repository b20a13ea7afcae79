"""`POST /internal/unlocks` checks the password that a visitor sent to redirect. nginx lets nobody else reach it.

Nothing of the password is stored, logged or said.
"""

import math
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from starlette.responses import JSONResponse, Response

from services.links.state import state_of
from services.links.unlocks.tries import TooManyTries
from services.links.unlocks.unlocking import WrongPassword
from services.links.web.bodies import parse_json, read_body
from services.links.web.errors import MalformedJson
from shared.unlocks import LARGEST_FORM, cookie_header, sign_unlock

LARGEST_QUESTION = 8 * LARGEST_FORM
"""Bytes. JSON takes six for a byte of a password at most."""

BODY_TIMEOUT_S = 2.0

router = APIRouter(include_in_schema=False)

Text = Annotated[str, StringConstraints(max_length=LARGEST_FORM)]


class UnlockIn(BaseModel):
    """What redirect asks: may a visitor with this password and this address follow the link?"""

    model_config = ConfigDict(extra="ignore", strict=True)

    domain: Text
    code: Text
    password: Text
    address: Text


@router.post("/internal/unlocks")
async def unlock(request: Request) -> Response:
    """Check a password.

    200 has the cookie to set. 403: it is wrong. 404: the link has no password. 429: wait as `Retry-After` says.
    """
    state = state_of(request)
    token = state.internal_tokens.check(request)
    body = await read_body(request, LARGEST_QUESTION, BODY_TIMEOUT_S)
    try:
        asked = UnlockIn.model_validate(parse_json(body))
    except ValidationError:
        # pydantic's text quotes the input.
        raise MalformedJson("The body is not what this release asks.") from None
    key = (asked.domain, asked.code)
    try:
        tag = await state.unlocker.check(key, asked.password, asked.address)
    except WrongPassword:
        return JSONResponse({}, HTTPStatus.FORBIDDEN)
    except TooManyTries as error:
        seconds = max(1, math.ceil((error.until - state.unlocker.clock()).total_seconds()))
        return JSONResponse({}, HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(seconds)})
    value = sign_unlock(token, key, tag, state.unlocker.clock().timestamp())
    return JSONResponse({"set_cookie": cookie_header(value, key, is_https=state.site.is_https)})
