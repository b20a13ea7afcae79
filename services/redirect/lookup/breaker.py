"""A circuit breaker. A store that keeps failing is not asked for a while, so that no visitor waits for its deadline."""

from collections.abc import Callable
from time import monotonic

from shared.backoff import Backoff

FAILURES_TO_OPEN = 3
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 2.0


class Breaker:
    """Opens after three failures in a row. Then it allows one trial at a time, after pauses that double up to two seconds.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._failures = 0
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S, clock)

    @property
    def is_open(self) -> bool:
        return self._failures >= FAILURES_TO_OPEN

    def allows(self) -> bool:
        """Tell whether to call the store now; if an open breaker says yes, that call is the trial."""
        if not self.is_open:
            return True
        if not self._backoff.is_due():
            return False
        self._backoff.postpone()
        return True

    def record_success(self) -> None:
        self._failures = 0
        self._backoff.reset()

    def record_failure(self) -> None:
        self._failures += 1
        if self.is_open:
            self._backoff.record_failure()
