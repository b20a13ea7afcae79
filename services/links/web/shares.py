"""Each owner's share of what is scarce, so that one who asks for much waits for himself, and nobody else for him.

Routes take a turn before they borrow a connection. Some requests of an owner run at once, some more wait for these, and
what is beyond is refused, with 429: others are unaffected, so this is no 503.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.links.web.errors import TooManyRequests

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
    """

    def __init__(self, kind: str, *, at_once: int, waiting: int = 0, wait_s: float = WAIT_S) -> None:
        self._kind = kind
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
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = _Line(asyncio.Semaphore(self._at_once))
        if line.requests >= self._most:
            raise TooManyRequests(f"You have too many {self._kind} under way: at most {self._at_once} run at once.")
        line.requests += 1
        try:
            try:
                async with asyncio.timeout(self._wait_s):
                    await line.turns.acquire()
            except TimeoutError:
                raise TooManyRequests(f"Your {self._kind} before this one take too long.") from None
            try:
                yield
            finally:
                line.turns.release()
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
    """

    edits: Share
    creations: Share
    lists: Share
    exports: Share
    batches: Share
    statistics: Share


def open_shares(pool_size: int, wait_s: float = WAIT_S) -> Shares:
    """The shares of a process.

    Args:
        pool_size: Connections for single links, of which creations and a batch need three.
        wait_s: How long a request waits at most.
    """
    return Shares(
        edits=Share("requests", at_once=max(1, pool_size * 3 // 10), waiting=100, wait_s=wait_s),
        creations=Share("creations", at_once=256, wait_s=wait_s),
        lists=Share("lists", at_once=2, waiting=8, wait_s=wait_s),
        exports=Share("exports", at_once=4, wait_s=wait_s),
        batches=Share("batches", at_once=2, waiting=6, wait_s=wait_s),
        statistics=Share("statistics", at_once=2, waiting=8, wait_s=wait_s),
    )
