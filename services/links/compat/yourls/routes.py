"""YOURLS: `/yourls-api.php`, for GET and POST, with the parameters in the query or in a form.

The key is an API key of this site: as `signature`, or as `password`, whose `username` does not matter. `actions.py` does
what is asked, `answers.py` writes it in the format that is asked for. Messages and statuses are those of YOURLS 1.10.
"""

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.links.compat.naming import asked_domain
from services.links.compat.sent import read_form, read_query
from services.links.compat.yourls.actions import ACTIONS, SCOPES
from services.links.compat.yourls.answers import Fields, is_callable, refusal, write
from services.links.compat.yourls.calls import Call
from services.links.keys.authentication import Caller, check_scopes
from services.links.state import LinksState, state_of
from services.links.web.errors import Problem, Unauthenticated, find_problem
from services.links.web.head import is_head

PATH = "/yourls-api.php"


def yourls_router() -> APIRouter:
    """Return the route of YOURLS."""
    router = APIRouter(include_in_schema=False)
    router.add_api_route(PATH, answer_yourls, methods=["GET", "POST"])
    return router


async def answer_yourls(request: Request) -> Response:
    """Do what a call asks for. A HEAD is refused, because a GET may create a link."""
    sent: dict[str, str] = {}
    try:
        if is_head(request):
            return Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, POST"})
        sent = read_query(request)
        # A parameter of the form wins, as in `$_REQUEST` of PHP.
        sent |= await read_form(request)
        # What cannot be answered is not done either.
        return write(sent, await _act(request, sent) if is_callable(sent) else {})
    except Exception as error:
        problem = find_problem(error)
        return write(sent, refusal(sent.get("action"), problem), problem.headers)


async def _act(request: Request, sent: dict[str, str]) -> Fields:
    state, action = state_of(request), sent.get("action", "")
    caller = await _authenticate(state, sent, action)
    act = ACTIONS.get(action)
    if act is None:
        message = 'Unknown or missing "action" parameter'
        return {"errorCode": "400", "message": message, "simple": message}
    return await act(Call(state, caller, sent, asked_domain(request, state.site)))


async def _authenticate(state: LinksState, sent: dict[str, str], action: str) -> Caller:
    """Find the owner of the key.

    Raises:
        Problem: With the message of YOURLS, or why a timed signature cannot be verified.
        Forbidden: The key lacks the scopes.
    """
    text = sent.get("signature") or sent.get("password")
    if not text:
        raise _refused("Please log in")
    try:
        key = await state.keyring.verify(text)
    except Unauthenticated:
        if sent.get("timestamp") and sent.get("signature"):
            raise _refused(
                "Timed signatures are not offered, because they need a secret that can be read back: "
                "send an API key as signature, without timestamp"
            ) from None
        raise _refused("Invalid username or password") from None
    return check_scopes(key, *SCOPES.get(action, ("links:read", "links:write")))


def _refused(message: str) -> Problem:
    problem = Problem(message)
    problem.status, problem.kind, problem.title = HTTPStatus.FORBIDDEN, "forbidden", "Not logged in"
    return problem
