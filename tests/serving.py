"""Runs a service in the test's own event loop, on a Unix socket, under the server that production has."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.server import server_config
from shared.settings import ServerSettings

START_TIMEOUT_S = 30
ANSWER_TIMEOUT_S = 30
"""Long: a machine that tests run on is busy, and no test is about this."""

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP: each would read the list of authorities else, which takes 20 ms."""


class TestServer(uvicorn.Server):
    """A server that leaves the signals to pytest."""

    __test__ = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def settle(self) -> None:
        """Wait until everything that was received is answered and written."""
        quiet = 0
        while quiet < 6:
            await asyncio.sleep(0)
            quiet = 0 if self.server_state.tasks else quiet + 1


@asynccontextmanager
async def serve(
    app: ASGIApp, socket: Path, *, http: type[HttpToolsProtocol] = HttpToolsProtocol
) -> AsyncIterator[TestServer]:
    """Serve an app at a Unix socket."""
    server = TestServer(server_config(app, ServerSettings(listen=f"unix:{socket}"), http=http))
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while not server.started:
                if task.done():
                    await task
                await asyncio.sleep(0.005)
        yield server
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def client_of(socket: Path, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of a service at a Unix socket; it follows no redirects."""
    transport = httpx.AsyncHTTPTransport(verify=NO_TLS, uds=str(socket))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://sho.rt", headers=headers, timeout=ANSWER_TIMEOUT_S
    ) as client:
        yield client
