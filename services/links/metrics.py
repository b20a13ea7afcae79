"""Metrics of the write service, and the middleware that measures each request and binds its id to the log."""

from collections.abc import Sequence
from time import perf_counter, time

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Metrics:
    """The requests by route and status and how long they took, and the clicks that were taken; a registry per app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "links_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "links_request_seconds", "Time to the end of an answer.", ("method", "route"), registry=self.registry
        )

        self._clicks = Counter("links_clicks_taken", "Clicks stored and counted.", registry=self.registry)
        self._refused = Counter(
            "links_clicks_refused",
            "Clicks, or damaged pieces of a journal, that were set aside.",
            registry=self.registry,
        )
        self._batches = Counter("links_click_batches", "Batches by their answer.", ("status",), registry=self.registry)
        self._claims = Counter(
            "links_claims",
            "Visitors of limited links, by whether they were let through.",
            ("verdict",),
            registry=self.registry,
        )
        self._worker_starts = 0
        self._restarts = Counter(
            "links_click_worker_restarts", "Starts of the click worker after one that died.", registry=self.registry
        )
        self._newest = 0.0
        lag = Gauge(
            "links_click_lag_seconds",
            "Age of the newest click that this process stored; 0 before the first.",
            registry=self.registry,
        )
        lag.set_function(lambda: max(0.0, time() - self._newest) if self._newest else 0.0)

    def count_batch(self, status: int, clicks: int, refused: int, newest: float) -> None:
        """Count the result of a batch of clicks (`TakenBatch` in `clicks/pipe.py`)."""
        self._batches.labels(str(status)).inc()
        self._clicks.inc(clicks)
        self._refused.inc(refused)
        # A redirector whose clock is ahead must not hide the lag of the others for long.
        self._newest = max(self._newest, min(newest, time()))

    def count_claims(self, verdicts: Sequence[bool]) -> None:
        self._claims.labels("granted").inc(sum(verdicts))
        self._claims.labels("refused").inc(len(verdicts) - sum(verdicts))

    def count_worker_start(self) -> None:
        self._worker_starts += 1
        if self._worker_starts > 1:
            self._restarts.inc()

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)


class MetricsMiddleware:
    """ASGI middleware around everything else.

    Args:
        app: What it wraps.
        metrics: Where the requests are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        status = 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = perf_counter()
        # The server runs each request in a context of its own, which ends with it.
        structlog.contextvars.bind_contextvars(request_id=request_id.decode("ascii", "replace"))
        try:
            await self._app(scope, receive, send_and_note)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.observe(scope["method"], route, status, perf_counter() - started)
