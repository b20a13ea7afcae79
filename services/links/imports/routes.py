"""Imports: a client sends a file, looks how far it is, reads what was left out, and can undo all of it.

The routes only receive and tell; `process.py` does the work. `spool.py` keeps what has come, so an upload can go on.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from services.links.imports.forms import ImportList, ImportOut, ImportQuery, read_options
from services.links.imports.rows import (
    ImportRow,
    RefusalRow,
    delete_import,
    insert_import,
    lock_import,
    select_import,
    select_imports,
    select_refusals,
    start_for_good,
    update_state,
)
from services.links.imports.spool import WrongOffset, has_parts, lock_imports, receive, select_usage
from services.links.imports.undoing import UNDO
from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import Caller, MayWrite, run_while_valid
from services.links.state import LinksState, state_of
from services.links.web.errors import Busy, FieldError, InvalidInput, NotFound, Problem, TooManyRequests
from services.links.web.head import is_head
from shared.csv_cells import csv_lines
from shared.postgres import Connection, connection

UPLOADS_AT_ONCE = 8
"""Each holds a part of 1 MiB."""

MOST_IMPORTS = 4
"""Of an owner that are under way."""

MOST_BYTES = 8 * 2**30
"""Of an owner's files that are kept."""

MOST_ALL_IMPORTS = 100
MOST_ALL_BYTES = 32 * 2**30
"""Of all owners."""

LISTED = 100
REFUSALS_AT_ONCE = 1_000
COLUMNS = ("row", "input", "reason", "proposed_code")

router = APIRouter(prefix="/api/v1/imports", tags=["imports"], route_class=ApiRoute)

