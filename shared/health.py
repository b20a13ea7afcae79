"""The paths of health and metrics, which nginx shows nobody, and the note that a service is about to stop."""

from collections.abc import Mapping, MutableMapping

OPERATIONS = frozenset({"/livez", "/readyz", "/metrics"})
"""`/livez`: the process runs. `/readyz`: it can do its work now. `/metrics`: Prometheus text."""

_DRAINING = "is_draining"


def begin_draining(state: MutableMapping[str, object]) -> None:
    """Note that the server is about to stop, in the lifespan's state, of which every connection and request has a copy."""
    state[_DRAINING] = True


def is_draining(state: Mapping[str, object]) -> bool:
    """Return whether the server is about to stop.

    Args:
        state: The state of a connection, or `scope["state"]` of a request.
    """
    return _DRAINING in state
