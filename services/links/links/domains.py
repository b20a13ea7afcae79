"""The domains that links can be created on, as the settings name them."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import MayRead
from services.links.state import state_of

router = APIRouter(prefix="/api/v1/domains", tags=["domains"], route_class=ApiRoute)


class DomainList(BaseModel):
    items: list[str] = Field(examples=[["sho.rt", "go.example.org"]])


@router.get("", summary="List domains")
async def list_domains(request: Request, caller: MayRead) -> DomainList:
    """List the domains of this site; the first is that of a link that names none."""
    return DomainList(items=list(state_of(request).site.own_domains))
