"""The paths at which a service tells of itself, which nginx lets nobody through to, and whether it is about to stop."""

from collections.abc import Mapping, MutableMapping

OPERATIONS = frozenset({"/livez", "/readyz", "/metrics"})
"""Alive: the process runs. Ready: it can do its work now. Metrics: Prometheus text."""

_DRAINING = "is_draining"


def begin_draining(state: MutableMapping[str, object]) -> None:
    """Note in the lifespan's state, of which every connection and every request has a copy, that the server leaves."""
    state[_DRAINING] = True


def is_draining(state: Mapping[str, object]) -> bool:
    """Return whether the server has said that it leaves.

    Args:
        state: Of a connection, or a request's `scope["state"]`.
    """
    return _DRAINING in state
