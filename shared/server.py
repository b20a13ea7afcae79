"""Runs a service under uvicorn, behind nginx. It decides where the service listens and how it stops."""

import asyncio
import contextlib
import signal
from time import monotonic
from types import FrameType
from typing import Protocol, runtime_checkable

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.busy import BoundedConcurrency
from shared.health import begin_draining
from shared.listen import parse_address
from shared.settings import ServerSettings

KEEP_ALIVE_S = 75
"""nginx keeps an idle connection to a service for 60 s. The service keeps it longer, so it never closes one that nginx uses."""

BACKLOG = 4096
GRACE_S = 15
"""The time for the requests that run when the service stops listening."""


def run_server(
    app: ASGIApp,
    settings: ServerSettings,
    *,
    http: type[HttpToolsProtocol] = HttpToolsProtocol,
    limit: int | None = None,
    websockets: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT; the arguments are those of `server_config`."""
    config = server_config(app, settings, http=http, limit=limit, websockets=websockets)
    Server(config, settings.drain_seconds).run()


def server_config(
    app: ASGIApp,
    settings: ServerSettings,
    *,
    http: type[HttpToolsProtocol] = HttpToolsProtocol,
    limit: int | None = None,
    websockets: bool = False,
) -> uvicorn.Config:
    """Return uvicorn's configuration for an app.

    Args:
        app: The service.
        settings: Where to listen.
        http: The protocol class of a connection.
        limit: The number of requests and WebSockets that may run at once; one more is answered with 503.
        websockets: Whether a connection can become a WebSocket. When the service stops, each is closed with 1012 (restart).
    """
    address = parse_address(settings.listen)
    config = uvicorn.Config(
        app if limit is None else BoundedConcurrency(app, limit),
        uds=address.path or None,
        http=http,
        ws="websockets-sansio" if websockets else "none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        # nginx adds both.
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    if not address.path:
        config.host, config.port = address.host, address.port
    return config


@runtime_checkable
class Drainable(Protocol):
    """A connection that wants to know when the service is about to stop."""

    def drain(self) -> None: ...


class Server(uvicorn.Server):
    """A server that tells its clients before it stops.

    After the first SIGTERM `/readyz` answers 503 and every answer ends its connection, but all requests are still served. A
    load balancer has `drain_s` to choose another server. Then the server stops listening and finishes the requests that run.
    After a second signal it does so at once.

    Args:
        config: From `server_config`.
        drain_s: Seconds between the first signal and the stop.
    """

    def __init__(self, config: uvicorn.Config, drain_s: float) -> None:
        super().__init__(config)
        self._drain_s = drain_s
        self._drained_at: float | None = None
        self._signalled = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._drained_at is not None or not self._drain_s or not self.started:
            super().handle_exit(sig, frame)
        else:
            self._drained_at = monotonic() + self._drain_s
            begin_draining(self.lifespan.state)
            for connection in self.server_state.connections:
                if isinstance(connection, Drainable):
                    connection.drain()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._signalled.set)

    async def main_loop(self) -> None:
        """Sleep until a signal; uvicorn itself looks ten times a second whether there was one."""
        self._loop = asyncio.get_running_loop()
        await self.on_tick(0)
        while not self.should_exit:
            if self._drained_at is not None:
                self.server_state.default_headers = [(b"connection", b"close")]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._drained_at and self._drained_at - monotonic()):
                    await self._signalled.wait()
            self._signalled.clear()
            if self._drained_at is not None and monotonic() >= self._drained_at and not self.should_exit:
                super().handle_exit(signal.SIGTERM, None)
