"""A service lets so many requests in at once, and says why it refuses the next one."""

import asyncio

import httpx
from starlette.types import Receive, Scope, Send

from shared.busy import BUSY, BoundedConcurrency


async def test_one_too_many_is_told_so() -> None:
    """It gets 503 with the header that a deployment's watch passes over; when a place is free the next one gets in."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await leave.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(BoundedConcurrency(app, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://sho.rt") as client:
        first = asyncio.create_task(client.get("/"))
        await entered.wait()
        refused = await client.get("/")
        leave.set()

        assert (refused.status_code, refused.headers[BUSY], refused.headers["Retry-After"]) == (503, "1", "1")
        assert (await first).status_code == 204
        assert (await client.get("/")).status_code == 204
