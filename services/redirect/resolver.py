"""Finds the record of a code that memory does not hold: the misses of one event-loop tick travel together.

The app asks; memory and Redis are filled on the way back, each reading only if the feed says that it still counts.
"""

import asyncio
from collections.abc import Callable
from time import time

import structlog

from services.redirect.cache import Cache
from services.redirect.feed import Feed
from services.redirect.memory import Memory
from services.redirect.source import Source, SourceUnavailable
from shared.records import LinkKey, Reading, Record

BATCH_SIZE = 500
BATCHES_IN_FLIGHT = 4
WAITING_LIMIT = 10_000

ATTEMPTS = 3
"""A reading is read again if a change overtakes it on its way; edits of one link must not cause that for ever."""

log = structlog.get_logger()


Lookup = asyncio.Future[Record | None]


class Unresolved(Exception):
    """No store that can be reached knows this code, but the link may exist."""


class Crowded(Unresolved):
    """Too many codes wait already."""


class Resolver:
    """Single flight: however many ask for one code, it travels once."""

    def __init__(
        self, *, memory: Memory, cache: Cache, source: Source, feed: Feed, clock: Callable[[], float] = time
    ) -> None:
        self._memory = memory
        self._cache = cache
        self._source = source
        self._feed = feed
        self._clock = clock
        self._waiting: dict[LinkKey, Lookup] = {}
        self._queue: list[LinkKey] = []
        self._batches: set[asyncio.Task[None]] = set()
        self.stale_answers = 0
        self.redis_hits = 0
        self.postgres_reads = 0

    async def resolve(self, key: LinkKey) -> Record | None:
        """Find a code's record.

        Returns:
            The record, or None if there is no such link.

        Raises:
            Unresolved: The stores that could tell are away.
            Crowded: Too many codes wait already.
        """
        entry = self._memory.find(key)
        if entry is not None and self._clock() < entry.fresh_until:
            return entry.record
        try:
            return await asyncio.shield(self._enqueue(key))
        except Unresolved:
            # The feed may have dropped the entry meanwhile: look again.
            entry = self._memory.find(key)
            if entry is None:
                raise
            self.stale_answers += 1
            self._memory.prolong(entry, self._clock())
            return entry.record

    def _enqueue(self, key: LinkKey) -> Lookup:
        lookup = self._waiting.get(key)
        if lookup is None:
            if len(self._waiting) >= WAITING_LIMIT:
                raise Crowded
            loop = asyncio.get_running_loop()
            lookup = self._waiting[key] = loop.create_future()
            if not self._queue:
                loop.call_soon(self._start_batches)
            self._queue.append(key)
        return lookup

    def _start_batches(self) -> None:
        """Send what waits; while enough batches are under way, what comes gathers into the next."""
        while self._queue and len(self._batches) < BATCHES_IN_FLIGHT:
            keys, self._queue = self._queue[:BATCH_SIZE], self._queue[BATCH_SIZE:]
            task = asyncio.create_task(self._run_batch({key: self._waiting[key] for key in keys}))
            self._batches.add(task)
            task.add_done_callback(self._end_batch)

    def _end_batch(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._start_batches()

    async def _run_batch(self, lookups: dict[LinkKey, Lookup]) -> None:
        try:
            await self._read(lookups)
        except Exception:
            log.exception("lookup_failed")
        finally:
            for key, lookup in lookups.items():
                if not lookup.done():
                    del self._waiting[key]
                    lookup.set_exception(Unresolved())
                    lookup.exception()  # Everyone who waited may have gone; that is no error of its own.

    async def _read(self, lookups: dict[LinkKey, Lookup]) -> None:
        """Ask Redis, then Postgres for the rest, until every reading counts."""
        for key, reading in (await self._cache.get_many(list(lookups))).items():
            self.redis_hits += self._deliver(key, lookups[key], reading)
        for _ in range(ATTEMPTS):
            missing = [key for key, lookup in lookups.items() if not lookup.done()]
            if not missing:
                return
            as_of = self._feed.version
            try:
                records = await self._source.read(missing)
            except SourceUnavailable:
                return
            self.postgres_reads += len(missing)
            readings = {key: Reading(as_of, records.get(key)) for key in missing}
            counting = {key: reading for key, reading in readings.items() if self._deliver(key, lookups[key], reading)}
            await self._cache.put_many(counting)

    def _deliver(self, key: LinkKey, lookup: Lookup, reading: Reading) -> bool:
        """Answer those who wait for a code, if the reading still counts."""
        if not self._feed.counts(key, reading.as_of):
            return False
        self._memory.store(key, reading, self._clock())
        del self._waiting[key]
        lookup.set_result(reading.record)
        return True