_BODY = {
    "requestBody": {
        "required": False,
        "description": "The file. With `Content-Encoding: gzip` it is compressed.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class ImportConflict(Problem):
    """What is asked does not fit where the import is."""

    status, kind, title = HTTPStatus.CONFLICT, "import-conflict", "Not possible at this stage of the import"


class ImportsFull(Problem):
    status, kind, title = HTTPStatus.INSUFFICIENT_STORAGE, "imports-full", "Too much is being imported"


class UploadGate:
    """Limits the memory of uploads."""

    def __init__(self, at_once: int = UPLOADS_AT_ONCE) -> None:
        self._turns = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Take a turn, without a wait.

        Raises:
            Busy: Too many files are being received.
        """
        if self._turns.locked():
            raise Busy("Too many files are being sent at once.")
        async with self._turns:
            yield


@router.post(
    "", status_code=202, response_model=ImportOut, openapi_extra=_BODY, summary="Import links from another shortener"
)
async def create_import(request: Request, query: Annotated[ImportQuery, Query()], caller: MayWrite) -> Response:
    """Send a file of another shortener, or an export of this one, of any size up to 4 GiB; its links become yours.

    It is read after it has come, so the answer only says that it will be. An upload that breaks off goes on with PATCH; with an
    `id` of your own, the request can be repeated, and is answered with what there is of that import.
    """
    state = state_of(request)
    options = read_options(query, state.site)
    is_gzip = _is_gzip(request)
    import_id = query.id or uuid4()
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn, conn.transaction():
        await lock_imports(conn)
        known = await select_import(conn, import_id)
        if known is not None:
            return _answer(_check_own(known, caller), HTTPStatus.ACCEPTED)
        await _check_room(conn, caller)
        await insert_import(
            conn,
            import_id,
            caller.owner,
            options,
            format=query.format,
            is_admin=caller.is_admin,
            is_gzip=is_gzip,
            dry_run=query.dry_run,
        )
    return await run_while_valid(request, _receive(request, caller, import_id, 0))


@router.patch(
    "/{import_id}", status_code=202, response_model=ImportOut, openapi_extra=_BODY, summary="Go on with an upload"
)
async def continue_import(
    request: Request,
    import_id: UUID,
    caller: MayWrite,
    offset: Annotated[int, Query(ge=0, le=2**53, description="Where the body begins in the file: `bytes` of it.")],
) -> Response:
    """Send the rest of a file whose upload broke off, in the same encoding. At a wrong offset the answer is 409."""
    state = state_of(request)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
        job = _check_own(await select_import(conn, import_id), caller)
    if job.state != "receiving" or job.bytes != offset:
        raise ImportConflict(f"The import is {job.state} and has {job.bytes} bytes.")
    return await run_while_valid(request, _receive(request, caller, import_id, offset))


@router.get("", response_model=ImportList, summary="List imports")
async def list_imports(request: Request, caller: MayWrite) -> Response:
    """List your last hundred imports, the newest first."""
    state = state_of(request)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
        rows = await select_imports(conn, caller.owner, LISTED)
    return _json(ImportList(items=[import_out(row) for row in rows]).model_dump_json())


@router.get("/{import_id}", response_model=ImportOut, summary="Read an import")
async def read_import(request: Request, import_id: UUID, caller: MayWrite) -> Response:
    """Tell how far an import is."""
    state = state_of(request)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
        return _answer(_check_own(await select_import(conn, import_id), caller))


@router.get(
    "/{import_id}/refused",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A line for each row.",
            "content": {"text/csv": {"schema": {"type": "string"}, "example": "row,input,reason,proposed_code\r\n"}},
        }
    },
    summary="List what an import left out",
)
async def read_refused(request: Request, import_id: UUID, caller: MayWrite) -> Response:
    """List the rows that were left out or changed, and why; and links that an undoing has kept.

    `row` is the line of the file. The first 100,000 rows are listed.
    """
    state = state_of(request)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
        _check_own(await select_import(conn, import_id), caller)

    async def body() -> AsyncIterator[str]:
        if is_head(request):
            return
        yield "".join(csv_lines(COLUMNS, []))
        after: int | None = 0
        while after is not None:
            async with connection(state.pool) as conn:
                page, after = await select_refusals(conn, import_id, after, REFUSALS_AT_ONCE)
            _, *lines = csv_lines(COLUMNS, map(_cells, page))
            yield "".join(lines)

    headers = {"Content-Disposition": 'attachment; filename="refused.csv"', "X-Accel-Buffering": "no"}
    return StreamingResponse(body(), headers=headers, media_type="text/csv")


@router.post("/{import_id}/start", status_code=202, response_model=ImportOut, summary="Import what a dry run has read")
async def start_import(request: Request, import_id: UUID, caller: MayWrite) -> Response:
    """Import the file of a dry run, which is not sent again. Doing it twice changes nothing."""
    state = state_of(request)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn, conn.transaction():
        job = _check_own(await lock_import(conn, import_id), caller)
        if job.dry_run:
            if job.state != "done":
                raise ImportConflict(f"The dry run is {job.state}. Only one that is done can be started.")
            if not await has_parts(conn, import_id):
                raise ImportConflict("The file is not kept any more. Send it again.")
            await start_for_good(conn, import_id)
            await update_state(conn, import_id, "waiting", stage="reading")
        job = _check_own(await select_import(conn, import_id), caller)
    state.imports.wake()
    return _answer(job, HTTPStatus.ACCEPTED)


@router.delete(
    "/{import_id}",
    status_code=202,
    response_model=ImportOut,
    responses={204: {"description": "It had made nothing, and is gone."}},
    summary="Undo an import",
)
async def undo_import(request: Request, import_id: UUID, caller: MayWrite) -> Response:
    """Take away what an import has made, and restore what it has replaced; one that is under way stops.

    Links that were edited since stay, and so do new ones that were clicked; `refused` names them. The codes stay taken: only
    the same import of the same owner makes these links again. An import that has made nothing is deleted.
    """
    state = state_of(request)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn, conn.transaction():
        job = _check_own(await lock_import(conn, import_id), caller)
        if job.state in ("receiving", "waiting", "reading") or job.dry_run:
            await delete_import(conn, import_id)
            return Response(status_code=HTTPStatus.NO_CONTENT)
        if job.state not in ("undoing", "undone"):
            await update_state(conn, import_id, "undoing", stage=UNDO)
        job = _check_own(await select_import(conn, import_id), caller)
    state.imports.wake()
    return _answer(job, HTTPStatus.ACCEPTED)


def import_out(row: ImportRow) -> ImportOut:
    """Return an import as clients get it."""
    counts = {name: getattr(row.counts, name) for name in row.counts.__slots__}
    return ImportOut(
        id=row.id,
        state=row.state,
        dry_run=row.dry_run,
        format=row.format,
        filename=row.options.filename,
        on_conflict=row.options.on_conflict,
        bytes=row.bytes,
        rows_per_second=row.rows_per_second,
        seconds_left=row.seconds_left,
        error=row.error,
        created_at=row.created_at,
        changed_at=row.changed_at,
        **counts,
    )


async def _receive(request: Request, caller: Caller, import_id: UUID, offset: int) -> Response:
    """Receive what a client sends. If all of it has come, the import begins."""
    state = state_of(request)
    async with state.shares.imports.turn(caller.owner), state.uploads.turn():
        try:
            size = await receive(state.pool, import_id, request.stream(), offset)
        except ClientDisconnect:
            # Nobody reads an answer.
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        except WrongOffset:
            raise ImportConflict("Another upload of this import was faster.") from None
    return _answer(await _begin(state, caller, import_id, size), HTTPStatus.ACCEPTED)


async def _begin(state: LinksState, caller: Caller, import_id: UUID, size: int) -> ImportRow:
    async with connection(state.pool) as conn, conn.transaction():
        job = _check_own(await lock_import(conn, import_id), caller)
        if job.state != "receiving" or job.bytes != size:
            raise ImportConflict(f"The import is {job.state} and has {job.bytes} bytes.")
        await update_state(conn, import_id, "waiting", stage="reading")
        job = _check_own(await select_import(conn, import_id), caller)
    state.imports.wake()
    return job


async def _check_room(conn: Connection, caller: Caller) -> None:
    usage = await select_usage(conn, caller.owner)
    if usage.imports >= MOST_IMPORTS:
        raise TooManyRequests(f"You have {usage.imports} imports under way, which is the most.")
    if usage.size >= MOST_BYTES:
        raise ImportsFull("Your files take too much room. Those of imports that are done stay for 3 days, or undo one.")
    if usage.all_imports >= MOST_ALL_IMPORTS or usage.all_size >= MOST_ALL_BYTES:
        raise Busy("Too much is being imported at once.")


def _is_gzip(request: Request) -> bool:
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise InvalidInput(FieldError("Content-Encoding", "must be gzip or left out"))
    return encoding in ("gzip", "x-gzip")


def _check_own(job: ImportRow | None, caller: Caller) -> ImportRow:
    if job is None or not caller.may_see(job.owner):
        raise NotFound("There is no such import.")
    return job


def _cells(row: RefusalRow) -> tuple[object, ...]:
    return row.line, row.input, row.reason, row.proposed_code


def _answer(row: ImportRow, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return _json(import_out(row).model_dump_json(), status)


def _json(text: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(text, status, media_type="application/json")
