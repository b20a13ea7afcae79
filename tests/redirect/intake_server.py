"""The write service's side of the contract, as the shipper's tests need it: it takes whole records by their offset.

It stands for another service. Like that one it knows for each segment how far it has come, and takes nothing twice.
"""

import asyncio
import gzip
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.clicks import Click, ClickParts
from shared.journal import HEADER, split_records, unpack_clicks
from tests.serving import serve

TOKEN = "a token of the tests, which is long enough"  # noqa: S105  # of the tests alone
DEADLINE_S = 20


@dataclass(frozen=True)
class Post:
    """A request as it came."""

    segment: str
    offset: int
    length: int
    encoding: str | None


@dataclass
class IntakeServer:
    """What was taken, by segment and in the order in which it was.

    Attributes:
        reached: The offset of each segment.
        clicks: What was taken, in order.
        posts: All requests that had the token.
        answers: Given to the next requests instead of the contract's answer.
        broken: Segments of which nothing is taken for now.
        unreadable: What it cannot read of the next batches: these clicks it sets aside.
        repeated: Clicks that came again below the offset.
    """

    reached: dict[str, int] = field(default_factory=dict)
    clicks: list[tuple[float, int, ClickParts]] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    answers: deque[Response] = field(default_factory=deque)
    broken: set[str] = field(default_factory=set)
    unreadable: list[Click] = field(default_factory=list)
    repeated: int = 0
    refused_tokens: int = 0

    def link_ids(self) -> list[int]:
        return [link_id for _, link_id, _ in self.clicks]

    async def take(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            self.refused_tokens += 1
            return JSONResponse({}, status_code=401)
        assert request.headers["content-type"] == "application/octet-stream"
        assert request.headers["x-journal-format"] == "1"
        body = await request.body()
        encoding = request.headers.get("content-encoding")
        data = gzip.decompress(body) if encoding == "gzip" else body
        segment, offset = request.query_params["segment"], int(request.query_params["offset"])
        self.posts.append(Post(segment, offset, len(data), encoding))
        if segment in self.broken:
            return Response(status_code=500)
        if self.answers:
            return self.answers.popleft()
        reached = self.reached.get(segment, len(HEADER))
        if offset > reached:
            return JSONResponse({"offset": reached}, status_code=409)
        end = offset
        for stop, record in split_records(data):
            end = offset + stop
            clicks = unpack_clicks(record)
            if self.unreadable and clicks == self.unreadable:
                self.reached[segment] = max(reached, end)
                return JSONResponse({"offset": self.reached[segment]}, status_code=422)
            if end > reached:
                self.clicks += clicks
            else:
                self.repeated += len(clicks)
        assert end == offset + len(data), "a batch ends with a whole record"
        self.reached[segment] = max(reached, end)
        return JSONResponse({"offset": self.reached[segment]})

    @asynccontextmanager
    async def listen(self, socket: Path) -> AsyncIterator[None]:
        app = Starlette(routes=[Route("/internal/clicks", self.take, methods=["POST"])])
        async with serve(app, socket):
            yield


async def until(condition: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)
