"""Regular work: every process deletes old rows and maintains the tables of clicks, once a minute.

Each work is many short statements. It can be interrupted at any moment, and goes on from there.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from time import monotonic

import asyncpg
import structlog

from services.links.claims.rows import delete_old_claims
from services.links.clicks.upkeep import (
    STEP_IDS,
    create_partitions,
    delete_old_visitors,
    recount_noted,
    recount_old,
    sort_clicked,
    sort_counts,
)
from services.links.imported.keys import forget_imported_visitors
from services.links.imports.spool import delete_old_imports
from services.links.packed import merging
from services.links.packed.erasing import erase_some
from services.links.packed.moving import CountMover
from services.links.unlocks.rows import delete_old_tries
from services.links.web.aside import Aside
from services.links.web.idempotency import delete_old_requests
from shared.backoff import Backoff
from shared.changes import delete_old_changes
from shared.postgres import UNAVAILABLE, Connection, Pool, connection
from shared.settings import LinksSettings

INTERVAL_S = 60.0
LONGEST_PAUSE = 16
"""The most rounds for which a work that fails again and again is left out."""

PRUNE_DEADLINE_S = 30.0
SORT_DEADLINE_S = 600.0
RECOUNT_DEADLINE_S = 300.0
SORT_INTERVAL_S = 10.0
MOVE_TIME_S = 30.0
MERGE_INTERVAL_S = 300.0
"""Starting the process costs 0.4 s of a processor."""
MERGE_TIMEOUT_S = 60.0

Work = Callable[[Pool], Awaitable[None]]

log = structlog.get_logger()


async def prune(pool: Pool) -> None:
    async with connection(pool, deadline_s=PRUNE_DEADLINE_S) as conn:
        requests = await delete_old_requests(conn)
    async with connection(pool, deadline_s=PRUNE_DEADLINE_S) as conn:
        changes = await delete_old_changes(conn)
    if changes or requests:
        log.info("pruned", changes=changes, requests=requests)


async def forget_visitors(pool: Pool) -> None:
    today = datetime.now(UTC).date()
    async with connection(pool, deadline_s=PRUNE_DEADLINE_S) as conn:
        while await delete_old_visitors(conn, today) or await forget_imported_visitors(conn):
            pass


async def forget_tries(pool: Pool) -> None:
    async with connection(pool, deadline_s=PRUNE_DEADLINE_S) as conn:
        while await delete_old_tries(conn, datetime.now(UTC)):
            pass


async def prepare_for_clicks(pool: Pool) -> None:
    """Create the partitions of the next days. Without one, clicks go to the default partition and move later."""
    async with connection(pool, deadline_s=PRUNE_DEADLINE_S) as conn:
        await create_partitions(conn, datetime.now(UTC).date())


async def recount_humans(pool: Pool, step_ids: int = STEP_IDS) -> None:
    """Recount humans, with a connection for each step, because there may be millions of links."""
    async with asyncio.timeout(RECOUNT_DEADLINE_S):
        for step in (recount_noted, partial(recount_old, step_ids=step_ids)):
            is_more: object = True
            while is_more:
                async with connection(pool, deadline_s=PRUNE_DEADLINE_S) as conn:
                    is_more = await step(conn)


async def sort_old_counts(pool: Pool) -> None:
    async with connection(pool, deadline_s=SORT_DEADLINE_S) as conn:
        days = await sort_counts(conn, datetime.now(UTC).date())
    if days:
        log.info("counts_sorted", days=[str(day) for day in days])


async def sort_clicks(pool: Pool) -> None:
    """Bring the order of links by clicks up to date, at most some seconds behind the clicks."""
    is_more: object = True
    while is_more:
        async with connection(pool, deadline_s=PRUNE_DEADLINE_S) as conn:
            is_more = await sort_clicked(conn)


async def forget_claims(pool: Pool) -> None:
    async with connection(pool, deadline_s=PRUNE_DEADLINE_S) as conn:
        await delete_old_claims(conn)


async def move_counts(pool: Pool) -> None:
    """Move counts of rows into packed days."""
    await _work_and_rest(pool, CountMover().move_some)


class Merger:
    """Merges chunks of raw clicks in a process aside, which is there only while there is work.

    Args:
        settings: The settings of the service.
    """

    def __init__(self, settings: LinksSettings) -> None:
        self._aside = Aside("services.links.packed.merging:open_merger", settings)

    async def merge_chunks(self, pool: Pool) -> None:
        async with connection(pool, deadline_s=PRUNE_DEADLINE_S) as conn:
            if not await merging.is_due(conn):
                return
        until, is_more = monotonic() + MOVE_TIME_S, True
        try:
            while is_more and (started := monotonic()) < until:
                is_more = await self._aside.ask(timeout_s=MERGE_TIMEOUT_S)
                await asyncio.sleep(monotonic() - started)
        finally:
            await self._aside.end()


async def forget_imports(pool: Pool) -> None:
    """Delete files of imports that are done, and imports that nobody goes on with."""
    is_more: object = True
    while is_more:
        async with connection(pool, deadline_s=PRUNE_DEADLINE_S) as conn:
            is_more = await delete_old_imports(conn)


async def erase_clicks(pool: Pool) -> None:
    """Erase the clicks of links for which that was asked."""
    await _work_and_rest(pool, erase_some)


async def _work_and_rest(pool: Pool, step: Callable[[Connection], Awaitable[object]]) -> None:
    """Take steps while there is work, for as long as a round has, and rest after each step as long as it took."""
    until, is_more = monotonic() + MOVE_TIME_S, True
    while is_more and (started := monotonic()) < until:
        async with connection(pool, deadline_s=PRUNE_DEADLINE_S) as conn:
            is_more = bool(await step(conn))
        await asyncio.sleep(monotonic() - started)


WORKS: Sequence[Work] = (
    prune,
    forget_visitors,
    forget_tries,
    prepare_for_clicks,
    recount_humans,
    sort_old_counts,
    erase_clicks,
    forget_imports,
)
FREQUENT_WORKS: Sequence[Work] = (sort_clicks, forget_claims)
PACKED_WORKS: Sequence[Work] = (move_counts,)
"""Where PACKED_CLICKS is on."""


async def prune_for_ever(pool: Pool, works: Sequence[Work] = WORKS, interval_s: float = INTERVAL_S) -> None:
    """Do all works about once in an interval, at random moments, so that processes do not work at the same time.

    An error in one work does not stop the others. A work that fails again and again is tried less often.
    """
    rounds = 0
    backoffs = {work: Backoff(1, LONGEST_PAUSE, clock=lambda: rounds) for work in works}
    while True:
        await asyncio.sleep(interval_s * random.uniform(0.5, 1.5))
        rounds += 1
        for work, backoff in backoffs.items():
            if not backoff.is_due():
                continue
            try:
                await work(pool)
            except (*UNAVAILABLE, asyncpg.PostgresError) as error:
                log.warning("upkeep_failed", work=work.__name__, error=type(error).__name__)
            except Exception:
                log.exception("upkeep_failed", work=work.__name__)
            else:
                backoff.reset()
                continue
            backoff.record_failure()
