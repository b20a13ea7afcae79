"""The tags of Shlink: in use, with their numbers, renamed and taken away. A tag exists as long as a link has it."""

from collections.abc import Callable, Sized
from http import HTTPStatus

from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from services.links.compat.shlink.calls import Call
from services.links.compat.shlink.errors import ShlinkProblem, tag_not_found
from services.links.compat.shlink.lists import read_order, read_page, write_page
from services.links.compat.shlink.objects import Json, summary
from services.links.compat.shlink.short_urls import listing
from services.links.compat.shlink.tag_rows import (
    MOST_RETAGGED,
    TAG_ORDERS,
    TagCount,
    find_tagged,
    remove_tags,
    rename_tag,
    select_tag_counts,
)
from services.links.links import actions
from services.links.links.checks import check_owner
from services.links.web.errors import FieldError, InvalidInput, TooCostly, invalid_input
from services.links.web.texts import Tag
from shared.api import LONGEST_TAG

_tag = TypeAdapter(Tag)


async def list_tags(call: Call) -> Response:
    """List the names of the tags in use."""
    return await _list(call, _name)


async def list_tag_stats(call: Call) -> Response:
    """List the tags in use, with the number of their links and of the clicks of these."""
    return await _list(call, _counted)


async def edit_tag(call: Call) -> None:
    """Give a tag another name."""
    old, new = (_named(call, name) for name in ("oldName", "newName"))
    owner = check_owner(None, call.caller)
    async with call.state.shares.batches.turn(call.caller.owner), actions.transaction(call.state, call.caller) as conn:
        found = await find_tagged(conn, owner, [old, new])
        if not any(old in tags for tags in found.values()):
            raise tag_not_found(old)
        if old == new:
            return
        if any(new in tags for tags in found.values()):
            raise ShlinkProblem(
                "tag-conflict",
                HTTPStatus.CONFLICT,
                "Tag conflict",
                f"There is a tag {new!r} already.",
                oldName=old,
                newName=new,
            )
        _check_count(found)
        await rename_tag(conn, found, old, new)


async def delete_tags(call: Call) -> None:
    """Take tags away from all links, which stay. Those that do not exist are no error."""
    tags = call.texts("tags")
    owner = check_owner(None, call.caller)
    if not tags:
        return
    async with call.state.shares.batches.turn(call.caller.owner), actions.transaction(call.state, call.caller) as conn:
        found = await find_tagged(conn, owner, tags)
        _check_count(found)
        await remove_tags(conn, found, tags)


async def _list(call: Call, write: Callable[[TagCount], object]) -> Response:
    asked, order = read_page(call), read_order(call, TAG_ORDERS, "tag-ASC")
    search = call.text("searchTerm", LONGEST_TAG)
    async with listing(call) as conn:
        rows, total = await select_tag_counts(
            conn,
            owner=check_owner(None, call.caller),
            search=search,
            order=order,
            start=asked.start,
            count=asked.size,
        )
    return await write_page("tags", asked, rows, total, write)


def _name(found: TagCount) -> str:
    return found.tag


def _counted(found: TagCount) -> Json:
    return {"tag": found.tag, "shortUrlsCount": found.links, "visitsSummary": summary(found.clicks, found.humans)}


def _named(call: Call, name: str) -> str:
    """A tag in the body. Its case stays, as in Shlink."""
    try:
        return _tag.validate_python(call.body.get(name))
    except ValidationError as error:
        raise InvalidInput(FieldError(name, invalid_input(error).errors[0].reason)) from None


def _check_count(found: Sized) -> None:
    if len(found) > MOST_RETAGGED:
        raise TooCostly(f"More than {MOST_RETAGGED:,} links have the tag: change them in parts, by the API's batches.")
