"""Batches: up to 10,000 links in one request and one transaction, with a result for each row.

The route receives the body, under limits of its own. A process beside the service (`web/aside.py`) does the rest:
`batch_rows.py` reads the rows and writes the answer, and `creation.py` stores the links.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel
from starlette.responses import Response

from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import MayWrite, run_while_valid
from services.links.links.batch_rows import Batch, Refusal, hash_passwords, read_batch, refuse, write_answer
from services.links.links.creation import Outcome, announce_links, store_links
from services.links.links.forms import LinkOut
from services.links.links.routes import IDEMPOTENCY_KEY
from services.links.site import Site
from services.links.state import state_of
from services.links.web.aside import Aside
from services.links.web.bodies import check_content_type, read_body
from services.links.web.errors import Busy, ProblemOut, answer_error
from services.links.web.idempotency import AnswerMemory, StoredAnswer, forget_request, recall_or_begin, store_answer
from services.links.web.pace import Pace
from shared.api import MOST_ROWS
from shared.postgres import Pool, connection, open_pool
from shared.settings import LinksSettings

LARGEST_BATCH = 8 * 1024 * 1024
"""Bytes, 838 for each of 10,000 rows. Parsing the worst JSON of this size takes 250 MB."""

BODY_TIMEOUT_S = 60.0
UPLOADS_AT_ONCE = 8
WAIT_S = 3.0
DEADLINE_S = 10.0
"""The time to hash passwords and store the links. Together with the wait it is less than the 15 s of nginx."""

HANGS_AFTER_S = 60.0
"""The worst body takes two seconds of a processor, and the process may get a small part of one."""

Sent: TypeAlias = tuple[int, dict[str, str], bytes]
"""Status, headers and body of an answer."""

router = APIRouter(prefix="/api/v1/links", tags=["links"], route_class=ApiRoute)


class BatchLink(BaseModel):
    """A row whose link was created (201) or found (200)."""

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
    """Limits the memory of batches: a few bodies are received at once, and one batch is stored at a time, by another process.

    Args:
        settings: The settings of the service.
        wait_s: The longest wait of a batch for those before it.
        body_timeout_s: The time for a body.
    """

    def __init__(
        self, settings: LinksSettings, *, wait_s: float = WAIT_S, body_timeout_s: float = BODY_TIMEOUT_S
    ) -> None:
        self._aside = Aside(f"{__name__}:{open_store.__name__}", settings)
        self._wait_s = wait_s
        self._body_timeout_s = body_timeout_s
        self._uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._work = asyncio.Lock()

    async def receive(self, request: Request) -> bytes:
        """Read a body.

        Raises:
            Busy: Too many bodies are received already.
            BodyTooSlow: The body takes too long.
            BodyTooLarge: The body is larger than 8 MiB.
        """
        if self._uploads.locked():
            raise Busy("Too many batches are being sent at once.")
        async with self._uploads:
            return await read_body(request, LARGEST_BATCH, self._body_timeout_s)

    async def answer(self, body: bytes, owner: str, idempotency_key: str | None, pace: Pace) -> Response:
        """Wait for the batches before, and have a batch stored. The answer may be a problem.

        Raises:
            Busy: The batches before take too long.
            Unavailable: The process died, or did not answer in time.
        """
        async with self.turn(pace.step(owner, stores=True)):
            sent: Sent = await self._aside.ask(body, owner, idempotency_key, timeout_s=HANGS_AFTER_S)
        status, headers, content = sent
        return Response(content, status, headers)

    async def close(self) -> None:
        await self._aside.end()

    @asynccontextmanager
    async def turn(self, step: AbstractAsyncContextManager[None]) -> AsyncIterator[None]:
        """Wait for the owner's step, and for the batches before.

        Raises:
            Busy: They take too long.
        """
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self._wait_s):
                    await held.enter_async_context(step)
                    await held.enter_async_context(self._work)
            except TimeoutError:
                raise Busy("Other batches are being stored.") from None
            yield


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
                        "links": [{"url": "https://www.python.org/", "code": "py"}, {"url": "https://www.example.com/"}]
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
    return await run_while_valid(request, _answer(request, caller.owner, idempotency_key))


async def _answer(request: Request, owner: str, idempotency_key: str | None) -> Response:
    """Receive a batch and have it stored, both in the owner's turn."""
    state = state_of(request)
    async with state.shares.batches.turn(owner):
        body = await state.batch_gate.receive(request)
        return await state.batch_gate.answer(body, owner, idempotency_key, state.shares.pace)


@dataclass(frozen=True, slots=True)
class StoreState:
    """What the other process opens at its start."""

    site: Site
    memory: AnswerMemory
    pool: Pool


@asynccontextmanager
async def open_store(settings: LinksSettings) -> AsyncIterator[Callable[[bytes, str, str | None], Awaitable[Sent]]]:
    """Yield the work of the other process: from a body, its owner and perhaps an `Idempotency-Key` to the answer."""
    url = settings.links_database_url.get_secret_value()
    async with open_pool(url, size=1, application="links batches") as pool:
        state = StoreState(Site(settings), AnswerMemory(), pool)

        async def answer(body: bytes, owner: str, idempotency_key: str | None) -> Sent:
            try:
                stored = await _store(state, owner, read_batch(body, state.site, owner), idempotency_key)
                response = Response(stored, media_type="application/json")
            except Exception as error:
                response = answer_error(error)
            return response.status_code, dict(response.headers), bytes(response.body)

        yield answer


async def _store(state: StoreState, owner: str, batch: Batch, idempotency_key: str | None) -> str:
    """Store a batch, or find its earlier answer, and return the answer."""
    began = monotonic()
    # This process has nothing else to do meanwhile.
    rows = hash_passwords(batch.rows)
    async with connection(state.pool, deadline_s=DEADLINE_S - (monotonic() - began)) as conn, conn.transaction():
        if idempotency_key is not None and (
            known := await recall_or_begin(conn, state.memory, owner, idempotency_key, b"batch:" + batch.digest)
        ):
            return known.body
        drafts = [row for row in rows if not isinstance(row, Refusal)]
        outcomes = await store_links(conn, owner, drafts)
        stored = iter([each if isinstance(each, Outcome) else refuse(each) for each in outcomes])
        results = [row if isinstance(row, Refusal) else next(stored) for row in rows]
        answer = write_answer(results, state.site)
        if idempotency_key is not None and not any(isinstance(result, Outcome) for result in results):
            await forget_request(conn, owner, idempotency_key)
        elif idempotency_key is not None:
            await store_answer(conn, state.memory, owner, idempotency_key, StoredAnswer(HTTPStatus.OK, answer))
        await announce_links(conn, drafts, outcomes)
    return answer
