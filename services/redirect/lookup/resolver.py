"""Finds the record of a code that memory does not hold: the misses of one event-loop tick travel together (`shared/joiner.py`).

The app asks; memory and Redis are filled on the way back, each reading only if the feed says that it still counts.
"""

import asyncio
from collections.abc import Callable, Sequence
from time import time

import structlog

from services.redirect.feed import Feed
from services.redirect.lookup.cache import Cache
from services.redirect.lookup.source import Source, SourceUnavailable
from services.redirect.memory import Memory
from shared.joiner import WAITING_LIMIT, Joiner, TooManyWaiting, Waiting
from shared.records import LinkKey, Record, VersionedRecord

BATCHES_IN_FLIGHT = 4

ATTEMPTS = 3
"""A reading is repeated if a change overtakes it. Many edits of one link must not repeat it for ever."""

log = structlog.get_logger()


Lookup = asyncio.Future[Record | None]


class Unresolved(Exception):
    """No store that can be reached knows this code, but the link may exist."""


class ResolverFull(Unresolved):
    """Too many codes wait already."""


class Resolver:
    """Looks up each code once at a time, however many visits ask for it."""

    def __init__(
        self,
        *,
        memory: Memory,
        cache: Cache,
        source: Source,
        feed: Feed,
        clock: Callable[[], float] = time,
        waiting_limit: int = WAITING_LIMIT,
    ) -> None:
        self._memory = memory
        self._cache = cache
        self._source = source
        self._feed = feed
        self._clock = clock
        self._lookups: dict[LinkKey, Lookup] = {}
        self._joiner: Joiner[LinkKey, Record | None] = Joiner(
            self._look_up, batches_in_flight=BATCHES_IN_FLIGHT, waiting_limit=waiting_limit
        )
        self.stale_answers = 0
        self.redis_hits = 0
        self.postgres_reads = 0

    async def resolve(self, key: LinkKey) -> Record | None:
        """Find a code's record.

        Returns:
            The record, or None if there is no such link.

        Raises:
            Unresolved: The stores that could tell are away.
            ResolverFull: Too many codes wait already.
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

    async def resolve_first(self, keys: Sequence[LinkKey]) -> list[Record | None]:
        """Find the records of codes, all in one batch. The first one that there is ends the list.

        Args:
            keys: The likeliest first. If memory has that one, the others are not looked up.

        Raises:
            Unresolved: The stores that could tell are away.
        """
        first, *others = keys
        entry = self._memory.find(first)
        if not others or (entry is not None and self._clock() < entry.fresh_until):
            return [await self.resolve(first)]
        records: list[Record | None] = []
        for found in await asyncio.gather(*map(self.resolve, keys), return_exceptions=True):
            if isinstance(found, BaseException):
                raise found
            records.append(found)
            if found is not None:
                break
        return records

    def _enqueue(self, key: LinkKey) -> Lookup:
        lookup = self._lookups.get(key)
        if lookup is None:
            try:
                lookup = self._lookups[key] = self._joiner.join(key)
            except TooManyWaiting:
                raise ResolverFull from None
        return lookup

    async def _look_up(self, batch: Sequence[Waiting[LinkKey, Record | None]]) -> None:
        lookups = dict(batch)
        try:
            await self._read(lookups)
        except Exception:
            log.exception("lookup_failed")
        finally:
            left = [key for key, lookup in lookups.items() if not lookup.done()]
            for key in left:
                del self._lookups[key]
        if left:
            raise Unresolved

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
            readings = {key: VersionedRecord(as_of, records.get(key)) for key in missing}
            counting = {key: reading for key, reading in readings.items() if self._deliver(key, lookups[key], reading)}
            await self._cache.put_many(counting)

    def _deliver(self, key: LinkKey, lookup: Lookup, reading: VersionedRecord) -> bool:
        """Answer those who wait for a code, if the reading still counts."""
        if not self._feed.counts(key, reading.as_of):
            return False
        self._memory.store(key, reading, self._clock())
        del self._lookups[key]
        lookup.set_result(reading.record)
        return True
