"""The naive design, as tutorials have it, with the sins that the promises rule out: what a promise's test must catch.

It acknowledges links that it has not stored, checks before it inserts or counts, caches aside, and has no way on without a
store.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import asyncpg
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import RedirectResponse
from redis.asyncio import Redis

FLUSH_INTERVAL_S = 0.2
CACHE_LIFETIME_S = 600


class NaiveState(TypedDict):
    pool: Any
    redis: Redis
    unsaved: list[tuple[str, str]]
    counts: set[asyncio.Task[Any]]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[NaiveState]:
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1)
    redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    unsaved: list[tuple[str, str]] = []

    async def save() -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            rows, unsaved[:] = list(unsaved), []
            await pool.executemany("INSERT INTO naive_links (code, url) VALUES ($1, $2)", rows)

    saving = asyncio.create_task(save())
    yield {"pool": pool, "redis": redis, "unsaved": unsaved, "counts": set()}
    saving.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/api/v1/links", status_code=201)
async def create(request: Request, body: dict[str, Any]) -> dict[str, str]:
    code = body.get("code")
    if code is None:
        code = secrets.token_hex(4)
        request.state.unsaved.append((code, body["url"]))
    else:
        if await request.state.pool.fetchval("SELECT url FROM naive_links WHERE code = $1", code):
            raise HTTPException(409)
        await request.state.pool.execute(
            "INSERT INTO naive_links (code, url, max_clicks) VALUES ($1, $2, $3)",
            code,
            body["url"],
            body.get("max_clicks"),
        )
    return {"code": code, "url": body["url"]}


@app.patch("/api/v1/links/{code}")
async def edit(request: Request, code: str, body: dict[str, Any]) -> dict[str, str]:
    url = body.get("url", "gone") if body.get("enabled", True) else "gone"
    await request.state.pool.execute("UPDATE naive_links SET url = $2 WHERE code = $1", code, url)
    await request.state.redis.delete(f"naive:{code}")
    return {"code": code}


@app.delete("/api/v1/links/{code}", status_code=204)
async def delete(request: Request, code: str) -> None:
    await request.state.pool.execute("DELETE FROM naive_links WHERE code = $1", code)
    await request.state.redis.delete(f"naive:{code}")


@app.get("/{code}")
async def follow(request: Request, code: str) -> RedirectResponse:
    url = await request.state.redis.get(f"naive:{code}")
    if url is None:
        row = await request.state.pool.fetchrow("SELECT url, max_clicks, used FROM naive_links WHERE code = $1", code)
        if row is None:
            raise HTTPException(404)
        if row["max_clicks"] is not None:
            if row["used"] >= row["max_clicks"]:
                raise HTTPException(410)
            await request.state.pool.execute("UPDATE naive_links SET used = used + 1 WHERE code = $1", code)
            return RedirectResponse(row["url"], 302)
        url = row["url"]
        await request.state.redis.set(f"naive:{code}", url, ex=CACHE_LIFETIME_S)
    if url == "gone":
        raise HTTPException(410)
    # Fire and forget: nobody waits for the count, and nothing keeps it.
    counting = asyncio.create_task(request.state.redis.incr(f"clicks:{code}"))
    request.state.counts.add(counting)
    counting.add_done_callback(request.state.counts.discard)
    return RedirectResponse(url, 302)
