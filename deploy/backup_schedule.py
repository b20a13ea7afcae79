"""`tinyurl backup --every`: backups by the clock, for ever, and the metrics that tell whether they succeed."""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deploy.backup_files import good_backups
from deploy.backups import FAILURES, newest_age, take_backup
from shared.settings import BackupSettings

FIRST_RETRY_S = 30.0
LONGEST_RETRY_S = 1800.0
JITTER = 0.02
"""A share of the interval, so that several installations on one disk do not stay in step."""

log = structlog.get_logger()


class BackupCollector(Collector):
    """Reads the folder at each scrape, so that it tells of backups that someone took by hand as well."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.failures = 0

    def collect(self) -> Iterator[Metric]:
        newest = good_backups(self._folder)[-1:]
        began = newest[0].manifest.began_at.timestamp() if newest else 0.0
        yield GaugeMetricFamily(
            "tinyurl_backup_last_success_timestamp_seconds",
            "When the newest good backup began: what it holds at least. 0 without one.",
            began,
        )
        yield GaugeMetricFamily("tinyurl_backup_age_seconds", "How long ago that was.", time.time() - began)
        yield GaugeMetricFamily(
            "tinyurl_backup_bytes", "Size of the newest good backup.", newest[0].manifest.size if newest else 0
        )
        yield CounterMetricFamily("tinyurl_backup_failures", "Backups, or their copies, that failed.", self.failures)


async def keep_backing_up(settings: BackupSettings, interval: timedelta, metrics_port: int | None) -> None:
    """Take a backup whenever the newest is older than the interval, until cancelled; after a failure try again soon.

    Raises:
        OSError: The port is in use.
    """
    collector = BackupCollector(settings.backup_dir)
    with _serve_metrics(collector, metrics_port):
        age = newest_age(settings.backup_dir)
        pause_s = 0.0 if age is None else max(0.0, (interval - age).total_seconds())
        failures_in_a_row = 0
        while True:
            await asyncio.sleep(pause_s)
            try:
                taken = await take_backup(settings)
            except FAILURES as error:
                collector.failures += 1
                failures_in_a_row += 1
                log.error("backup_failed", reason=str(error) or type(error).__name__)
                backoff_s = min(FIRST_RETRY_S * 2 ** min(failures_in_a_row - 1, 16), LONGEST_RETRY_S)
                pause_s = min(backoff_s, interval.total_seconds()) * random.uniform(0.75, 1.0)
                continue
            failures_in_a_row = 0
            assert taken is not None
            manifest = taken.backup.manifest
            log.info(
                "backup_taken",
                file=str(taken.backup.dump),
                bytes=manifest.size,
                links=manifest.links,
                seconds=round(taken.seconds, 1),
            )
            pause_s = interval.total_seconds() * random.uniform(1.0, 1.0 + JITTER) - taken.seconds


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
