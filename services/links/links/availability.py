"""Whether a code can still be had, for a form that asks while its user types; only the creation itself decides."""

from fastapi import APIRouter, Request
from pydantic import BaseModel

from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import MayReadOrWrite
from services.links.links.checks import check_domain
from services.links.links.routes import Domain
from services.links.links.rows import has_code
from services.links.state import state_of
from shared.api import CodeRefusal
from shared.codes import is_code, is_reserved
from shared.postgres import connection

router = APIRouter(prefix="/api/v1/links", tags=["links"], route_class=ApiRoute)


class Availability(BaseModel):
    """Whether a code is free, and why not."""

    code: str
    domain: str
    available: bool
    reason: CodeRefusal | None


# A code with a slash in it is malformed, and no path of something else.
@router.get("/{code:path}/availability", summary="Tell whether a code is free")
async def read_availability(request: Request, code: str, caller: MayReadOrWrite, domain: Domain = None) -> Availability:
    """Tell whether a link with this code could be created now. A deleted link keeps its code, whoever it was of.

    `reason` is `taken`, `reserved` (a word that this site needs itself) or `malformed` (codes are 1 to 64 of
    `0-9A-Za-z_-`), or null for a free code. Another client may be faster: the creation then answers 409.
    """
    state = state_of(request)
    domain = check_domain(domain, state.site)
    reason: CodeRefusal | None = None
    if is_reserved(code):
        reason = "reserved"
    elif not is_code(code):
        reason = "malformed"
    else:
        async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
            reason = "taken" if await has_code(conn, (domain, code)) else None
    return Availability(code=code, domain=domain, available=reason is None, reason=reason)
