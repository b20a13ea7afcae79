"""The write service, for tests of its client and of what people type."""

from tests.dashboard.conftest import enricher, stack

__all__ = ["enricher", "stack"]
