"""What the app opens at its start, and how a route, a visit and a connection reach it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from starlette.types import ASGIApp

    from services.redirect.domains.decisions import Domains
    from services.redirect.feed import Feed
    from services.redirect.lane import Lane

STATE = "redirect"
"""The name under which the lifespan yields the state; the server adds names of its own (`shared/health.py`)."""


@dataclass(frozen=True, slots=True)
class RedirectState:
    """What the lifespan opens.

    Attributes:
        visits: Answers the visits that the lane does not.
        release: Which release this is.
    """

    visits: ASGIApp
    lane: Lane
    feed: Feed
    domains: Domains
    registry: CollectorRegistry
    release: str


def state_of(state: Mapping[str, object]) -> RedirectState:
    """Return the app's state.

    Args:
        state: Of a connection, or a request's `scope["state"]`.
    """
    return cast(RedirectState, state[STATE])
