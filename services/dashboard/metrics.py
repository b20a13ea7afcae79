"""Metrics of the dashboard, a registry per app."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter

Result = Literal["signed in", "key refused", "code refused", "not reached"]


class DashboardMetrics:
    """Counts who tries to sign in, by result."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._sign_ins = Counter("dashboard_sign_ins", "Tries to sign in.", ("result",), registry=self.registry)

    def count(self, result: Result) -> None:
        self._sign_ins.labels(result).inc()
