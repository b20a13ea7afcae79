"""`tinyurl retention`: drops raw clicks that are old enough; their counts stay.

It runs as the write service's role, once or by the clock; `services/links/clicks/upkeep.py` and
`services/links/packed/rows.py` have the statements.
"""

import asyncio
import math
import random
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import structlog
import typer

from deploy.command.runner import Data, load_command_settings, run
from deploy.command.up import DEFAULT_DATA
from services.links.clicks.upkeep import delete_from_default, drop_partition, select_partitions
from services.links.packed.rows import delete_chunks
from shared.logs import configure_logs
from shared.postgres import FAILURES, open_connection
from shared.settings import LONGEST_RETENTION_DAYS, RetentionSettings

STATEMENT_TIMEOUT_S = 60.0
RETRY_S = 60.0
JITTER = 0.02

SHORTEST_INTERVAL_H = 0.0001
LONGEST_INTERVAL_H = 24 * 366

log = structlog.get_logger()


def check_hours(hours: float | None) -> float | None:
    """Refuse NaN, which passes every comparison with a limit."""
    if hours is not None and math.isnan(hours):
        raise typer.BadParameter("must be a number of hours")
    return hours


def retention_command(
    days: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=LONGEST_RETENTION_DAYS,
            help="Days that raw clicks stay, instead of CLICKS_RETENTION_DAYS; 0 keeps all.",
        ),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(
            min=SHORTEST_INTERVAL_H,
            max=LONGEST_INTERVAL_H,
            metavar="HOURS",
            callback=check_hours,
            help="Stay, and do it whenever that time has passed.",
        ),
    ] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Drop raw clicks that are older than CLICKS_RETENTION_DAYS; totals, dimensions and unique visitors stay.

    It drops whole UTC days, and keeps today and so many days before. It can be repeated at any time.

    Example: tinyurl retention --days 30
    """
    settings = load_command_settings(RetentionSettings, data)
    kept = settings.clicks_retention_days if days is None else days
    url = settings.links_database_url.get_secret_value()
    if kept == 0:
        typer.echo("raw clicks are kept for ever")
        if every is None:
            return
    if every is None:
        dropped, deleted = run("retention", drop_old_clicks(url, kept))
        typer.echo(_sentence(dropped, deleted, kept))
    else:
        configure_logs(settings)
        run("retention", _repeat(url, kept, timedelta(hours=every)), stopped=0)


async def drop_old_clicks(url: str, days: int, today: date | None = None) -> tuple[list[date], int]:
    """Drop the raw clicks of all days before the last `days`.

    Args:
        url: A libpq URL of the write service's role.
        days: How many days before today are kept; 0 keeps all.
        today: The UTC day.

    Returns:
        The days whose partitions or chunks were dropped, and how many other clicks were deleted.
    """
    if days == 0:
        return [], 0
    before = (today or datetime.now(UTC).date()) - timedelta(days=days)
    async with open_connection(url, "retention", statement_timeout_s=STATEMENT_TIMEOUT_S) as conn:
        old = [day for day in await select_partitions(conn) if day < before]
        for day in old:
            await drop_partition(conn, day)
        deleted = 0
        while found := await delete_from_default(conn, before):
            deleted += found
        packed: set[date] = set()
        while some := await delete_chunks(conn, before):
            packed |= some
        return sorted(packed.union(old)), deleted


async def _repeat(url: str, days: int, interval: timedelta) -> None:
    """Drop old clicks by the clock, for ever; try again soon after a failure."""
    while True:
        try:
            dropped, deleted = await drop_old_clicks(url, days)
        except FAILURES as error:
            log.error("retention_failed", error=type(error).__name__)
            await asyncio.sleep(min(RETRY_S, interval.total_seconds()))
            continue
        log.info("old_clicks_dropped", days=[str(day) for day in dropped], deleted=deleted)
        await asyncio.sleep(interval.total_seconds() * random.uniform(1.0, 1.0 + JITTER))


def _sentence(dropped: list[date], deleted: int, days: int) -> str:
    if not dropped and not deleted:
        return f"nothing to do: no raw clicks are older than {days} days"
    named = ", ".join(str(day) for day in dropped) or "none"
    return f"dropped the raw clicks of {len(dropped)} days ({named}), and {deleted} of days without a partition"
