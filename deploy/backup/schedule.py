"""`tinyurl backup --every`: takes and copies backups by the clock, for ever, and serves metrics that tell whether they succeed.

Dumps and copies go on side by side: a failed copy is tried again by itself, and no dump waits for it.
"""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deploy.backup.copying import copy_pending, pending_backups
from deploy.backup.dumps import FAILURES, take_backup
from deploy.backup.files import COPIED, good_backups, newest_age
from deploy.backup.settings import BackupSettings
from shared.backoff import Backoff

FIRST_RETRY_S = 30.0
LONGEST_RETRY_S = 1800.0
LONGEST_SLEEP_S = 60.0
"""The clock may jump, and someone may take a backup by hand: so we check again and again whether one is due."""

PENDING_STEP_S = 2.0
JITTER = 0.02
"""A share of the interval, so that several installations on one disk do not stay in step."""

log = structlog.get_logger()


class BackupCollector(Collector):
    """Reads the folder at each scrape, so that it tells of backups that someone took by hand as well."""

    def __init__(self, settings: BackupSettings) -> None:
        self._settings = settings
        self.failures = 0
        self.copy_failures = 0

    def collect(self) -> Iterator[Metric]:
        now = datetime.now(UTC)
        backups = good_backups(self._settings.backup_dir)
        present = [backup for backup in backups if not backup.is_from_the_future(now)]
        newest = present[-1].manifest if present else None
        began = newest.began_at.timestamp() if newest else 0.0
        yield GaugeMetricFamily(
            "tinyurl_backup_last_success_timestamp_seconds",
            "When the newest good backup began: what it holds at least. 0 without one.",
            began,
        )
        yield GaugeMetricFamily(
            "tinyurl_backup_age_seconds", "How long ago that was.", max(now.timestamp() - began, 0.0)
        )
        yield GaugeMetricFamily("tinyurl_backup_bytes", "Size of the newest good backup.", newest.size if newest else 0)
        yield GaugeMetricFamily(
            "tinyurl_backup_future_dated",
            "Backups that a wrong clock dated in the future; they count for nothing else here.",
            len(backups) - len(present),
        )
        yield CounterMetricFamily("tinyurl_backup_failures", "Backups that failed.", self.failures)
        if self._settings.copies:
            copied = [each for each in present if each.dump.with_suffix(COPIED).exists()]
            yield GaugeMetricFamily(
                "tinyurl_backup_copy_last_success_timestamp_seconds",
                "When the newest backup began that is copied off the host. 0 without one.",
                copied[-1].manifest.began_at.timestamp() if copied else 0.0,
            )
            yield GaugeMetricFamily(
                "tinyurl_backup_copy_pending",
                "Backups that have to be copied off the host still.",
                len(pending_backups(self._settings)),
            )
            yield CounterMetricFamily("tinyurl_backup_copy_failures", "Copies that failed.", self.copy_failures)


async def keep_backing_up(settings: BackupSettings, interval: timedelta, metrics_port: int | None) -> None:
    """Take a backup whenever the newest is older than the interval, and copy it, until cancelled.

    Raises:
        OSError: The port is in use.
    """
    collector = BackupCollector(settings)
    with _serve_metrics(collector, metrics_port):
        async with asyncio.TaskGroup() as group:
            group.create_task(_keep_dumping(settings, interval, collector))
            if settings.copies:
                group.create_task(_keep_copying(settings, interval, collector))


async def _keep_dumping(settings: BackupSettings, interval: timedelta, collector: BackupCollector) -> None:
    backoff = _backoff(interval)
    due = interval
    while True:
        age = newest_age(settings.backup_dir)
        if age is not None and age < due:
            await asyncio.sleep(min((due - age).total_seconds(), LONGEST_SLEEP_S))
            continue
        try:
            taken = await take_backup(settings)
        except FAILURES as error:
            collector.failures += 1
            log.error("backup_failed", reason=str(error) or type(error).__name__)
            await asyncio.sleep(backoff.record_failure())
            continue
        backoff.reset()
        assert taken is not None
        manifest = taken.backup.manifest
        log.info(
            "backup_taken",
            file=str(taken.backup.dump),
            bytes=manifest.size,
            links=manifest.links,
            seconds=round(taken.seconds, 1),
        )
        due = interval * random.uniform(1.0, 1.0 + JITTER)


async def _keep_copying(settings: BackupSettings, interval: timedelta, collector: BackupCollector) -> None:
    backoff = _backoff(interval)
    while True:
        if not pending_backups(settings):
            await asyncio.sleep(PENDING_STEP_S)
            continue
        try:
            for backup in await copy_pending(settings, _log_progress):
                log.info("backup_copied", file=str(backup.dump), bytes=backup.manifest.size)
            backoff.reset()
        except FAILURES as error:
            collector.copy_failures += 1
            pause_s = backoff.record_failure()
            log.error("backup_copy_failed", reason=str(error) or type(error).__name__, next_try_s=round(pause_s))
            await asyncio.sleep(pause_s)


def _backoff(interval: timedelta) -> Backoff:
    return Backoff(FIRST_RETRY_S, min(LONGEST_RETRY_S, interval.total_seconds()))


def _log_progress(name: str, done: int, size: int) -> None:
    log.info("backup_copying", file=name, bytes=done, of=size)


@contextmanager
def _serve_metrics(collector: BackupCollector, port: int | None) -> Iterator[None]:
    if port is None:
        yield
        return
    registry = CollectorRegistry()
    registry.register(collector)
    server, thread = start_http_server(port, registry=registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
