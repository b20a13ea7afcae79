"""Clicks are erased on request, those of a link or those of all links of an owner.

The routes note who asks; `services/links/packed/erasing.py` does it by the clock, so that no number of clicks makes a client
wait.
"""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import Caller, MayWrite
from services.links.links.checks import check_owner, check_seen, link_key
from services.links.links.rows import LinkRow, select_link
from services.links.packed.erasing import insert_erasure, insert_owner_erasure
from services.links.state import LinksState, state_of
from services.links.web.texts import Wanted
from shared.postgres import connection
from shared.records import LinkKey

router = APIRouter(prefix="/api/v1", tags=["statistics"], route_class=ApiRoute)


@router.delete("/links/{code}/clicks", status_code=202, response_class=Response, summary="Erase the clicks of a link")
async def erase_clicks(
    request: Request, code: str, caller: MayWrite, domain: Annotated[str | None, Query()] = None
) -> None:
    """Erase a link's clicks, raw ones and counts, out of the statistics of all your links, too. It takes some minutes.

    The link goes on counting; what is clicked meanwhile may be erased as well. Unique visitors of all your links stay.
    """
    state = state_of(request)
    await ask_erasure(state, caller, link_key(code, domain, state.site))


async def ask_erasure(state: LinksState, caller: Caller, key: LinkKey) -> LinkRow:
    """Ask that the clicks of a link be erased, and return the link."""
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
        link = check_seen(await select_link(conn, key), caller)
        await insert_erasure(conn, link.id, link.owner)
    return link


@router.delete("/clicks", status_code=202, response_class=Response, summary="Erase the clicks of all your links")
async def erase_all_clicks(request: Request, caller: MayWrite, owner: Annotated[Wanted | None, Query()] = None) -> None:
    """Erase the clicks of all your links, deleted ones included, and their unique visitors.

    A key with the scope `admin` may name another owner.
    """
    state = state_of(request)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
        await insert_owner_erasure(conn, check_owner(owner, caller) or caller.owner)
