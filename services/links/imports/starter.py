"""Starts the importing process while there is something to import, and ends it when all is done.

Every write service looks for work: at once where a client has asked for it, and every some seconds for what others have left.
"""

import asyncio
from contextlib import suppress

import structlog

from services.links.imports.rows import has_work
from services.links.web.aside import Aside
from services.links.web.errors import Unavailable
from services.links.web.pace import Pace
from shared.backoff import Backoff
from shared.postgres import FAILURES, Pool, connection
from shared.settings import LinksSettings

LOOK_INTERVAL_S = 5.0
TURN_TIMEOUT_S = 60.0
"""A turn takes two seconds and a statement 30 at most. A process that does not answer is killed."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0

log = structlog.get_logger()


class ImportStarter:
    """Has imports worked off by a process aside.

    Args:
        settings: The settings of the service.
        pool: Connections to look for work.
        pace: Knows whether others are there.
    """

    def __init__(self, settings: LinksSettings, pool: Pool, pace: Pace) -> None:
        self._aside = Aside("services.links.imports.process:open_importer", settings)
        self._pool = pool
        self._pace = pace
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look for work at once."""
        self._woken.set()

    async def run_for_ever(self) -> None:
        """Look for work and have it done, until this is cancelled."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        try:
            while True:
                self._woken.clear()
                pause_s = LOOK_INTERVAL_S
                try:
                    await self._work()
                    backoff.reset()
                except (Unavailable, *FAILURES) as error:
                    pause_s = backoff.record_failure()
                    log.warning("imports_not_done", error=type(error).__name__)
                except Exception:
                    pause_s = backoff.record_failure()
                    log.exception("imports_not_done")
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._woken.wait()
        finally:
            await self._aside.end()

    async def _work(self) -> None:
        """Have all that is there worked off. The process stays no longer than that."""
        async with connection(self._pool) as conn:
            if not await has_work(conn):
                return
        owner, is_more = "", True
        try:
            while is_more:
                others = self._pace.has_others(owner)
                answer, owner = await self._aside.ask(others, timeout_s=TURN_TIMEOUT_S)
                is_more = answer == "more"
        finally:
            await self._aside.end()
