"""Collects the metrics of the redirect service: a visit adds to plain integers, and a scrape turns them into metrics."""

from collections import Counter
from collections.abc import Iterator
from time import time

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.redirect.feed import Feed
from services.redirect.journal.shipper import Shipper
from services.redirect.journal.writer import ClickJournal
from services.redirect.lane import Lane
from services.redirect.lookup.cache import Cache
from services.redirect.lookup.resolver import Resolver
from services.redirect.lookup.source import Source
from services.redirect.memory import Memory
from services.redirect.owner.claims import Claims


class Visits:
    """The answers given over ASGI, by status."""

    def __init__(self) -> None:
        self.by_status: Counter[int] = Counter()

    def count(self, status: int) -> None:
        self.by_status[status] += 1


class RedirectCollector(Collector):
    """Reads the parts' own counts at each scrape, so that counting costs a visit nothing but an addition."""

    def __init__(
        self,
        *,
        memory: Memory,
        feed: Feed,
        lane: Lane,
        resolver: Resolver,
        cache: Cache,
        source: Source,
        visits: Visits,
    ) -> None:
        self._memory = memory
        self._feed = feed
        self._lane = lane
        self._resolver = resolver
        self._cache = cache
        self._source = source
        self._visits = visits

    def collect(self) -> Iterator[Metric]:
        answers = CounterMetricFamily(
            "redirect_answers", "Answers, by the way they took and by status.", labels=("way", "status")
        )
        answers.add_metric(("lane", "3xx"), self._lane.hits)
        for status, count in sorted(self._visits.by_status.items()):
            answers.add_metric(("asgi", str(status)), count)
        yield answers
        yield CounterMetricFamily(
            "redirect_stale_answers",
            "Answers from memory past their lifetime, because no store could be asked.",
            self._resolver.stale_answers,
        )
        lookups = CounterMetricFamily(
            "redirect_lookups", "Codes that a store was asked for and knew.", labels=("store",)
        )
        lookups.add_metric(("redis",), self._resolver.redis_hits)
        lookups.add_metric(("postgres",), self._resolver.postgres_reads)
        yield lookups
        failures = CounterMetricFamily("redirect_store_failures", "Calls to a store that failed.", labels=("store",))
        up = GaugeMetricFamily(
            "redirect_store_up", "Whether a store is asked (0: its breaker is open).", labels=("store",)
        )
        for name, store in (("redis", self._cache), ("postgres", self._source)):
            failures.add_metric((name,), store.failures)
            up.add_metric((name,), float(store.is_up))
        yield failures
        yield up
        yield GaugeMetricFamily("redirect_memory_links", "Links held in memory.", len(self._memory.entries))
        yield GaugeMetricFamily("redirect_memory_bytes", "What the links held in memory take.", self._memory.bytes)
        yield GaugeMetricFamily(
            "redirect_feed_age_seconds", "Time since the change feed was last read.", self._feed.age_s()
        )
        yield GaugeMetricFamily("redirect_feed_version", "The newest change that is known.", self._feed.version)


class ClaimsCollector(Collector):
    """Tells what became of the visits of limited links."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims

    def collect(self) -> Iterator[Metric]:
        visits = CounterMetricFamily(
            "redirect_claims", "Visits of limited links, by whether the visitor passed.", labels=("verdict",)
        )
        for verdict, count in sorted(self._claims.by_verdict.items()):
            visits.add_metric((verdict,), count)
        yield visits
        yield CounterMetricFamily(
            "redirect_claim_failures", "Batches of claims that the write service did not answer.", self._claims.failures
        )


class JournalCollector(Collector):
    """Tells what became of the clicks, as far as this process knows."""

    def __init__(self, journal: ClickJournal, shipper: Shipper) -> None:
        self._journal = journal
        self._shipper = shipper

    def collect(self) -> Iterator[Metric]:
        journal, shipper = self._journal, self._shipper
        yield CounterMetricFamily("redirect_clicks_recorded", "Clicks written to the journal.", journal.recorded)
        yield CounterMetricFamily("redirect_journal_written_bytes", "What those clicks took.", journal.written_bytes)
        dropped = CounterMetricFamily(
            "redirect_clicks_dropped",
            "Clicks not written: the journal's folder is full, or writing failed.",
            labels=("reason",),
        )
        for reason, count in sorted(journal.dropped.items()):
            dropped.add_metric((reason,), count)
        yield dropped
        yield CounterMetricFamily("redirect_clicks_shipped", "Clicks that the write service took.", shipper.shipped)
        yield CounterMetricFamily(
            "redirect_clicks_refused", "Clicks that the write service could not read and set aside.", shipper.refused
        )
        yield CounterMetricFamily(
            "redirect_shipper_failures", "Tries to hand over clicks that failed.", shipper.failures
        )
        yield CounterMetricFamily(
            "redirect_journal_damaged_segments", "Segments set aside because they cannot be read.", shipper.damaged
        )
        segments = journal.segments
        yield GaugeMetricFamily(
            "redirect_journal_waiting_bytes",
            "What this process has still to ship.",
            sum(segment.waiting_bytes for segment in segments),
        )
        oldest = min((segment.oldest_at for segment in segments if segment.oldest_at is not None), default=None)
        yield GaugeMetricFamily(
            "redirect_journal_oldest_seconds",
            "The age of the oldest click that was not shipped; 0 if all were.",
            0 if oldest is None else max(0.0, time() - oldest),
        )
        yield GaugeMetricFamily(
            "redirect_journal_folder_bytes",
            "What all processes have in the journal's folder.",
            journal.folder_bytes,
        )
