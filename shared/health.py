"""The paths at which a service tells of itself; nginx lets none of them through."""

OPERATIONS = frozenset({"/livez", "/readyz", "/metrics"})
"""Alive: the process runs. Ready: it can do its work now. Metrics: Prometheus text."""
