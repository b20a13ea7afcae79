"""The QR code of a short link, drawn when it is asked for: it is made of the short URL alone, so an edit never changes it."""

import asyncio
import hashlib
import io
from typing import Annotated, Literal
from urllib.parse import quote

import segno
from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import MayRead
from services.links.links.checks import check_seen, link_key
from services.links.links.rows import select_link
from services.links.state import state_of
from services.links.web.texts import Wanted
from shared.postgres import connection

LIFETIME_S = 24 * 3600
MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png"}

router = APIRouter(prefix="/api/v1/links", tags=["links"], route_class=ApiRoute)


class QrQuery(BaseModel):
    """Of which link, and how the image looks."""

    model_config = ConfigDict(extra="forbid")

    domain: Wanted | None = Field(None, description="The link's domain; the first one if left out.")
    format: Literal["svg", "png"] = "svg"
    scale: int = Field(8, ge=1, le=40, description="Width of a module, in pixels or SVG user units.")
    border: int = Field(4, ge=0, le=20, description="Width of the quiet zone, in modules; readers rely on 4.")
    error_correction: Literal["L", "M", "Q", "H"] = Field(
        "M",
        description="How much may be unreadable: 7, 15, 25 or 30 %. A higher level is used where it costs no space.",
    )


@router.get(
    "/{code}/qr",
    summary="Draw a link's QR code",
    response_class=Response,
    responses={
        200: {
            "description": "The image.",
            "content": {
                "image/svg+xml": {
                    "schema": {"type": "string"},
                    "example": '<svg xmlns="http://www.w3.org/2000/svg" width="264" height="264">…</svg>',
                },
                "image/png": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        304: {"description": "The image is the one that `If-None-Match` names."},
    },
)
async def read_qr(
    request: Request,
    code: str,
    query: Annotated[QrQuery, Query()],
    caller: MayRead,
    if_none_match: Annotated[str | None, Header(description="The `ETag` of an image that you have.")] = None,
) -> Response:
    """Draw the QR code of a link's short URL, as SVG or PNG. It stays the same for the link's whole life."""
    state = state_of(request)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
        row = check_seen(await select_link(conn, link_key(code, query.domain, state.site)), caller)
    short_url = state.site.short_url(row.key)
    etag = _etag(short_url, query)
    headers = {"ETag": etag, "Cache-Control": f"private, max-age={LIFETIME_S}"}
    if if_none_match is not None and {"*", etag} & {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}:
        return Response(status_code=304, headers=headers)
    # Up to 90 ms for the longest domain at the largest scale; 5 ms as a rule.
    image = await asyncio.to_thread(draw_qr, short_url, query)
    headers["Content-Disposition"] = "inline; " + _filename(f"{row.code}.{query.format}")
    return Response(image, headers=headers, media_type=MEDIA_TYPES[query.format])


def draw_qr(text: str, query: QrQuery) -> bytes:
    """Draw a QR code (ISO/IEC 18004), black on white whatever lies behind it."""
    out = io.BytesIO()
    segno.make_qr(text, error=query.error_correction).save(
        out, kind=query.format, scale=query.scale, border=query.border, dark="black", light="white"
    )
    return out.getvalue()


def _filename(name: str) -> str:
    """Name a file as RFC 6266 says; a name in other letters is encoded."""
    is_plain = name.isascii() and "/" not in name
    return f'filename="{name}"' if is_plain else f"filename*=UTF-8''{quote(name, safe='')}"


def _etag(short_url: str, query: QrQuery) -> str:
    """Tell images apart without drawing them: by what they are made of, and the release that draws them."""
    made_of = (segno.__version__, short_url, query.format, query.scale, query.border, query.error_correction)
    return f'"{hashlib.sha256(repr(made_of).encode()).hexdigest()[:32]}"'
