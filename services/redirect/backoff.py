"""When to try again what failed: pauses that double up to a limit, with jitter, so that processes do not try in step."""

import random
from collections.abc import Callable
from time import monotonic


class Backoff:
    """The pauses of one thing that is tried again and again.

    Args:
        first_s: The pause after the first failure, at most.
        longest_s: The longest one.
        clock: Seconds that only go forward.
    """

    def __init__(self, first_s: float, longest_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._clock = clock
        self._failures = 0
        self._due_at = 0.0

    @property
    def has_failed(self) -> bool:
        """Whether the last try failed."""
        return self._failures > 0

    def is_due(self) -> bool:
        return self._clock() >= self._due_at

    def record_failure(self) -> None:
        doublings = min(self._failures, 30)
        self._failures += 1
        pause_s = min(self._first_s * 2**doublings, self._longest_s)
        self._due_at = self._clock() + pause_s * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        self._failures = 0
        self._due_at = 0.0
