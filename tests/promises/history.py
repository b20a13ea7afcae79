"""What was promised of each link and when, and whether what a visitor saw was still allowed: the judge of P3."""

from dataclasses import dataclass, field
from typing import Literal

from tests.promises.visits import ObservedVisit

STALE_AFTER_S = 1.0

Outcome = str | Literal["gone"]
"""A target, or `gone` for a link that answers 410."""


@dataclass(frozen=True)
class HistoryState:
    """What a link is from a moment on.

    Attributes:
        requested_at: Nobody can see it earlier.
        acknowledged_at: Everybody sees it, or a later one, a second after; None while it may not be stored.
    """

    outcome: Outcome
    requested_at: float
    acknowledged_at: float | None = None


@dataclass
class History:
    """The states of one link in their order, on a clock that only goes forward."""

    states: list[HistoryState] = field(default_factory=list)

    def request(self, outcome: Outcome, at: float) -> int:
        """Add a state that can be seen from a moment on, which may be to come, and return its number."""
        self.states.append(HistoryState(outcome, at))
        return len(self.states) - 1

    def acknowledge(self, number: int, now: float) -> None:
        """This state is stored."""
        state = self.states[number]
        self.states[number] = HistoryState(state.outcome, state.requested_at, now)

    def judge(self, seen: ObservedVisit, started_at: float, ended_at: float, settled_at: float = 0.0) -> str | None:
        """Tell what is wrong with an answer.

        Args:
            seen: The answer.
            started_at: When the visit was sent.
            ended_at: When it was answered.
            settled_at: When the redirector could read the feed again, if it could not before.

        Returns:
            The fault in words, or None.
        """
        if seen.status in (0, 503):
            return None
        created_at = self.states[0].acknowledged_at
        if seen.status == 404 and (created_at is None or started_at < created_at + STALE_AFTER_S):
            return None
        outcome = "gone" if seen.status == 410 else seen.location if seen.status in (301, 302, 307, 308) else None
        if outcome is None:
            return f"answered {seen.status}"
        due = started_at - STALE_AFTER_S
        if settled_at > due:
            return None
        first = max(
            (
                n
                for n, state in enumerate(self.states)
                if state.acknowledged_at is not None and state.acknowledged_at < due
            ),
            default=0,
        )
        allowed = [state.outcome for state in self.states[first:] if state.requested_at <= ended_at]
        if outcome in allowed:
            return None
        known = [n for n, state in enumerate(self.states) if state.outcome == outcome]
        if not known:
            return f"led to {outcome}, which was never asked for"
        late = due + STALE_AFTER_S - (self.states[first].acknowledged_at or 0.0)
        return f"state {known[-1]} seen {late:.3f} s after state {first} was acknowledged"
