"""What Shlink tells of itself: whether it works, which release it is like, and that it has no Mercure hub."""

import json
from http import HTTPStatus

from fastapi import Request
from starlette.responses import Response

from services.links.compat.shlink.calls import Call
from services.links.compat.shlink.errors import ShlinkProblem
from services.links.state import state_of
from shared.postgres import FAILURES, connection

VERSION = "5.1.0"
"""Clients show what a release has. This one has rules by address, country, query, date and browser, and `excludeTags`."""

DEADLINE_S = 1.0


async def tell_health(request: Request) -> Response:
    """Pass if Postgres answers. Needs no key."""
    state = state_of(request)
    try:
        async with connection(state.key_pool, deadline_s=DEADLINE_S) as conn:
            await conn.fetchval("SELECT 1")
        works = True
    except FAILURES:
        works = False
    body = {
        "status": "pass" if works else "fail",
        "version": VERSION,
        "links": {"about": "https://shlink.io", "project": "https://github.com/shlinkio/shlink"},
    }
    status = HTTPStatus.OK if works else HTTPStatus.SERVICE_UNAVAILABLE
    return Response(json.dumps(body), status, media_type="application/health+json")


async def tell_mercure(call: Call) -> None:
    raise ShlinkProblem(
        "mercure-not-configured",
        HTTPStatus.NOT_IMPLEMENTED,
        "Mercure integration not configured",
        "This Shlink instance is not integrated with a mercure hub.",
    )
