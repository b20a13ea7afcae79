"""`/livez`, `/readyz` and `/metrics` of the write service."""

import asyncpg
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from services.links.state import state_of
from shared.health import is_draining
from shared.postgres import UNAVAILABLE, connection
from shared.schema import SchemaBehind, check_schema

READY_DEADLINE_S = 1.0

router = APIRouter(include_in_schema=False)


@router.get("/livez")
async def livez() -> Response:
    return JSONResponse({"status": "alive"})


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Ready when Postgres answers and its schema is not behind this release, until it is asked to stop."""
    if is_draining(request.scope["state"]):
        return _not_ready("draining", "this process is about to stop")
    try:
        async with connection(state_of(request).key_pool, deadline_s=READY_DEADLINE_S) as conn:
            await check_schema(conn)
    except (*UNAVAILABLE, asyncpg.PostgresError) as error:
        return _not_ready("postgres", type(error).__name__)
    except SchemaBehind as error:
        return _not_ready("migrations", str(error))
    return JSONResponse({"status": "ready", "release": state_of(request).release})


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    return Response(generate_latest(state_of(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _not_ready(missing: str, reason: str) -> Response:
    return JSONResponse({"status": "not ready", "missing": [missing], "reason": reason}, status_code=503)
