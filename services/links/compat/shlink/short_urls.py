"""The short URLs of Shlink: list, create, read, edit and delete them.

`creating.py` reads what a new one or an edit has; this module does what is asked, by the steps of the API's own routes.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from starlette.responses import Response

from services.links.compat.shlink.calls import Call
from services.links.compat.shlink.creating import create, read_edit, read_new
from services.links.compat.shlink.lists import USUAL_ITEMS, read_order, read_page, write_page
from services.links.compat.shlink.objects import Json, short_url
from services.links.compat.shlink.rows import (
    ORDERS,
    ShortUrlFilter,
    count_short_urls,
    limit_statements,
    select_short_urls,
)
from services.links.links import actions
from services.links.links.checks import check_owner
from services.links.links.search import Search, read_search
from services.links.web.errors import FieldError, InvalidInput, refuse_costly
from services.links.web.texts import normalize
from shared.api import LONGEST_URL
from shared.postgres import Connection, connection

STATEMENTS_S = 4.0
"""The time of both statements of a list, as of one (`ASKING` in `app.py`)."""


async def list_short_urls(call: Call) -> Response:
    """List links, newest first if nothing else is asked. A key with the scope `admin` lists everyone's."""
    asked, order, wanted = (
        read_page(call, usual=USUAL_ITEMS),
        read_order(call, ORDERS, "dateCreated-DESC"),
        _filter(call),
    )
    async with listing(call) as conn:
        began = monotonic()
        total = await count_short_urls(conn, wanted)
        await limit_statements(conn, STATEMENTS_S - (monotonic() - began))
        rows = await select_short_urls(conn, wanted, order, start=asked.start, count=asked.size, total=total)
    return await write_page("shortUrls", asked, rows, total, lambda row: short_url(row, call.site))


async def create_short_url(call: Call) -> Json:
    """Create a link, or find one (`findIfExists`)."""
    return short_url(await create(call, await read_new(call, call.body)), call.site)


async def shorten(call: Call) -> Json | Response:
    """Create a link by GET, of a target alone; as text if that is asked for."""
    row = await create(call, await read_new(call, {"longUrl": call.text("longUrl", LONGEST_URL)}))
    accepts_text = call.request.headers.get("accept", "").partition(",")[0].strip() == "text/plain"
    answer = short_url(row, call.site)
    if call.text("format") == "txt" or (call.text("format") is None and accepts_text):
        return Response(str(answer["shortUrl"]), media_type="text/plain")
    return answer


async def read_short_url(call: Call) -> Json:
    return short_url(await actions.read_link(call.state, call.caller, call.key()), call.site)


async def edit_short_url(call: Call) -> Json:
    """Change members of a link; null clears, and what is as it was shown stays as it is."""
    key = call.key()
    row = await actions.read_link(call.state, call.caller, key)
    body = read_edit(call.body, row)
    if body.model_fields_set:
        row = await actions.edit_link(call.state, call.caller, key, body)
    return short_url(row, call.site)


async def delete_short_url(call: Call) -> None:
    """Delete a link for good: another one cannot have its code."""
    await actions.remove_link(call.state, call.caller, call.key())


@asynccontextmanager
async def listing(call: Call) -> AsyncIterator[Connection]:
    """Lend a connection for a list, in the caller's turn; its statements see the same links and have a deadline."""
    state = call.state
    async with (
        state.shares.lists.turn(call.caller.owner),
        connection(state.list_pool) as conn,
        conn.transaction(isolation="repeatable_read", readonly=True),
    ):
        with refuse_costly():
            yield conn


def _filter(call: Call) -> ShortUrlFilter:
    # Restricted keys see their own links, whatever they name.
    owner = check_owner(call.text("apiKeyName") if call.caller.is_admin else None, call.caller)
    tags, is_all = _tags(call, "tags", "tagsMode")
    without, is_all_without = _tags(call, "excludeTags", "excludeTagsMode")
    return ShortUrlFilter(
        owner=owner,
        domain=call.domain(),
        all_tags=tags if is_all else (),
        any_tags=() if is_all else tags,
        without_all=without if is_all_without else (),
        without_any=() if is_all_without else without,
        search=_search(call),
        since=call.date("startDate"),
        until=call.end(),
        not_used_up=call.is_true("excludeMaxVisitsReached"),
        not_expired=call.is_true("excludePastValidUntil"),
    )


def _search(call: Call) -> Search | None:
    try:
        text = normalize(call.text("searchTerm"))
    except ValueError as error:
        raise InvalidInput(FieldError("searchTerm", str(error))) from None
    return read_search(text) if isinstance(text, str) else None


def _tags(call: Call, name: str, mode_name: str) -> tuple[list[str], bool]:
    """The tags of a filter, and whether all of them are meant."""
    mode = call.text(mode_name) or "any"
    if mode not in ("any", "all"):
        raise InvalidInput(FieldError(mode_name, "must be any or all"))
    return call.texts(name), mode == "all"
