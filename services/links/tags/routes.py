"""What there is to choose from for a link: the tags in use, counted from the links when asked for, and the domains."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import MayRead
from services.links.links.checks import check_owner
from services.links.links.lists import select_tags
from services.links.state import state_of
from services.links.web.errors import refuse_costly
from services.links.web.texts import Wanted
from shared.api import LONGEST_TAG
from shared.postgres import connection

MOST_TAGS = 1000

router = APIRouter(prefix="/api/v1", route_class=ApiRoute)


class TagQuery(BaseModel):
    """Which tags to list."""

    model_config = ConfigDict(extra="forbid")

    q: Annotated[Wanted, StringConstraints(min_length=1, max_length=LONGEST_TAG)] | None = Field(
        None, description="Part of the tag, whatever its case."
    )
    owner: Wanted | None = Field(None, description="For the scope `admin`.")


class TagCount(BaseModel):
    """A tag, and how many links have it."""

    tag: str = Field(examples=["docs"])
    links: int = Field(examples=[3])


class TagList(BaseModel):
    items: list[TagCount]


class DomainList(BaseModel):
    items: list[str] = Field(examples=[["sho.rt", "go.example.org"]])


@router.get("/tags", tags=["tags"], summary="List tags")
async def list_tags(request: Request, query: Annotated[TagQuery, Query()], caller: MayRead) -> TagList:
    """List the tags of your links by name, at most 1,000: with `q` the others are found, too.

    A key with the scope `admin` sees everyone's.
    """
    owner = check_owner(query.owner, caller)
    state = state_of(request)
    async with state.shares.lists.turn(caller.owner), connection(state.list_pool) as conn:
        with refuse_costly():
            found = await select_tags(conn, owner=owner, search=query.q, limit=MOST_TAGS)
    return TagList(items=[TagCount(tag=tag, links=links) for tag, links in found])


@router.get("/domains", tags=["domains"], summary="List domains")
async def list_domains(request: Request, caller: MayRead) -> DomainList:
    """List the domains of this site; the first is that of a link that names none."""
    return DomainList(items=list(state_of(request).site.own_domains))
