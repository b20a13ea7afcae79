"""The Redis tier: readings that all redirectors share, behind deadlines and a breaker. Redis may be away at any time.

The resolver looks up all misses of an event-loop tick together, and stores the answers of Postgres.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from services.redirect.lookup.breaker import Breaker
from shared.records import (
    ABSENT_LIFETIME_S,
    READER,
    RECORD_LIFETIME_S,
    LinkKey,
    VersionedRecord,
    pack_reading,
    redis_key,
    unpack_reading,
)

DEADLINE_S = 0.1
CONNECT_TIMEOUT_S = 0.1
CONNECTIONS = 8

FAILURES = (OSError, TimeoutError, RedisError)

log = structlog.get_logger()


class Cache:
    """Readings in Redis. No method raises an error when Redis fails; the cache then knows nothing."""

    def __init__(self, redis: Redis, breaker: Breaker) -> None:
        self._redis = redis
        self._breaker = breaker
        self.failures = 0

    @property
    def is_up(self) -> bool:
        return not self._breaker.is_open

    async def get_many(self, keys: Sequence[LinkKey]) -> dict[LinkKey, VersionedRecord]:
        """Look up the readings of many codes in one round trip; codes that are not there are left out."""
        if not self._breaker.allows():
            return {}
        try:
            async with asyncio.timeout(2 * DEADLINE_S):
                values = cast(list[bytes | None], await self._redis.mget([redis_key(key) for key in keys]))
        except FAILURES as error:
            self._failed(error)
            return {}
        self._breaker.record_success()
        found = {}
        for key, value in zip(keys, values, strict=True):
            if value is not None:
                try:
                    found[key] = unpack_reading(value)
                except ValueError:
                    log.warning("cached_record_unreadable")
        return found

    async def put_many(self, readings: Mapping[LinkKey, VersionedRecord]) -> None:
        """Store readings in one round trip. The absence of a code is stored only if Redis holds nothing for it.

        A record that only a newer release understands is not stored: what this one read of it is not all.
        """
        if not readings or not self._breaker.allows():
            return
        pipeline = self._redis.pipeline(transaction=False)
        for key, reading in readings.items():
            if reading.record is not None and reading.record.min_reader > READER:
                continue
            is_absent = reading.record is None
            lifetime_s = ABSENT_LIFETIME_S if is_absent else RECORD_LIFETIME_S * random.uniform(0.9, 1.0)
            pipeline.set(redis_key(key), pack_reading(reading), px=int(lifetime_s * 1000), nx=is_absent)
        try:
            async with asyncio.timeout(2 * DEADLINE_S):
                await pipeline.execute(raise_on_error=False)
        except FAILURES as error:
            self._failed(error)
        else:
            self._breaker.record_success()

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        was_up = self.is_up
        self._breaker.record_failure()
        if was_up and not self.is_up:
            log.warning("redis_unreachable", error=type(error).__name__)


@asynccontextmanager
async def open_cache(url: str) -> AsyncIterator[Cache]:
    """Open the Redis tier; it connects on first use."""
    redis = Redis.from_url(
        url,
        socket_timeout=DEADLINE_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        max_connections=CONNECTIONS,
        # After a failure the resolver asks Postgres at once, so there is no second try here.
        retry=Retry(NoBackoff(), 0),
        client_name="tinyurl-redirect",
    )
    try:
        yield Cache(redis, Breaker())
    finally:
        await redis.aclose()
