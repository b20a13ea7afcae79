"""The design that everyone begins with, to measure against: a FastAPI route that awaits one Redis GET."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import RedirectResponse
from redis.asyncio import Redis


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Redis]]:
    redis = Redis.from_url(os.environ["REDIS_URL"])
    yield {"redis": redis}
    await redis.aclose()


app = FastAPI(lifespan=lifespan)


@app.get("/{code}")
async def follow(code: str, request: Request) -> RedirectResponse:
    url = await request.state.redis.get(code)
    if url is None:
        raise HTTPException(404)
    return RedirectResponse(url.decode(), 302)
