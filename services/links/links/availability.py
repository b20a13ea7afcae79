"""Whether a code can still be had, for a form that asks while its user types; only the creation itself decides."""

from fastapi import APIRouter, Request
from pydantic import BaseModel

from services.links.codes.segments import read_segment
from services.links.codes.stems import Stemmed, select_segmented, select_shadowed
from services.links.codes.taken import has_code
from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import MayReadOrWrite
from services.links.links.checks import check_domain
from services.links.links.routes import Domain
from services.links.state import state_of
from shared.api import CodeRefusal
from shared.codes import is_reserved, spell_code
from shared.postgres import Connection, connection

router = APIRouter(prefix="/api/v1/links", tags=["links"], route_class=ApiRoute)


class Availability(BaseModel):
    """Whether a code is free, and why not."""

    code: str
    domain: str
    available: bool
    reason: CodeRefusal | None


@router.get("/{code:path}/availability", summary="Tell whether a code is free")
async def read_availability(request: Request, code: str, caller: MayReadOrWrite, domain: Domain = None) -> Availability:
    """Tell whether a link with this code could be created now. A deleted link keeps its code, whoever it was of.

    `reason` is `taken` (also by a code of another owner for which this one could be taken), `reserved` (a word that this site
    needs itself) or `malformed` (no code of this domain), or null for a free code. Another client may be faster: the creation
    then answers 409.
    """
    state = state_of(request)
    domain = check_domain(domain, state.site)
    reason: CodeRefusal | None = None
    code = read_segment(code)
    try:
        code = spell_code(code)
    except ValueError:
        reason = "malformed"
    if is_reserved(code):
        reason = "reserved"
    elif reason is None:
        async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
            reason = await _find_reason(conn, caller.owner, Stemmed(domain, code, folds_case=False))
    return Availability(code=code, domain=domain, available=reason is None, reason=reason)


async def _find_reason(conn: Connection, owner: str, wanted: Stemmed) -> CodeRefusal | None:
    if "/" in wanted.code and not await select_segmented(conn, [wanted.domain]):
        return "malformed"
    if await has_code(conn, wanted.key) or await select_shadowed(conn, owner, [wanted]):
        return "taken"
    return None
