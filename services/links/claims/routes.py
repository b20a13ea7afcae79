"""`POST /internal/claims` decides for redirect which visitors of limited links pass. nginx lets nobody else reach it."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.links.claims.claimer import DEADLINE_S
from services.links.state import state_of
from services.links.web.bodies import read_body
from services.links.web.errors import BodyTooSlow, Problem, Unavailable
from shared.claims import LARGEST_CLAIMS_BYTES, PATH, read_claims, write_verdicts

router = APIRouter(include_in_schema=False)


class MalformedClaims(Problem):
    status, kind, title = HTTPStatus.BAD_REQUEST, "malformed-claims", "Malformed claims"


@router.post(PATH)
async def take_claims(request: Request) -> Response:
    """Take claims, and answer with a list of 1 (the visitor passes) and 0. After any other status, ask again."""
    state = state_of(request)
    state.internal_tokens.check(request)
    try:
        claims = read_claims(await read_body(request, LARGEST_CLAIMS_BYTES, DEADLINE_S, name="The claims"))
    except BodyTooSlow:
        # The sender is a redirector of this site, which sends them again.
        raise Unavailable("The claims did not come in time.") from None
    except ValueError:
        raise MalformedClaims("The body is no list of claims.") from None
    verdicts = await state.claimer.claim(claims)
    state.metrics.count_claims(verdicts)
    return Response(write_verdicts(verdicts), media_type="text/plain")
