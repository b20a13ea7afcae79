"""A circuit breaker: it leaves a store that keeps failing alone for a while, so that no visitor waits for its deadline."""

import random
from collections.abc import Callable
from time import monotonic

FAILURES_TO_OPEN = 3
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 2.0


class Breaker:
    """Opens after three failures in a row. Then it allows one trial at a time, after pauses that double up to two seconds.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._closed_until_trial = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= FAILURES_TO_OPEN

    def allows(self) -> bool:
        """Tell whether to call the store now; if an open breaker says yes, that call is the trial."""
        if not self.is_open:
            return True
        now = self._clock()
        if now < self._closed_until_trial:
            return False
        self._closed_until_trial = now + self._pause()
        return True

    def record_success(self) -> None:
        self._failures = 0

    def record_failure(self) -> None:
        self._failures += 1
        if self.is_open:
            self._closed_until_trial = self._clock() + self._pause()

    def _pause(self) -> float:
        doublings = min(self._failures - FAILURES_TO_OPEN, 8)
        return float(min(FIRST_PAUSE_S * 2**doublings, LONGEST_PAUSE_S)) * random.uniform(0.75, 1.0)
