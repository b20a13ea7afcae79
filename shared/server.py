"""Runs a service under uvicorn, behind nginx: where it listens, how long it keeps connections, how it stops."""

from typing import TypedDict

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.settings import ServerSettings

KEEP_ALIVE_S = 75
"""Longer than nginx keeps an idle upstream connection (60 s), so that the service never closes one in use."""

BACKLOG = 4096
GRACE_S = 4


def run_server(
    app: ASGIApp,
    settings: ServerSettings,
    *,
    http: type[HttpToolsProtocol] = HttpToolsProtocol,
    limit: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; the arguments are those of `server_config`."""
    uvicorn.Server(server_config(app, settings, http=http, limit=limit)).run()


def server_config(
    app: ASGIApp,
    settings: ServerSettings,
    *,
    http: type[HttpToolsProtocol] = HttpToolsProtocol,
    limit: int | None = None,
) -> uvicorn.Config:
    """How uvicorn serves an app.

    Args:
        app: The service.
        settings: Tells where to listen.
        http: The protocol class of a connection.
        limit: Connections and requests at most; one more is answered 503.
    """
    return uvicorn.Config(
        app,
        **_address(settings.listen),
        http=http,
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        # nginx, which is always in front, adds both.
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        limit_concurrency=limit,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )


class _Address(TypedDict, total=False):
    uds: str
    host: str
    port: int


def _address(listen: str) -> _Address:
    if listen.startswith("unix:"):
        return {"uds": listen.removeprefix("unix:")}
    host, _, port = listen.rpartition(":")
    return {"host": host.strip("[]"), "port": int(port)}
