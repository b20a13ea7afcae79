"""Batches: up to 10,000 links in one request and one transaction, with a result for each row.

The body is read here, under limits of its own; rows and answer are `batch_rows.py`, storing is `batch_storage.py`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel
from starlette.responses import Response

from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import MayWrite, run_while_valid
from services.links.links.batch_rows import MOST_ROWS, Batch, BatchRow, Outcome, read_batch, write_answer
from services.links.links.batch_storage import store_batch
from services.links.links.forms import LinkOut
from services.links.links.routes import IDEMPOTENCY_KEY
from services.links.state import State, state_of
from services.links.web.bodies import check_content_type, read_body
from services.links.web.errors import Busy, ProblemOut
from services.links.web.idempotency import Answer, forget_request, recall_or_begin, store_answer
from shared.changes import insert_changes
from shared.postgres import connection

LARGEST_BATCH = 8 * 1024 * 1024
"""Bytes: 838 for each of 10,000 rows. The worst JSON of this size takes 250 MB to parse."""

BODY_TIMEOUT_S = 60.0
UPLOADS_AT_ONCE = 8
WAIT_S = 3.0
DEADLINE_S = 10.0
"""With the wait before it less than the 15 s that nginx waits for an answer."""

router = APIRouter(prefix="/api/v1/links", tags=["links"], route_class=ApiRoute)


class BatchLink(BaseModel):
    """A row that made a link (201) or found it (200)."""

    index: int
    status: int
    link: LinkOut


class BatchProblem(BaseModel):
    """A row that failed, and why."""

    index: int
    status: int
    problem: ProblemOut


class BatchOut(BaseModel):
    """How many rows did what, and the result of each, in their order."""

    created: int
    found: int
    failed: int
    results: list[BatchLink | BatchProblem]


class BatchGate:
    """Bounds the memory of batches: a few bodies are received at once, and one batch is worked on."""

    def __init__(self) -> None:
        self._uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._work = asyncio.Lock()

    async def receive(self, request: Request) -> bytes:
        """Read a body.

        Raises:
            Busy: Too many are being sent.
            BodyTooSlow: It takes more than a minute.
            BodyTooLarge: It is more than 8 MiB.
        """
        if self._uploads.locked():
            raise Busy("Too many batches are being sent at once.")
        async with self._uploads:
            return await read_body(request, LARGEST_BATCH, BODY_TIMEOUT_S)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the batches before.

        Raises:
            Busy: They take too long.
        """
        try:
            async with asyncio.timeout(WAIT_S):
                await self._work.acquire()
        except TimeoutError:
            raise Busy("Other batches are being stored.") from None
        try:
            yield
        finally:
            self._work.release()


@router.post(
    "/batch",
    response_model=BatchOut,
    summary="Create many links",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["links"],
                        "additionalProperties": False,
                        "properties": {
                            "links": {
                                "type": "array",
                                "maxItems": MOST_ROWS,
                                "items": {"$ref": "#/components/schemas/LinkIn"},
                            }
                        },
                    },
                    "example": {
                        "links": [{"url": "https://www.python.org/", "code": "py"}, {"url": "https://pypi.org/"}]
                    },
                }
            },
        }
    },
)
async def create_batch(
    request: Request, caller: MayWrite, idempotency_key: Annotated[IDEMPOTENCY_KEY | None, Header()] = None
) -> Response:
    """Create up to 10,000 links, in a body of at most 8 MiB and 256 KiB a row.

    Each row is what the body of a single creation is, and `results` has for each, by its index, what that creation would
    have been answered: 201 or, with `find_existing`, 200 with the link, or a problem. A row that fails stops no other;
    of two rows with one code the first gets it. All links become visible together: after a lost connection or a 503
    either all of them are stored or none, and with an `Idempotency-Key` the batch can be sent again to learn the results;
    one of which every row failed is done again.
    """
    check_content_type(request)
    answer = await run_while_valid(request, _answer(request, caller.owner, idempotency_key))
    return Response(answer, media_type="application/json")


async def _answer(request: Request, owner: str, idempotency_key: str | None) -> str:
    """Receive a batch and store it, both in the owner's turn."""
    state = state_of(request)
    async with state.shares.batches.turn(owner):
        body = await state.batch_gate.receive(request)
        async with state.batch_gate.turn():
            # In a thread, which shares the interpreter; on the loop 10,000 rows would stop everyone for long.
            batch = await asyncio.to_thread(read_batch, body, state.site, owner)
            del body
            return await _store(state, owner, batch, idempotency_key)


async def _store(state: State, owner: str, batch: Batch, idempotency_key: str | None) -> str:
    """Store a batch, or find the answer that it got before; either way the answer."""
    async with connection(state.pool, deadline_s=DEADLINE_S) as conn, conn.transaction():
        if idempotency_key is not None and (
            known := await recall_or_begin(conn, state.memory, owner, idempotency_key, b"batch:" + batch.digest)
        ):
            return known.body
        rows = [row for row in batch.rows if isinstance(row, BatchRow)]
        stored = iter(await store_batch(conn, owner, rows))
        results = [next(stored) if isinstance(row, BatchRow) else row for row in batch.rows]
        answer = await asyncio.to_thread(write_answer, results, state.site)
        if idempotency_key is not None and not any(isinstance(result, Outcome) for result in results):
            await forget_request(conn, owner, idempotency_key)
        elif idempotency_key is not None:
            await store_answer(conn, state.memory, owner, idempotency_key, Answer(HTTPStatus.OK, answer))
        chosen = [
            result.link.key
            for row, result in zip(batch.rows, results, strict=True)
            if isinstance(row, BatchRow) and row.new.code and isinstance(result, Outcome) and result.is_new
        ]
        if chosen:
            await insert_changes(conn, chosen)
    return answer
