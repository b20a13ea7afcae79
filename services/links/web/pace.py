"""The pace of heavy work. While other owners are there, the steps of an owner run one by one, with a rest after each.

A step is a list, a statistic, a page of an export, or a batch. Batches do not wait for the other steps. Turns (`shares.py`)
limit how many requests run. The pace limits their part of the processors, also of Postgres. An owner who is alone has no pace.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

THERE_S = 1.0
"""An owner is there for a second after each request."""

LONGEST_REST_S = 1.0
"""The longest rest. A statement takes 4 s at most, and a request waits 3 s for its turn."""


@dataclass(slots=True)
class _Walk:
    """The steps of one owner that wait for each other.

    Attributes:
        turn: The step that runs holds it.
        steps: The number of steps that run or wait.
        rests_until: The time at which the next step may begin.
    """

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    steps: int = 0
    rests_until: float = 0.0


class Pace:
    """Knows which owners are there, and makes an owner rest for as long as it worked.

    Args:
        clock: Seconds that only go forward.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self, clock: Callable[[], float] = monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._walks: dict[tuple[str, bool], _Walk] = {}
        self._last = "", -THERE_S
        self._others = -THERE_S

    def note(self, owner: str) -> None:
        """Note that an owner has sent a request."""
        if owner != self._last[0]:
            self._others = self._last[1]
        self._last = owner, self._clock()

    def has_others(self, owner: str) -> bool:
        """Return whether another owner is there."""
        last, at = self._last
        return self._clock() - (self._others if last == owner else at) < THERE_S

    @asynccontextmanager
    async def step(self, owner: str, *, stores: bool = False) -> AsyncIterator[None]:
        """Wait for the previous step of the owner and the rest after it. An owner who is alone does not wait.

        Args:
            owner: The owner of the work.
            stores: Whether it is a batch. Behind long reading it would miss its deadline, so batches have a walk of their own.
        """
        walk = self._walks.setdefault((owner, stores), _Walk())
        walk.steps += 1
        try:
            if self.has_others(owner):
                async with walk.turn:
                    await self._sleep(walk.rests_until - self._clock())
                    began = self._clock()
                    try:
                        yield
                    finally:
                        ended = self._clock()
                        walk.rests_until = ended + min(ended - began, LONGEST_REST_S)
            else:
                yield
        finally:
            walk.steps -= 1
            # The walk whose step has just ended is last, so that those at the front are over first.
            self._walks[owner, stores] = self._walks.pop((owner, stores))
            self._forget_walks()

    def _forget_walks(self) -> None:
        """Forget the walks at the front that have no steps and whose rest is over."""
        now = self._clock()
        while self._walks:
            key, walk = next(iter(self._walks.items()))
            if walk.steps or walk.rests_until > now:
                return
            del self._walks[key]
