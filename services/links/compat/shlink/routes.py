"""Shlink's REST API: `/rest/v1`, `/rest/v2` and `/rest/v3`, which answer the same, and `/rest/health`.

A path is one route with all its methods. A call goes through the key, the body, the operation, and the table of errors. Any
page may read the answer, because a key in a header is sent by nobody who does not have it.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple, TypeAlias

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.links.compat.sent import read_members, read_query_lists
from services.links.compat.shlink import domains, rules, short_urls, tags, visits
from services.links.compat.shlink.calls import Call
from services.links.compat.shlink.errors import ShlinkProblem, answer_problem, missing_key, wrong_key
from services.links.keys.authentication import Caller, check_scopes
from services.links.state import LinksState, state_of
from services.links.web.errors import Forbidden, Unauthenticated
from services.links.web.head import is_head
from shared.api import SCOPES, Scope
from shared.postgres import FAILURES, connection

VERSION = "5.1.0"
"""Clients show what a release has. This one has rules by address, country, query, date and browser, and `excludeTags`."""

HEALTH_DEADLINE_S = 1.0

VERSIONS = ("v1", "v2", "v3")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

PREFLIGHT_S = 3600

Operation: TypeAlias = Callable[[Call], Awaitable[object]]


class Offer(NamedTuple):
    """An operation, and the scopes of which a key has to have one."""

    operation: Operation
    scopes: tuple[Scope, ...]


async def _tell_mercure(call: Call) -> None:
    raise ShlinkProblem(
        "mercure-not-configured",
        HTTPStatus.NOT_IMPLEMENTED,
        "Mercure integration not configured",
        "This Shlink instance is not integrated with a mercure hub.",
    )


READ: tuple[Scope, ...] = ("links:read",)
WRITE: tuple[Scope, ...] = ("links:write",)
STATISTICS: tuple[Scope, ...] = ("stats:read",)
ADMIN: tuple[Scope, ...] = ("admin",)

OFFERS: Mapping[str, Mapping[str, Offer]] = {
    "/short-urls": {
        "GET": Offer(short_urls.list_short_urls, READ),
        "POST": Offer(short_urls.create_short_url, WRITE),
    },
    "/short-urls/shorten": {"GET": Offer(short_urls.shorten, WRITE)},
    "/short-urls/{code:path}/visits": {
        "GET": Offer(visits.list_visits_of_short_url, STATISTICS),
        "DELETE": Offer(visits.delete_visits_of_short_url, WRITE),
    },
    "/short-urls/{code:path}/redirect-rules": {
        "GET": Offer(rules.read_rules, READ),
        "POST": Offer(rules.replace_rules, WRITE),
        "PATCH": Offer(rules.replace_rules, WRITE),
    },
    "/short-urls/{code:path}": {
        "GET": Offer(short_urls.read_short_url, READ),
        "PATCH": Offer(short_urls.edit_short_url, WRITE),
        "DELETE": Offer(short_urls.delete_short_url, WRITE),
    },
    "/tags": {
        "GET": Offer(tags.list_tags, READ),
        "PUT": Offer(tags.edit_tag, WRITE),
        "DELETE": Offer(tags.delete_tags, WRITE),
    },
    "/tags/stats": {"GET": Offer(tags.list_tag_stats, READ)},
    "/tags/{tag:path}/visits": {"GET": Offer(visits.list_visits_of_tag, STATISTICS)},
    "/domains": {"GET": Offer(domains.list_domains, READ)},
    "/domains/redirects": {"PATCH": Offer(domains.edit_redirects, ADMIN)},
    "/domains/{domain}/visits": {"GET": Offer(visits.list_visits_of_domain, STATISTICS)},
    "/visits": {"GET": Offer(visits.sum_visits, STATISTICS)},
    "/visits/non-orphan": {"GET": Offer(visits.list_visits, STATISTICS)},
    "/visits/orphan": {
        "GET": Offer(visits.list_orphan_visits, STATISTICS),
        "DELETE": Offer(visits.delete_orphan_visits, WRITE),
    },
    "/mercure-info": {"GET": Offer(_tell_mercure, SCOPES)},
}
"""All operations but `/health`, by path and method. Of two paths that match, the first one counts."""

KEY_HEADER, KEY_PARAMETER = "X-Api-Key", "apiKey"

CREATES_BY_GET = short_urls.shorten
"""It is called from where no header can be sent, so it has its key in the query."""


def shlink_router() -> APIRouter:
    """Return the routes of Shlink."""
    router = APIRouter(prefix="/rest", include_in_schema=False)
    for prefix in ("", *(f"/{version}" for version in VERSIONS)):
        _add(router, f"{prefix}/health", ("GET",), _tell_health)
    for version in VERSIONS:
        for path, offers in OFFERS.items():
            _add(router, f"/{version}{path}", tuple(offers), _answer_call(offers))
    _add(router, "/{path:path}", METHODS, _answer_unknown)
    return router


def _add(
    router: APIRouter, path: str, methods: tuple[str, ...], answer: Callable[[Request], Awaitable[Response]]
) -> None:
    async def answer_any(request: Request) -> Response:
        method = "HEAD" if is_head(request) else request.method
        if method == "OPTIONS":
            response = _answer_options(request, methods)
        elif request.method not in methods:
            detail = f"Here is {', '.join(methods)}."
            problem = ShlinkProblem("method-not-allowed", HTTPStatus.METHOD_NOT_ALLOWED, "Method not allowed", detail)
            response = answer_problem(problem, request, {})
            response.headers["Allow"] = ", ".join(methods)
        else:
            response = await answer(request)
        if "origin" in request.headers:
            response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    router.add_api_route(path, answer_any, methods=[*METHODS, "OPTIONS"])


def _answer_call(offers: Mapping[str, Offer]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        offer = offers[request.method]
        body: Mapping[str, object] = {}
        try:
            if offer.operation is CREATES_BY_GET and is_head(request):
                return Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET"})
            state = state_of(request)
            lists = read_query_lists(request)
            caller = await _authenticate(state, request, offer)
            if request.method != "GET":
                body = await read_members(request)
            found = await offer.operation(Call(request, state, caller, lists, body))
        except Exception as error:
            return answer_problem(error, request, body)
        if found is None:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return found if isinstance(found, Response) else Response(json.dumps(found), media_type="application/json")

    return answer


async def _authenticate(state: LinksState, request: Request, offer: Offer) -> Caller:
    """Find the owner of the key.

    Raises:
        ShlinkProblem: There is no key, or none that is valid.
        Forbidden: The key lacks the scopes.
    """
    if offer.operation is CREATES_BY_GET:
        text = request.query_params.get(KEY_PARAMETER)
        missing = missing_key(f"the parameter {KEY_PARAMETER}", param=KEY_PARAMETER)
    else:
        text = request.headers.get(KEY_HEADER)
        missing = missing_key(f"the header {KEY_HEADER}", expectedHeaders=[KEY_HEADER])
    if not text:
        raise missing
    try:
        key = await state.keyring.verify(text.strip())
    except Unauthenticated:
        raise wrong_key() from None
    try:
        return check_scopes(key, *offer.scopes)
    except Forbidden as error:
        if offer.operation in (tags.edit_tag, tags.delete_tags):
            raise ShlinkProblem(
                "forbidden-tag-operation", HTTPStatus.FORBIDDEN, "Forbidden tag operation", error.detail
            ) from None
        raise


def _answer_options(request: Request, methods: tuple[str, ...]) -> Response:
    if "origin" not in request.headers:
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": ", ".join(methods)})
    headers = {
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Allow-Headers": request.headers.get("access-control-request-headers", ""),
        "Access-Control-Max-Age": str(PREFLIGHT_S),
    }
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)


async def _answer_unknown(request: Request) -> Response:
    detail = "There is nothing at this path."
    return answer_problem(ShlinkProblem("not-found", HTTPStatus.NOT_FOUND, "Not found", detail), request, {})


async def _tell_health(request: Request) -> Response:
    """Pass if Postgres answers. Needs no key."""
    state = state_of(request)
    try:
        async with connection(state.key_pool, deadline_s=HEALTH_DEADLINE_S) as conn:
            await conn.fetchval("SELECT 1")
        works = True
    except FAILURES:
        works = False
    body = {
        "status": "pass" if works else "fail",
        "version": VERSION,
        "links": {"about": "https://shlink.io", "project": "https://github.com/shlinkio/shlink"},
    }
    status = HTTPStatus.OK if works else HTTPStatus.SERVICE_UNAVAILABLE
    return Response(json.dumps(body), status, media_type="application/health+json")
