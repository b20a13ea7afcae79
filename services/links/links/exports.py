"""Exports: all links that a filter finds, as a stream of CSV or NDJSON. Their number and the speed of the client do not matter.

A short statement reads each page of links. The export holds no connection and no snapshot while the client reads.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import MayRead, run_while_valid
from services.links.links.checks import check_filter
from services.links.links.conditions import spell_models
from services.links.links.forms import ExportQuery, LinkOut, link_out
from services.links.links.lists import LinkFilter, select_links_before
from services.links.links.rows import LinkRow
from services.links.state import state_of
from services.links.web.errors import Busy, FieldError, InvalidInput, Unauthenticated, refuse_costly
from services.links.web.head import is_head
from services.links.web.media import choose_media_type
from services.links.web.pace import Pace
from shared.csv_cells import csv_lines, join_tags
from shared.postgres import FAILURES, Pool, connection

PAGE_LINKS = 100
"""Some 2 ms of work without a pause. A page of the largest links (45 KB) has 4.5 MB, thrice that while it is written."""

PAUSE_S = 0.005
"""The pause between two pages is as long as the work of one, so that no export blocks the process."""

EXPORTS_AT_ONCE = 16
"""They have 220 MB with the largest links. An owner may have fewer (`web/shares.py`)."""

ABOVE_ALL_IDS = 2**63 - 1
CSV, NDJSON = "text/csv", "application/x-ndjson"
BOM = "\ufeff"
COLUMNS = tuple(LinkOut.model_fields)

router = APIRouter(prefix="/api/v1/exports", tags=["exports"], route_class=ApiRoute)
log = structlog.get_logger()


@router.get(
    "",
    summary="Export links",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "All the links, the newest first: a line for each.",
            "content": {
                CSV: {
                    "schema": {"type": "string"},
                    "example": "short_url,code,domain,url,title,tags,…\r\n"
                    '"https://sho.rt/py","py","sho.rt","https://www.python.org/",,"docs|python",…\r\n',
                },
                NDJSON: {
                    "schema": {"type": "string"},
                    "example": '{"short_url": "https://sho.rt/py", "code": "py", "tags": ["docs", "python"], …}\n',
                },
            },
        }
    },
)
async def export_links(
    request: Request,
    query: Annotated[ExportQuery, Query()],
    caller: MayRead,
    accept: Annotated[str | None, Header(description="`text/csv` (the default) or `application/x-ndjson`.")] = None,
) -> StreamingResponse:
    """Export the links of the list with the same parameters, without pages; a key with the scope `admin` exports everyone's.

    NDJSON has in each line what the list has in `items`. CSV has the same fields as columns: times as RFC 3339, texts in
    quotes, rules and splits as JSON, tags joined by `|` (`\\` comes before a `|` or `\\` of the tag itself, and a `|` after a
    single tag with a comma or semicolon). No spreadsheet takes a text for a formula: an apostrophe stands before `= + - @`,
    their full-width forms, an apostrophe, a tab and a line break at the beginning of a text or after a `;`, tab or line
    break in it, also with blanks and quotes between. Taken away again, with Create many of the dashboard, they leave the
    text that it was.

    A link that is there all the while is in the export once; edits made meanwhile may or may not be. An export that fails
    on the way breaks off: the transfer ends with an error, never like a complete one.
    """
    media_type = choose_media_type(accept, (CSV, NDJSON))
    if query.bom and media_type != CSV:
        raise InvalidInput(FieldError("bom", f"is for {CSV} alone"))
    wanted = check_filter(query, caller)
    state = state_of(request)
    pages = _Pages(state.export_pool, state.shares.pace, caller.owner, wanted, state.export_gate.page_links)
    turn = AsyncExitStack()
    await turn.enter_async_context(state.shares.exports.turn(caller.owner))
    try:
        await turn.enter_async_context(state.export_gate.turn())
        # The first page is read before the answer begins, so that its errors still have a status of their own.
        rows = await pages.select(ABOVE_ALL_IDS)
    except BaseException:
        await turn.aclose()
        raise
    if media_type == CSV:
        name, header, write = "links.csv", (BOM if query.bom else "") + "".join(csv_lines(COLUMNS, [])), write_csv
    else:
        name, header, write = "links.ndjson", "", _ndjson

    async def body() -> AsyncIterator[str]:
        if is_head(request):
            return
        yield header
        async for page in pages.read(rows):
            yield write([_exported(row, state.site.short_url(row.key)) for row in page])

    return ExportResponse(
        body(),
        request=request,
        turn=turn,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Vary": "Accept",
            # nginx would put what a slow client has not read into a file.
            "X-Accel-Buffering": "no",
        },
        media_type=media_type,
    )


def write_csv(links: list[LinkOut]) -> str:
    """Write links as lines of CSV, without the first line."""
    _, *lines = csv_lines(COLUMNS, (_cells(link) for link in links))
    return "".join(lines)


class ExportGate:
    """Limits the memory of exports. Each holds a page while its client reads.

    Args:
        at_once: The number of exports that run at once.
        page_links: The number of links of a page.
    """

    def __init__(self, at_once: int = EXPORTS_AT_ONCE, page_links: int = PAGE_LINKS) -> None:
        self.page_links = page_links
        self._turns = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Take a turn, without a wait.

        Raises:
            Busy: Too many run.
        """
        if self._turns.locked():
            raise Busy("Too many exports are being read at once.")
        async with self._turns:
            yield


class ExportResponse(StreamingResponse):
    """A stream that ends when its key is no longer valid, also while the client reads nothing. Then it gives its turn back."""

    def __init__(
        self,
        content: AsyncIterator[str] | AsyncIterator[bytes],
        *,
        request: Request,
        turn: AsyncExitStack,
        headers: dict[str, str],
        media_type: str,
    ) -> None:
        super().__init__(content, headers=headers, media_type=media_type)
        self._request = request
        self._turn = turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._turn:
            try:
                await run_while_valid(self._request, super().__call__(scope, receive, send))
            except Unauthenticated:
                # The end of the body is not sent, so the client sees a broken transfer.
                log.info("export_ended_with_its_key")
                raise


@dataclass(frozen=True, slots=True)
class _Pages:
    """The pages of an export, each of `links` links. A page is a step of the owner's heavy work."""

    pool: Pool
    pace: Pace
    owner: str
    wanted: LinkFilter
    links: int

    async def read(self, rows: list[LinkRow]) -> AsyncIterator[list[LinkRow]]:
        """Read page after page. The client reads between two of them."""
        yield rows
        while len(rows) == self.links:
            await asyncio.sleep(PAUSE_S)
            try:
                rows = await self.select(rows[-1].id)
            except FAILURES as error:
                # The server closes the connection without the end of the body.
                log.warning("export_broken", error=type(error).__name__)
                raise
            yield rows

    async def select(self, before_id: int) -> list[LinkRow]:
        async with self.pace.step(self.owner), connection(self.pool) as conn:
            with refuse_costly():
                return await select_links_before(conn, self.wanted, before_id=before_id, limit=self.links)


def _exported(row: LinkRow, short_url: str) -> LinkOut:
    link = link_out(row, short_url)
    link.url = row.fields.url_as_given
    return link


def _ndjson(links: list[LinkOut]) -> str:
    return "".join(link.model_dump_json() + "\n" for link in links)


def _cells(link: LinkOut) -> list[object]:
    texts = {
        "tags": join_tags(link.tags),
        "rules": spell_models(link.rules or ()),
        "split": spell_models(link.split or ()),
    }
    return list({**vars(link), **texts}.values())
