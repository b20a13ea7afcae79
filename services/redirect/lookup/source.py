"""The Postgres tier: reads the truth about many codes in one statement, behind a deadline, a bounded pool and a breaker."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import structlog

from services.redirect.lookup.breaker import Breaker
from shared.postgres import FAILURES, Connection, Pool, connection, open_pool
from shared.records import LinkKey, Record, select_records

DEADLINE_S = 0.5
CONNECTIONS = 4

T = TypeVar("T")

log = structlog.get_logger()


class SourceUnavailable(Exception):
    """Postgres cannot be asked now, so nothing is known of what it holds."""


class Source:
    """The records in Postgres, read by a role that can read nothing else."""

    def __init__(self, pool: Pool, breaker: Breaker) -> None:
        self._pool = pool
        self._breaker = breaker
        self.failures = 0

    @property
    def is_up(self) -> bool:
        return not self._breaker.is_open

    def trust_again(self) -> None:
        """Ask again from now on, because another part has just reached the same server."""
        self._breaker.record_success()

    async def read(self, keys: Sequence[LinkKey]) -> dict[LinkKey, Record]:
        """Read the records of many codes; a code without a link is left out. It raises what `ask` raises."""
        return await self.ask(lambda conn: select_records(conn, keys))

    async def ask(self, select: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a statement.

        Raises:
            SourceUnavailable: Postgres failed, took longer than 0.5 s, or failed so often lately that it was not asked.
        """
        if not self._breaker.allows():
            raise SourceUnavailable
        try:
            async with connection(self._pool, deadline_s=DEADLINE_S) as conn:
                found = await select(conn)
        except FAILURES as error:
            self.failures += 1
            was_up = self.is_up
            self._breaker.record_failure()
            if was_up and not self.is_up:
                log.warning("postgres_unreachable", error=type(error).__name__)
            raise SourceUnavailable from error
        self._breaker.record_success()
        return found


@asynccontextmanager
async def open_source(url: str) -> AsyncIterator[Source]:
    """Open the Postgres tier; it connects on first use."""
    async with open_pool(url, size=CONNECTIONS, application="redirect") as pool:
        yield Source(pool, Breaker())
