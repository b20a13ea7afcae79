"""Each owner's share of what is scarce, so that one who asks for much waits for himself, and nobody else for him.

Routes take a turn before they borrow a connection. Some requests of an owner run at once, some more wait for these, and
what is beyond is refused, with 429: others are unaffected, so this is no 503. What is heavy also keeps a pace (`pace.py`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from services.links.web.errors import TooManyRequests
from services.links.web.pace import Pace

WAIT_S = 3.0


@dataclass(slots=True)
class _Line:
    """The requests of one owner: those that run and those that wait."""

    turns: asyncio.Semaphore
    requests: int = 0


class Share:
    """What each owner may have of one kind of work.

    Args:
        kind: What there is too much of, as a client is told: `lists`.
        at_once: Requests of an owner that run at once.
        waiting: Requests of an owner that wait for these.
        wait_s: How long they wait at most.
        pace: Is told who is there.
        is_heavy: Whether a turn is also a step of that pace.
    """

    def __init__(
        self,
        kind: str,
        pace: Pace,
        *,
        at_once: int,
        waiting: int = 0,
        wait_s: float = WAIT_S,
        is_heavy: bool = False,
    ) -> None:
        self._kind = kind
        self._pace = pace
        self._is_heavy = is_heavy
        self._wait_s = wait_s
        self._at_once = at_once
        self._most = at_once + waiting
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def turn(self, owner: str) -> AsyncIterator[None]:
        """Wait for the owner's requests before.

        Raises:
            TooManyRequests: There are too many of them, or they take too long.
        """
        self._pace.note(owner)
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = _Line(asyncio.Semaphore(self._at_once))
        if line.requests >= self._most:
            raise TooManyRequests(f"You have too many {self._kind} under way: at most {self._at_once} run at once.")
        line.requests += 1
        try:
            async with AsyncExitStack() as held:
                try:
                    async with asyncio.timeout(self._wait_s):
                        await held.enter_async_context(line.turns)
                        if self._is_heavy:
                            await held.enter_async_context(self._pace.step(owner))
                except TimeoutError:
                    raise TooManyRequests(f"Your {self._kind} before this one take too long.") from None
                yield
        finally:
            line.requests -= 1
            if not line.requests:
                # Equal to the one that was taken: a line goes with its last request.
                del self._lines[owner]


@dataclass(frozen=True, slots=True)
class Shares:
    """The kinds of work; each has connections of its own but `creations` and `edits`, which have those of the links.

    Attributes:
        creations: Links with generated codes, which go in together.
        edits: What has a transaction, and look-ups of single links; three of the ten connections.
        lists: Lists, searches and counts of tags.
        exports: As long as they last, however slowly they are read.
        batches: One is received while another one is stored; the bodies of those that wait are not read.
        statistics: Statistics and raw clicks.
        pace: Of lists and statistics, of the pages of exports, and of batches.
    """

    pace: Pace
    edits: Share
    creations: Share
    lists: Share
    exports: Share
    batches: Share
    statistics: Share


def open_shares(pool_size: int, wait_s: float = WAIT_S) -> Shares:
    """The shares of a process.

    Args:
        pool_size: Connections for single links, of which creations need two.
        wait_s: How long a request waits at most.
    """
    pace = Pace()
    return Shares(
        pace=pace,
        edits=Share("requests", pace, at_once=max(1, pool_size * 3 // 10), waiting=100, wait_s=wait_s),
        creations=Share("creations", pace, at_once=256, wait_s=wait_s),
        lists=Share("lists", pace, at_once=2, waiting=8, wait_s=wait_s, is_heavy=True),
        exports=Share("exports", pace, at_once=4, wait_s=wait_s),
        batches=Share("batches", pace, at_once=2, waiting=6, wait_s=wait_s),
        statistics=Share("statistics", pace, at_once=2, waiting=8, wait_s=wait_s, is_heavy=True),
    )
