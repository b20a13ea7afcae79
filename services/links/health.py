"""`/livez`, `/readyz` and `/metrics` of the write service."""

import asyncpg
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

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
    if getattr(request.state, "is_draining", False):
        return _not_ready("draining", "this process is about to stop")
    try:
        async with connection(request.state.key_pool, deadline_s=READY_DEADLINE_S) as conn:
            await check_schema(conn)
    except (*UNAVAILABLE, asyncpg.PostgresError) as error:
        return _not_ready("postgres", type(error).__name__)
    except SchemaBehind as error:
        return _not_ready("migrations", str(error))
    return JSONResponse({"status": "ready", "release": request.state.release})


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    return Response(generate_latest(request.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _not_ready(missing: str, reason: str) -> Response:
    return JSONResponse({"status": "not ready", "missing": [missing], "reason": reason}, status_code=503)
