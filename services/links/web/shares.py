"""Each owner's share of connections and processors. An owner who asks for much waits, and the others do not.

Routes take a turn before they borrow a connection. Some requests of an owner run at once, and some more wait. Further requests
get 429, and not 503, because the others are unaffected. Heavy work also has a pace (`pace.py`).
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
    """The share of each owner in one kind of work.

    Args:
        kind: The name of the work in errors, such as `lists`.
        at_once: The most requests of an owner that run at once.
        waiting: The most requests of an owner that wait for these.
        wait_s: The longest wait.
        pace: Is told which owners are there.
        is_heavy: Whether a turn is also a step of the pace.
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
        """Wait for the earlier requests of the owner.

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
            if not self._is_heavy and not line.turns.locked():
                # Nothing to wait for, which is usual; a deadline and what holds it cost 5 µs.
                async with line.turns:
                    yield
                return
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
                # A line ends with its last request, so the next one makes an equal line.
                del self._lines[owner]


@dataclass(frozen=True, slots=True)
class Shares:
    """The kinds of work. Each has connections of its own, but `creations` and `edits` share those of the links.

    Attributes:
        creations: New links with generated codes, which are stored together.
        edits: Transactions and look-ups of single links. They take three of ten connections.
        lists: Lists, searches and counts of tags.
        exports: An export has its turn for as long as the client reads.
        batches: One is received while another one is stored. The bodies of those that wait are not read.
        imports: Uploads of files.
        statistics: Statistics and raw clicks.
        passwords: Hashing. One of an owner's passwords waits among those of the others.
        pace: The pace of lists, statistics, pages of exports, and batches.
    """

    pace: Pace
    edits: Share
    creations: Share
    lists: Share
    exports: Share
    batches: Share
    imports: Share
    statistics: Share
    passwords: Share


def open_shares(pool_size: int, wait_s: float = WAIT_S) -> Shares:
    """Return the shares of a process.

    Args:
        pool_size: The number of connections for single links. Creations need two of them.
        wait_s: The longest wait of a request.
    """
    pace = Pace()
    return Shares(
        pace=pace,
        edits=Share("requests", pace, at_once=max(1, pool_size * 3 // 10), waiting=100, wait_s=wait_s),
        creations=Share("creations", pace, at_once=256, wait_s=wait_s),
        lists=Share("lists", pace, at_once=2, waiting=8, wait_s=wait_s, is_heavy=True),
        exports=Share("exports", pace, at_once=4, wait_s=wait_s),
        batches=Share("batches", pace, at_once=2, waiting=6, wait_s=wait_s),
        imports=Share("uploads of files", pace, at_once=2, wait_s=wait_s),
        statistics=Share("statistics", pace, at_once=2, waiting=8, wait_s=wait_s, is_heavy=True),
        passwords=Share("passwords", pace, at_once=1, waiting=32, wait_s=wait_s),
    )
