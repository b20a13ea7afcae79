"""By the clock, once a minute, by any process: what grows and must not is pruned, the tables of clicks are looked after."""

import asyncio
import random
from datetime import UTC, datetime

import asyncpg
import structlog

from services.links.click_upkeep import create_partitions, delete_old_visitors, sort_counts
from services.links.idempotency import delete_old_requests
from services.links.recounts import recount_noted, recount_old, sort_clicked
from shared.changes import delete_old_changes
from shared.postgres import UNAVAILABLE, Pool, connection

INTERVAL_S = 60.0
SORT_DEADLINE_S = 600.0
RECOUNT_DEADLINE_S = 300.0
SORT_INTERVAL_S = 10.0

log = structlog.get_logger()


async def prune_for_ever(pool: Pool) -> None:
    """Do it at random moments around once a minute, so that several processes do not do it at once."""
    while True:
        await asyncio.sleep(INTERVAL_S * random.uniform(0.5, 1.5))
        for work in (prune, prepare_for_clicks, recount_humans, sort_old_counts):
            try:
                await work(pool)
            except (*UNAVAILABLE, asyncpg.PostgresError) as error:
                log.warning("upkeep_failed", work=work.__name__, error=type(error).__name__)


async def sort_for_ever(pool: Pool) -> None:
    """Keep the order by clicks some seconds behind them at most."""
    while True:
        await asyncio.sleep(SORT_INTERVAL_S * random.uniform(0.5, 1.5))
        try:
            await sort_clicks(pool)
        except (*UNAVAILABLE, asyncpg.PostgresError) as error:
            log.warning("upkeep_failed", work=sort_clicks.__name__, error=type(error).__name__)


async def sort_clicks(pool: Pool) -> None:
    is_more: object = True
    while is_more:
        async with connection(pool, deadline_s=30.0) as conn:
            is_more = await sort_clicked(conn)


async def prune(pool: Pool) -> None:
    async with connection(pool, deadline_s=30.0) as conn:
        changes = await delete_old_changes(conn)
        requests = await delete_old_requests(conn)
    if changes or requests:
        log.info("pruned", changes=changes, requests=requests)


async def prepare_for_clicks(pool: Pool) -> None:
    """Create partitions ahead; a day without one has its clicks in the default partition, and they move when it comes."""
    today = datetime.now(UTC).date()
    async with connection(pool, deadline_s=60.0) as conn:
        await create_partitions(conn, today)
        while await delete_old_visitors(conn, today):
            pass


async def recount_humans(pool: Pool) -> None:
    """Let go of the connection after each step: there may be millions of links."""
    async with asyncio.timeout(RECOUNT_DEADLINE_S):
        for step in (recount_noted, recount_old):
            is_more: object = True
            while is_more:
                async with connection(pool, deadline_s=30.0) as conn:
                    is_more = await step(conn)


async def sort_old_counts(pool: Pool) -> None:
    async with connection(pool, deadline_s=SORT_DEADLINE_S) as conn:
        days = await sort_counts(conn, datetime.now(UTC).date())
    if days:
        log.info("counts_sorted", days=[str(day) for day in days])
