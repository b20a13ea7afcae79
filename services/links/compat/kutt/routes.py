"""Kutt's API: `/api/v2/links`, `/users`, `/domains` and `/health`, with an API key of this site as `X-API-KEY`.

`description` is our `notes`: both are texts for the owner alone, and as long.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from services.links.compat.answering import answering
from services.links.compat.kutt.forms import Sent, domain_out, link_id, link_out, refused, write_instant
from services.links.compat.kutt.statistics import count_spans
from services.links.compat.sent import read_members, read_query
from services.links.keys.authentication import Caller, check_scopes
from services.links.links import actions
from services.links.links.checks import check_owner, check_seen
from services.links.links.forms import LinkIn, LinkPatch
from services.links.links.lists import LAST_OFFSET, LinkFilter, count_links, select_links
from services.links.links.rows import select_key, select_link
from services.links.links.search import read_search
from services.links.state import LinksState, state_of
from services.links.stats.routes import snapshot
from services.links.web.errors import (
    CodeTaken,
    FieldError,
    Forbidden,
    InvalidInput,
    NotFound,
    Problem,
    Unauthenticated,
    refuse_costly,
)
from shared.api import LONGEST_SEARCH, Scope
from shared.postgres import connection
from shared.records import LinkKey

PREFIX = "/api/v2"

LISTED = 10
MOST_LISTED = 50

UNKNOWN = "Link was not found."
_OTHER_NAMES = {"url": "target", "code": "customurl", "notes": "description", "expires_at": "expire_in"}
"""What we call otherwise than Kutt."""

_MESSAGES = {
    "target": "URL is not valid: it {reason}.",
    "customurl": "Custom URL is not valid: it {reason}.",
    "domain": "You can't use this domain: it {reason}.",
}

_whole = re.compile(r"[0-9]{1,10}", re.ASCII).match


def kutt_router() -> APIRouter:
    """Return the routes of Kutt."""
    router = APIRouter(prefix=PREFIX, include_in_schema=False, route_class=answering(_refuse))
    router.add_api_route("/links", create_link, methods=["POST"])
    router.add_api_route("/links", list_links, methods=["GET"])
    router.add_api_route("/links/{id}", edit_link, methods=["PATCH"])
    router.add_api_route("/links/{id}", remove_link, methods=["DELETE"])
    router.add_api_route("/links/{id}/stats", count_link, methods=["GET"])
    router.add_api_route("/users", show_user, methods=["GET"])
    router.add_api_route("/domains", refuse_domain, methods=["POST"])
    router.add_api_route("/domains/{id}", refuse_domain, methods=["DELETE"])
    router.add_api_route("/health", tell_health, methods=["GET"])
    return router


async def create_link(request: Request) -> Response:
    """Create a link, or with `reuse` find one of the same target, description and so on."""
    state, caller = await _authenticate(request, "links:write")
    sent = Sent(await read_members(request))
    target = sent.target()
    if target is None:
        raise refused("target", "Target is missing.")
    body = {
        "url": target,
        "code": sent.text("customurl"),
        "domain": sent.text("domain"),
        "notes": sent.text("description"),
        "expires_at": sent.expires_at(),
        "password": sent.password(),
        "find_existing": sent.flag("reuse"),
    }
    draft = await actions.draft_link(state, caller, LinkIn.model_validate(body))
    outcome = await actions.create_link(state, caller, draft)
    return JSONResponse(link_out(outcome.link, state.site), 201 if outcome.is_new else 200)


async def list_links(request: Request) -> Response:
    """List links by number of page, the newest first."""
    state, caller = await _authenticate(request, "links:read")
    query = read_query(request)
    limit, skip = min(_number(query, "limit") or LISTED, MOST_LISTED), _number(query, "skip")
    if skip > LAST_OFFSET:
        raise refused("skip", f"Skip must not be greater than {LAST_OFFSET}.")
    text = query.get("search", "").strip()
    if "\0" in text or len(text) > LONGEST_SEARCH:
        raise refused("search", f"Search must be a text of at most {LONGEST_SEARCH} characters.")
    wanted = LinkFilter(owner=check_owner(None, caller), search=read_search(text) if text else None)
    async with state.shares.lists.turn(caller.owner), connection(state.list_pool) as conn:
        with refuse_costly():
            total = await count_links(conn, wanted, most=LAST_OFFSET)
            rows = await select_links(conn, wanted, sort="-created_at", after=None, limit=limit, offset=skip)
    data = [link_out(row, state.site) for row in rows]
    return JSONResponse({"total": total, "limit": limit, "skip": skip, "data": data})


async def edit_link(request: Request, id: str) -> Response:  # noqa: A002  # the name in the path
    """Change fields of a link. What is left out or empty stays; an address cannot change, because it may be in print."""
    state, caller = await _authenticate(request, "links:write")
    key = await _find(state, caller, id)
    sent = Sent(await read_members(request))
    if sent.text("address") not in (None, key[1]):
        raise refused("address", "An address cannot be changed, because it may be in print. Create another link.")
    named = {
        "url": sent.target(),
        "notes": sent.text("description"),
        "expires_at": sent.expires_at(),
        "password": sent.password(),
    }
    changes = {name: value for name, value in named.items() if value is not None}
    if not changes:
        raise refused("body", "Should at least update one field.")
    row = await actions.edit_link(state, caller, key, LinkPatch.model_validate(changes))
    return JSONResponse(link_out(row, state.site))


async def remove_link(request: Request, id: str) -> Response:  # noqa: A002  # the name in the path
    """Delete a link for good."""
    state, caller = await _authenticate(request, "links:write")
    await actions.remove_link(state, caller, await _find(state, caller, id))
    return JSONResponse({"message": "Link has been deleted successfully."})


async def count_link(request: Request, id: str) -> Response:  # noqa: A002  # the name in the path
    """Count the clicks of a link in four spans of time."""
    state, caller = await _authenticate(request, "stats:read")
    key = await _find(state, caller, id)
    async with snapshot(request, caller) as conn:
        link = check_seen(await select_link(conn, key), caller)
        spans = await count_spans(conn, link.id)
    return JSONResponse({**spans, "updatedAt": write_instant(datetime.now(UTC)), **link_out(link, state.site)})


async def show_user(request: Request) -> Response:
    """Tell whose key it is, and which domains there are. The key itself is in no answer."""
    state, caller = await _authenticate(request, "links:read", "links:write")
    domains = [domain_out(each, state.site) for each in state.site.own_domains if each != state.site.default_domain]
    return JSONResponse({"apikey": None, "email": caller.owner, "domains": domains})


async def refuse_domain(request: Request) -> Response:
    """Refuse to add or to delete a domain: it needs a name server and a certificate."""
    await _authenticate(request, "admin")
    raise Forbidden("Domains are a setting of this site, DOMAINS, which its operator changes.")


async def tell_health() -> Response:
    return PlainTextResponse("OK")


async def _authenticate(request: Request, *scopes: Scope) -> tuple[LinksState, Caller]:
    state = state_of(request)
    return state, check_scopes(await state.keyring.verify(request.headers.get("x-api-key", "").strip()), *scopes)


async def _find(state: LinksState, caller: Caller, id_: str) -> LinkKey:
    number = link_id(id_)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
        key = await select_key(conn, number)
    if key is None:
        raise NotFound(UNKNOWN)
    return key


def _number(query: Mapping[str, str], name: str) -> int:
    """Read a number as Kutt does: what is none is 0."""
    found = _whole(query.get(name, ""))
    return int(found[0]) if found else 0


def _refuse(request: Request, problem: Problem) -> Response:
    """Answer with Kutt's form of an error: one sentence."""
    status, text = problem.status.value, problem.detail
    match problem:
        case Unauthenticated():
            text = "Unauthorized."
        case NotFound():
            text = UNKNOWN
        case CodeTaken():
            status, text = HTTPStatus.BAD_REQUEST, "Custom URL is already in use."
        case InvalidInput():
            status, text = HTTPStatus.BAD_REQUEST, _sentence(problem.errors[0], problem.detail)
    return JSONResponse({"error": text}, status, problem.headers)


def _sentence(error: FieldError, detail: str) -> str:
    if error.reason == detail:
        return detail
    name = _OTHER_NAMES.get(error.field, error.field)
    # A client may have chosen the name, with braces in it.
    message = _MESSAGES.get(name)
    return f"{name.capitalize()} {error.reason}." if message is None else message.format(reason=error.reason)
