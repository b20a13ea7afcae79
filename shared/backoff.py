"""Pauses between tries. They double up to a limit, and jitter keeps processes from trying at the same moments."""

import random
from collections.abc import Callable
from time import monotonic

SHORTEST_PART = 0.5
"""The shortest pause, as a part of the whole one."""


class Backoff:
    """The pauses of one thing that is tried again and again.

    Args:
        first_s: The longest pause after the first failure.
        longest_s: The longest pause after many failures.
        clock: Seconds that only go forward, or another unit, which the pauses then have, too.
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

    def record_failure(self) -> float:
        """Note that a try failed.

        Returns:
            The pause until the next one, seconds.
        """
        self._failures += 1
        return self.postpone()

    def postpone(self) -> float:
        """Begin the pause of the last failure again, so that the next caller waits unless a success is reported.

        Returns:
            The pause, seconds.
        """
        doublings = min(self._failures - 1, 30)
        pause_s = min(self._first_s * 2.0**doublings, self._longest_s) * random.uniform(SHORTEST_PART, 1.0)
        self._due_at = self._clock() + pause_s
        return pause_s

    def reset(self) -> None:
        self._failures = 0
        self._due_at = 0.0
