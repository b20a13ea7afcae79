"""`/livez`, `/readyz` and `/metrics` of the redirect service."""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.redirect.state import state_of
from shared.health import is_draining


def health_routes() -> list[Route]:
    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]


async def livez(request: Request) -> Response:
    return JSONResponse({"status": "alive"})


async def readyz(request: Request) -> Response:
    """Ready once the change feed and the domains were read; then no store that redirectors share makes this one unready."""
    if is_draining(request.scope["state"]):
        return _not_ready("draining")
    state = state_of(request.scope["state"])
    if state.feed.is_known and state.domains.is_known:
        return JSONResponse({"status": "ready", "release": state.release})
    return _not_ready("postgres")


async def metrics(request: Request) -> Response:
    return Response(generate_latest(state_of(request.scope["state"]).registry), media_type=CONTENT_TYPE_LATEST)


def _not_ready(missing: str) -> Response:
    return JSONResponse({"status": "not ready", "missing": [missing]}, status_code=503)
