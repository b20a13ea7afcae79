"""Polr's `/api/v2/action/shorten` and `/lookup`, and TinyURL's `/api-create.php`, each with an API key of this site as `key`.

Parameters are in the query or a form. A HEAD is refused where a GET creates a link.
"""

from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from services.links.compat.answering import answering
from services.links.compat.naming import asked_domain, named_link
from services.links.compat.sent import read_form, read_query
from services.links.keys.authentication import Caller, check_scopes
from services.links.links import actions
from services.links.links.forms import LinkIn
from services.links.state import LinksState, state_of
from services.links.web.errors import (
    CodeTaken,
    FieldError,
    Forbidden,
    InvalidInput,
    NotFound,
    Problem,
    TooManyRequests,
    Unauthenticated,
)
from services.links.web.head import is_head
from shared.api import Scope

_PARAMETERS = FieldError("url", "is missing")
_SECRET = FieldError("is_secret", "must not be true: there are no secret endings here, but links with a password")


def polr_router() -> APIRouter:
    """Return the routes of Polr, and TinyURL's."""
    router = APIRouter()
    polr = APIRouter(prefix="/api/v2/action", route_class=answering(_refuse), include_in_schema=False)
    polr.add_api_route("/shorten", shorten, methods=["GET", "POST"])
    polr.add_api_route("/lookup", look_up, methods=["GET", "POST"])
    tinyurl = APIRouter(route_class=answering(_refuse_in_text), include_in_schema=False)
    tinyurl.add_api_route("/api-create.php", create, methods=["GET", "POST"])
    for each in (polr, tinyurl):
        router.routes.extend(each.routes)
    return router


async def shorten(request: Request) -> Response:
    """Create a link, or without an ending find one, and answer with its short URL, as text or as JSON."""
    if is_head(request):
        return _refuse_head()
    sent = await _read(request)
    if sent.get("is_secret") == "true":
        raise InvalidInput(_SECRET)
    ending = sent.get("custom_ending", "")
    short_url = await _create(request, sent, ending, find_existing=not ending.strip())
    return _answer(sent, "shorten", short_url, short_url)


async def look_up(request: Request) -> Response:
    """Tell where a link leads, how often it was clicked, and when it was made."""
    sent = await _read(request)
    state, caller = await _authenticate(request, sent, "links:read")
    if not sent.get("url_ending"):
        raise InvalidInput(_PARAMETERS)
    key = named_link(sent["url_ending"], asked_domain(request, state.site), state.site)
    link = await actions.read_link(state, caller, key)
    url = link.fields.url_as_given
    found = {
        "long_url": url,
        "created_at": _moment(link.created_at),
        "clicks": link.clicks,
        "updated_at": _moment(link.updated_at),
    }
    return _answer(sent, "lookup", found, url)


async def create(request: Request) -> Response:
    """Create a link, and answer with its short URL alone."""
    if is_head(request):
        return _refuse_head()
    sent = await _read(request)
    return PlainTextResponse(await _create(request, sent, sent.get("alias", "")))


async def _create(request: Request, sent: dict[str, str], code: str, *, find_existing: bool = False) -> str:
    state, caller = await _authenticate(request, sent, "links:write")
    if not sent.get("url"):
        raise InvalidInput(_PARAMETERS)
    domain = asked_domain(request, state.site)
    body = LinkIn.model_validate(
        {"url": sent["url"], "code": code.strip() or None, "domain": domain, "find_existing": find_existing}
    )
    outcome = await actions.create_link(state, caller, await actions.draft_link(state, caller, body))
    return state.site.short_url(outcome.link.key)


def _refuse_head() -> Response:
    return Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, POST"})


async def _read(request: Request) -> dict[str, str]:
    return read_query(request) | await read_form(request)


async def _authenticate(request: Request, sent: dict[str, str], *scopes: Scope) -> tuple[LinksState, Caller]:
    state = state_of(request)
    return state, check_scopes(await state.keyring.verify(sent.get("key", "").strip()), *scopes)


def _answer(sent: dict[str, str], action: str, result: object, text: str) -> Response:
    if sent.get("response_type") == "json":
        return JSONResponse({"action": action, "result": result})
    return PlainTextResponse(text)


def _refuse(request: Request, problem: Problem) -> Response:
    """Answer with Polr's form of an error. Whether it is JSON is asked of the query alone, as a form may be what is wrong."""
    status, code, text = problem.status.value, "SERVER_ERROR", problem.detail
    match problem:
        case Unauthenticated():
            code, text = "AUTH_ERROR", "Authentication token invalid."
        case Forbidden():
            code = "ACCESS_DENIED"
        case TooManyRequests():
            code, text = "QUOTA_EXCEEDED", "Quota exceeded."
        case NotFound():
            code, text = "NOT_FOUND", "Link not found."
        case InvalidInput() if problem.errors[0] is _PARAMETERS:
            status, code, text = 400, "MISSING_PARAMETERS", "Invalid or missing parameters."
        case InvalidInput():
            status, code = 400, "CREATION_ERROR"
        case CodeTaken():
            status, code, text = 400, "CREATION_ERROR", "Sorry, but this URL ending is already in use."
    if request.query_params.get("response_type") == "json":
        return JSONResponse({"status_code": status, "error_code": code, "error": text}, status, problem.headers)
    return PlainTextResponse(f"{status} {text}", status, problem.headers)


def _refuse_in_text(request: Request, problem: Problem) -> Response:
    """Answer with the word that TinyURL answers with, and the reason."""
    status = 400 if isinstance(problem, InvalidInput | CodeTaken) else problem.status.value
    return PlainTextResponse(f"Error: {problem.detail}", status, problem.headers)


def _moment(moment: datetime) -> dict[str, object]:
    """Return a time as PHP writes one into JSON."""
    date = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return {"date": date, "timezone_type": 3, "timezone": "UTC"}
