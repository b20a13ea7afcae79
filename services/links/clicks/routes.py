"""`POST /internal/clicks` takes batches of the click journal from the redirect service. nginx lets nobody else reach it.

The route checks who sends, and passes the bytes on to `queue.py`. It parses none of them.
"""

import hmac
from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from services.links.clicks.pipe import LARGEST_BATCH
from services.links.state import state_of
from services.links.web.bodies import read_body
from services.links.web.errors import (
    BodyTooLarge,
    BodyTooSlow,
    NotFound,
    Problem,
    Unauthenticated,
    Unavailable,
    WrongContentType,
)
from shared.journal import FORMAT, FORMAT_HEADER
from shared.settings import LinksSettings

_LARGEST_OFFSET = 2**62

router = APIRouter(include_in_schema=False)


class MalformedBatch(Problem):
    status, kind, title = HTTPStatus.BAD_REQUEST, "malformed-batch", "Malformed batch"


class InternalTokens:
    """The tokens that the redirect service may show. Without one in the settings no clicks are taken."""

    def __init__(self, settings: LinksSettings) -> None:
        self._tokens = [
            token.get_secret_value().encode()
            for token in (settings.internal_token, settings.internal_token_previous)
            if token is not None and token.get_secret_value()
        ]
        self.is_configured = settings.internal_token is not None

    def check(self, request: Request) -> str:
        """Check a request's token, in constant time.

        Returns:
            The token.

        Raises:
            NotFound: No token is configured.
            Unauthenticated: The request has another token.
        """
        if not self.is_configured:
            raise NotFound("Not Found")
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        sent = text.strip().encode("utf-8", "replace")
        matches = [hmac.compare_digest(sent, token) for token in self._tokens]
        if kind.lower() != "bearer" or not any(matches):
            raise Unauthenticated("Send the internal token as `Authorization: Bearer TOKEN`.")
        return sent.decode()


@router.post("/internal/clicks")
async def take_clicks(request: Request) -> Response:
    """Take whole records of a segment that begin at an offset.

    200, and 422 if something is damaged: everything below the answer's offset is taken, which may be a part of the batch.
    409: send from the answer's offset on. After any other status it is not known whether something was taken: send it again.
    """
    state = state_of(request)
    state.internal_tokens.check(request)
    if request.headers.get(FORMAT_HEADER) != FORMAT:
        raise WrongContentType(f"This release reads format {FORMAT} of the journal.")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("gzip", "identity"):
        raise WrongContentType("Send the batch as it is, or with gzip.")
    segment, offset = _place(request)
    async with state.clicks.place():
        try:
            body = await read_body(request, LARGEST_BATCH, state.clicks.times.body, name="A batch")
        except BodyTooSlow:
            # The sender is a redirector of this site, which sends it again.
            raise Unavailable("The batch did not come in time.") from None
        taken = await state.clicks.take(segment, offset, is_gzip=encoding == "gzip", body=body)
    state.metrics.count_batch(taken.status.value, taken.clicks, taken.refused, taken.newest)
    if taken.status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        raise BodyTooLarge(f"A batch must not be larger than {LARGEST_BATCH} bytes.")
    if taken.status is HTTPStatus.BAD_REQUEST:
        raise MalformedBatch("The body is not one member of gzip.")
    return JSONResponse({"offset": taken.offset}, taken.status)


def _place(request: Request) -> tuple[UUID, int]:
    try:
        segment = UUID(request.query_params["segment"])
        text = request.query_params["offset"]
    except (KeyError, ValueError):
        raise MalformedBatch("Name the segment (a UUID) and the offset.") from None
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _LARGEST_OFFSET):
        raise MalformedBatch("The offset must be a number of bytes.")
    return segment, int(text)
