"""The pace of heavy work: while others are there, an owner's steps come one after the other, and each is followed by a rest.

A step is a list, a statistic, a page of an export, or a batch; batches do not wait for the others. Turns (`shares.py`) bound
how many requests run; this bounds which part of the processors, Postgres' too, they get. An owner who is alone has all of it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

THERE_S = 1.0
"""Who has asked for something in the last second is there."""

LONGEST_REST_S = 1.0
"""A statement takes 4 s at most, and who waits for a turn does so for 3."""


@dataclass(slots=True)
class _Walk:
    """The steps of one owner that wait for each other.

    Attributes:
        turn: Of the step that runs.
        steps: That run or wait.
        rests_until: When the next one may begin.
    """

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    steps: int = 0
    rests_until: float = 0.0


class Pace:
    """Knows who is there, and has an owner rest for as long as it worked.

    Args:
        clock: Seconds that only grow.
        sleep: Lets some of them pass.
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
        """Hear that an owner asks for something."""
        if owner != self._last[0]:
            self._others = self._last[1]
        self._last = owner, self._clock()

    def has_others(self, owner: str) -> bool:
        """Whether someone else is there."""
        last, at = self._last
        return self._clock() - (self._others if last == owner else at) < THERE_S

    @asynccontextmanager
    async def step(self, owner: str, *, stores: bool = False) -> AsyncIterator[None]:
        """Wait for the owner's step before, and for the rest after it, unless the owner is alone.

        Args:
            owner: Whose work it is.
            stores: Whether it is a batch, which would miss its deadline behind long reading.
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
