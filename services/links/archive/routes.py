"""The archive of all that somebody has, as one file to keep or to move out with. `POST /api/v1/imports` reads it back.

`pages.py` reads Postgres, `writing.py` writes the file.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from services.links.archive.pages import ArchivePages
from services.links.archive.writing import ArchiveWriter
from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import Caller, MayRead
from services.links.links.checks import check_owner
from services.links.links.exports import ExportResponse
from services.links.sources.archive_lines import FORMAT, Manifest
from services.links.state import state_of
from services.links.web.errors import Forbidden
from services.links.web.head import is_head
from services.links.web.texts import Wanted
from shared.postgres import FAILURES

MEDIA_TYPE = "application/gzip"

router = APIRouter(prefix="/api/v1/exports", tags=["exports"], route_class=ApiRoute)
log = structlog.get_logger()


class ArchiveQuery(BaseModel):
    """What comes along."""

    model_config = ConfigDict(extra="forbid")

    passwords: bool = Field(
        True,
        description="Hashes of passwords come along, which needs `links:write`. If not, links with a password come back "
        "switched off.",
    )
    raw_clicks: bool = Field(
        False, description="Single clicks come along, as far as CLICKS_RETENTION_DAYS has kept them; it takes longer."
    )
    owner: Wanted | None = Field(
        None, description="For the scope `admin`, which else gets everyone's, and the domains."
    )


@router.get(
    "/archive",
    summary="Export everything",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A tar file, compressed with gzip.",
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def export_archive(request: Request, query: Annotated[ArchiveQuery, Query()], caller: MayRead) -> ExportResponse:
    """Export all that you have as one archive: links, deleted ones, and the counts of each day, imported ones told apart.

    With the scope `admin` it has everyone's links, and what was decided about domains. It has no keys. Besides `links:read`
    it needs `stats:read`.

    It is of no single moment: each link is as it was when its turn came, and each of its days. An archive that fails on the
    way breaks off: the transfer ends with an error, and its last member, which says how much there is of all, is missing.
    """
    _check_scopes(caller, query)
    state = state_of(request)
    owner = check_owner(query.owner, caller)
    manifest = Manifest(
        format=FORMAT,
        release=state.release,
        created_at=datetime.now(UTC),
        owner=owner,
        passwords=query.passwords,
        raw_clicks=query.raw_clicks,
    )
    pages = ArchivePages(
        state.export_pool,
        state.shares.pace,
        caller.owner,
        owner,
        passwords=query.passwords,
        raw_until=manifest.created_at if query.raw_clicks else None,
    ).read()
    writer = ArchiveWriter(manifest)
    turn = AsyncExitStack()
    await turn.enter_async_context(state.shares.exports.turn(caller.owner))
    try:
        await turn.enter_async_context(state.export_gate.turn())
        # The first page is read before the answer begins, so that its errors still have a status of their own.
        first = await anext(pages, None)
    except BaseException:
        await turn.aclose()
        raise

    async def body() -> AsyncIterator[bytes]:
        if is_head(request):
            return
        yield writer.begin() + writer.add(first or ())
        try:
            async for lines in pages:
                # Compression lets the other requests run meanwhile.
                yield await asyncio.to_thread(writer.add, lines)
        except FAILURES as error:
            # The server closes the connection without the end of the body.
            log.warning("archive_broken", error=type(error).__name__)
            raise
        yield writer.end()

    name = f"tinyurl-{manifest.created_at:%Y-%m-%d}.tar.gz"
    return ExportResponse(
        body(),
        request=request,
        turn=turn,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            # nginx would put what a slow client has not read into a file.
            "X-Accel-Buffering": "no",
        },
        media_type=MEDIA_TYPE,
    )


def _check_scopes(caller: Caller, query: ArchiveQuery) -> None:
    if not {"stats:read", "admin"} & set(caller.scopes):
        raise Forbidden("An archive has statistics: this key lacks the scope stats:read.")
    if query.passwords and not {"links:write", "admin"} & set(caller.scopes):
        raise Forbidden("The hashes of passwords are for the scope links:write; ask with `passwords=false`.")
