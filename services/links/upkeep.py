"""What grows and must not: the change feed and the remembered requests are pruned once a minute, by any process."""

import asyncio
import random

import structlog

from services.links.idempotency import delete_old_requests
from shared.changes import delete_old_changes
from shared.postgres import UNAVAILABLE, Pool, connection

INTERVAL_S = 60.0

log = structlog.get_logger()


async def prune_for_ever(pool: Pool) -> None:
    """Prune at random moments around once a minute, so that several processes do not do it at once."""
    while True:
        await asyncio.sleep(INTERVAL_S * random.uniform(0.5, 1.5))
        try:
            await prune(pool)
        except UNAVAILABLE as error:
            log.warning("prune_failed", error=type(error).__name__)


async def prune(pool: Pool) -> None:
    async with connection(pool, deadline_s=30.0) as conn:
        changes = await delete_old_changes(conn)
        requests = await delete_old_requests(conn)
    if changes or requests:
        log.info("pruned", changes=changes, requests=requests)
