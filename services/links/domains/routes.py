"""What operators decide about the domains of the site: where `/` and unknown codes lead, how errors look, and a few files.

Domains themselves are a setting. Each change goes out by the change feed, under the domain's name and no code, so every
redirector has it within a second.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Header, Request
from starlette.responses import Response

from services.links.domains.forms import DomainOut, DomainPatch, FileName, changed_decisions, domain_out, read_file
from services.links.domains.rows import (
    DomainRow,
    delete_file,
    lock_domain,
    select_domain,
    select_file,
    update_domain,
    upsert_file,
)
from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import Caller, MayAdmin
from services.links.links.checks import spell_domain
from services.links.site import Site
from services.links.state import state_of
from services.links.web.bodies import read_body
from services.links.web.errors import NotFound
from services.links.web.versions import check_version, etag
from shared.changes import insert_change
from shared.domains import FILES, LARGEST_FILE
from shared.postgres import Connection, connection

router = APIRouter(prefix="/api/v1/domains", tags=["domains"], route_class=ApiRoute)

IfMatch = Annotated[str | None, Header(description="The domain's `ETag`: change it only if it is still that version.")]

_CONTENT = {
    "application/json": {"schema": {}},
    "text/plain": {"schema": {"type": "string"}},
}


@router.get("/{domain}", response_model=DomainOut, summary="Read a domain")
async def read_domain(request: Request, domain: str, caller: MayAdmin) -> Response:
    """Read what was decided about a domain; `www.` before its name is the same domain. Its version is the `ETag`."""
    state = state_of(request)
    domain = own_domain(domain, state.site)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn, conn.transaction():
        return _found(await select_domain(conn, domain))


@router.patch("/{domain}", response_model=DomainOut, summary="Decide about a domain")
async def edit_domain(
    request: Request, domain: str, body: DomainPatch, caller: MayAdmin, if_match: IfMatch = None
) -> Response:
    """Change where `/`, unknown codes and ended links of a domain lead, its error pages, and its robots.txt.

    Every redirector follows within a second.
    """
    site = state_of(request).site
    domain = own_domain(domain, site)
    changed = changed_decisions(body, site.rules)
    async with _change(request, domain, caller) as conn:
        row = await select_domain(conn, domain)
        check_version(row.version, if_match, name="domain")
        if any(getattr(row, name) != value for name, value in changed.items()):
            await update_domain(conn, domain, changed)
            row = await select_domain(conn, domain)
    return _found(row)


@router.get(
    "/{domain}/files/{name}",
    response_class=Response,
    responses={200: {"description": "The file.", "content": _CONTENT}},
    summary="Read a file of a domain",
)
async def read_domain_file(request: Request, domain: str, name: FileName, caller: MayAdmin) -> Response:
    """Read a file that a domain has under `/.well-known/`."""
    state = state_of(request)
    domain = own_domain(domain, state.site)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
        content = await select_file(conn, domain, name)
    if content is None:
        raise NotFound(_NO_FILE)
    return Response(content, media_type=FILES[name])


@router.put(
    "/{domain}/files/{name}",
    status_code=204,
    response_class=Response,
    openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
    summary="Store a file of a domain",
)
async def store_domain_file(request: Request, domain: str, name: FileName, caller: MayAdmin) -> None:
    """Store a file that visitors find at `/.well-known/NAME`: the body as it is, UTF-8, at most 64 KiB.

    The first two names are JSON, with which apps of Apple and Android open links of the domain themselves; `security.txt` is
    text (RFC 9116). No other name is taken: `acme-challenge` belongs to the certificates.
    """
    domain = own_domain(domain, state_of(request).site)
    content = read_file(name, await read_body(request, LARGEST_FILE, name="A file"))
    async with _change(request, domain, caller) as conn:
        await upsert_file(conn, domain, name, content)
        await update_domain(conn, domain, {})


@router.delete("/{domain}/files/{name}", status_code=204, response_class=Response, summary="Delete a file of a domain")
async def remove_domain_file(request: Request, domain: str, name: FileName, caller: MayAdmin) -> None:
    """Delete a file of a domain; visitors get 404 from then on."""
    domain = own_domain(domain, state_of(request).site)
    async with _change(request, domain, caller) as conn:
        if not await delete_file(conn, domain, name):
            raise NotFound(_NO_FILE)
        await update_domain(conn, domain, {})


def own_domain(text: str, site: Site) -> str:
    """Return the domain of this site that a path names, also by its name with `www.`."""
    spelled = spell_domain(text)
    domain = site.aliases.get(spelled, spelled)
    if domain not in site.own_domains:
        raise NotFound("This site has no such domain.")
    return domain


@asynccontextmanager
async def _change(request: Request, domain: str, caller: Caller) -> AsyncIterator[Connection]:
    """A transaction that has the domain to itself, and announces the change last."""
    state = state_of(request)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn, conn.transaction():
        await lock_domain(conn, domain)
        yield conn
        await insert_change(conn, (domain, ""))


def _found(row: DomainRow) -> Response:
    return Response(
        domain_out(row).model_dump_json(), headers={"ETag": etag(row.version)}, media_type="application/json"
    )


_NO_FILE = "The domain has no such file."
