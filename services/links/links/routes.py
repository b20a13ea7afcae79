"""The links of the API: create, list, read, edit and delete them.

A route reads the request, lets `actions.py` do what is asked, and answers with what `forms.py` has.
"""

import re
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Header, Query, Request
from pydantic import AfterValidator, WithJsonSchema
from starlette.responses import Response

from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import MayRead, MayWrite
from services.links.keys.direct_routes import DirectRoute
from services.links.links import actions
from services.links.links.checks import check_filter, link_key
from services.links.links.creation import Outcome, announce_links
from services.links.links.forms import LinkIn, LinkOut, LinkPage, LinkPatch, LinkQuery, link_out
from services.links.links.lists import select_links, sort_value
from services.links.links.rows import LinkRow
from services.links.site import Site
from services.links.state import state_of
from services.links.web.cursors import CursorRefused, Position
from services.links.web.errors import FieldError, InvalidInput, refuse_costly
from services.links.web.idempotency import StoredAnswer, recall_or_begin, store_answer
from services.links.web.versions import etag
from shared.postgres import connection

router = APIRouter(prefix="/api/v1/links", tags=["links"], route_class=ApiRoute)

direct_router = APIRouter(prefix=router.prefix, tags=["links"], route_class=DirectRoute)
"""For the busiest route of the API."""

_KEY_PATTERN = r"^[\x21-\x7e]{1,255}$"
_is_key = re.compile(_KEY_PATTERN).fullmatch


def _check_key(key: str) -> str:
    if not _is_key(key):
        raise ValueError("must be 1 to 255 visible ASCII characters")
    return key


IDEMPOTENCY_KEY = Annotated[
    str, AfterValidator(_check_key), WithJsonSchema({"type": "string", "pattern": _KEY_PATTERN})
]
Domain = Annotated[str | None, Query(description="The link's domain; the first one if left out.")]
IfMatch = Annotated[str | None, Header(description="The link's `ETag`: change it only if it is still that version.")]


@direct_router.post(
    "",
    status_code=201,
    response_model=LinkOut,
    responses={200: {"model": LinkOut, "description": "Your link of the same target and fields (`find_existing`)."}},
    summary="Create a link",
)
async def create_link(
    request: Request,
    body: LinkIn,
    caller: MayWrite,
    idempotency_key: Annotated[IDEMPOTENCY_KEY | None, Header()] = None,
) -> Response:
    """Create a link. With an `Idempotency-Key` it can be repeated for 24 hours and is done once."""
    state = state_of(request)
    draft = await actions.draft_link(state, caller, body)
    if idempotency_key is None:
        return _stored(await actions.create_link(state, caller, draft), state.site)
    async with actions.transaction(state, caller) as conn:
        # Without the defaults: the other release of a deployment may not know a field yet, and is asked the same.
        asked = body.model_dump_json(exclude_defaults=True).encode()
        if body.password is not None:
            asked += state.site.disguise(body.password.get_secret_value())
        if before := await recall_or_begin(conn, state.memory, caller.owner, idempotency_key, asked):
            return _link_response(LinkOut.model_validate_json(before.body), before.status)
        outcome = await actions.store_link(conn, draft)
        response = _stored(outcome, state.site)
        answer = StoredAnswer(response.status_code, bytes(response.body).decode())
        await store_answer(conn, state.memory, caller.owner, idempotency_key, answer)
        await announce_links(conn, [draft], [outcome])
    return response


@router.get("", response_model=LinkPage, summary="List links")
async def list_links(request: Request, query: Annotated[LinkQuery, Query()], caller: MayRead) -> Response:
    """List your links, page by page; a key with the scope `admin` lists everyone's."""
    state = state_of(request)
    site = state.site
    wanted = check_filter(query, caller)
    after = None
    if query.cursor is not None:
        try:
            after = site.cursors.read(query.cursor, query.sort)
        except CursorRefused as error:
            raise InvalidInput(FieldError("cursor", str(error))) from None
    async with state.shares.lists.turn(caller.owner), connection(state.list_pool) as conn:
        with refuse_costly():
            rows = await select_links(conn, wanted, sort=query.sort, after=after, limit=query.limit + 1)
    page, more = rows[: query.limit], rows[query.limit :]
    last = Position(sort_value(page[-1], query.sort), page[-1].id) if more else None
    answer = LinkPage(
        items=[link_out(row, site.short_url(row.key)) for row in page],
        next_cursor=None if last is None else site.cursors.write(last, query.sort),
    )
    # As it is: the framework would check it and write it again, twice the time for a page of a hundred.
    return Response(answer.model_dump_json(), media_type="application/json")


@router.get("/{code}", response_model=LinkOut, summary="Read a link")
async def read_link(request: Request, code: str, caller: MayRead, domain: Domain = None) -> Response:
    """Read one link; its version is the `ETag`."""
    state = state_of(request)
    row = await actions.read_link(state, caller, link_key(code, domain, state.site))
    return _found(row, state.site)


@router.patch("/{code}", response_model=LinkOut, summary="Edit a link")
async def edit_link(
    request: Request,
    code: str,
    body: LinkPatch,
    caller: MayWrite,
    *,
    domain: Domain = None,
    if_match: IfMatch = None,
) -> Response:
    """Change fields of a link; every redirector follows within a second."""
    state = state_of(request)
    row = await actions.edit_link(state, caller, link_key(code, domain, state.site), body, if_match)
    return _found(row, state.site)


@router.delete("/{code}", status_code=204, response_class=Response, summary="Delete a link")
async def remove_link(
    request: Request, code: str, caller: MayWrite, domain: Domain = None, if_match: IfMatch = None
) -> None:
    """Delete a link for good. Its code answers 410 and is never given to another link."""
    state = state_of(request)
    await actions.remove_link(state, caller, link_key(code, domain, state.site), if_match)


def _stored(outcome: Outcome, site: Site) -> Response:
    row = outcome.link
    return _link_response(link_out(row, site.short_url(row.key)), 201 if outcome.is_new else 200)


def _found(row: LinkRow, site: Site) -> Response:
    return _link_response(link_out(row, site.short_url(row.key)), 200)


def _link_response(link: LinkOut, status: int) -> Response:
    headers = {"ETag": etag(link.version)}
    if status == 201:
        headers["Location"] = f"{router.prefix}/{quote(link.code, safe='')}?{urlencode({'domain': link.domain})}"
    return Response(link.model_dump_json(), status, headers, media_type="application/json")
