"""The raw clicks of a link, page by page, for as long as they are kept."""

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import MayReadStats
from services.links.links.checks import check_seen, link_key
from services.links.links.rows import select_link
from services.links.packed.days import OWN
from services.links.site import Site
from services.links.state import state_of
from services.links.stats.forms import ClickOut, ClickPage, ClicksQuery
from services.links.stats.packed import select_packed_clicks
from services.links.stats.routes import CSV_TOO, JSON_OR_CSV, KINDS, snapshot
from services.links.stats.rows import select_clicks
from services.links.stats.scopes import Period
from services.links.web.cursors import CursorRefused, Position
from services.links.web.errors import FieldError, InvalidInput
from services.links.web.media import choose_media_type
from shared.csv_cells import csv_lines

router = APIRouter(prefix="/api/v1/links", tags=["statistics"], route_class=ApiRoute)

CLICK_HEADER = tuple(ClickOut.model_fields)

_ALWAYS = Period(datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))


@router.get("/{code}/clicks", response_model=ClickPage, responses=CSV_TOO, summary="List the clicks of a link")
async def list_clicks(
    request: Request, code: str, query: Annotated[ClicksQuery, Query()], caller: MayReadStats
) -> Response:
    """List a link's raw clicks, the newest first, until CLICKS_RETENTION_DAYS drops them; their counts stay.

    With `Accept: text/csv` a page is a table, and the `Link` header has the next one.
    """
    site = state_of(request).site
    media_type = choose_media_type(request.headers.get("accept"), JSON_OR_CSV)
    key = link_key(code, query.domain, site)
    period = Period(query.since or _ALWAYS.since, query.until or _ALWAYS.until)
    if period.since >= period.until:
        raise InvalidInput(FieldError("from", "must lie before `to`"))
    async with snapshot(request, caller) as conn:
        link = check_seen(await select_link(conn, key), caller)
        listed = f"clicks {link.id}"
        after = _read_cursor(query.cursor, listed, site)
        asked: dict[str, Any] = {"bots": query.bots, "after": after, "limit": query.limit + 1}
        kinds = KINDS[query.imported]
        rows = await select_clicks(conn, link.id, period, **asked) if OWN in kinds else []
        rows += await select_packed_clicks(conn, link.id, period, **asked, kinds=kinds)
    rows.sort(key=lambda row: (row.clicked_at, row.id), reverse=True)
    page, more = rows[: query.limit], rows[query.limit :]
    cursor = site.cursors.write(Position(page[-1].clicked_at, page[-1].id), listed) if more else None
    items = [
        ClickOut(clicked_at=row.clicked_at, is_bot=row.is_bot, **row.dimensions._asdict(), imported=row.imported)
        for row in page
    ]
    headers = {"Vary": "Accept"}
    if cursor is not None:
        next_query = query.model_dump(mode="json", by_alias=True, exclude_defaults=True) | {"cursor": cursor}
        headers["Link"] = f'<{request.url.path}?{urlencode(next_query)}>; rel="next"'
    if media_type == "text/csv":
        lines = csv_lines(CLICK_HEADER, (tuple(dict(item).values()) for item in items))
        return Response("".join(lines), media_type=media_type, headers=headers)
    body = ClickPage(items=items, next_cursor=cursor).model_dump_json()
    return Response(body, media_type=media_type, headers=headers)


def _read_cursor(cursor: str | None, listed: str, site: Site) -> Position | None:
    try:
        return None if cursor is None else site.cursors.read(cursor, listed)
    except CursorRefused as error:
        raise InvalidInput(FieldError("cursor", str(error))) from None
