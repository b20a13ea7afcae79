"""Follows the change feed, so that an edit is visible within a second, and knows which cached readings still count.

links writes the feed (`shared/changes.py`). The resolver asks `counts` before it believes Redis or stores a reading,
and memory drops each link that changed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol

import structlog

from shared.changes import EVERYTHING, Change, select_changes, select_recent_changes
from shared.postgres import FAILURES, Connection, OwnConnection, connect
from shared.records import RECORD_LIFETIME_S, LinkKey

POLL_INTERVAL_S = 0.25
POLL_DEADLINE_S = 0.5
SHORTEST_PAUSE_S = 0.01

REMEMBERED_S = RECORD_LIFETIME_S + 60
"""Longer than the life of a record in Redis, so that all changes that could concern a record are remembered."""

REMEMBERED_CHANGES = 100_000

LONGEST_GAP_S = 3600.0
"""After a gap of an hour the feed begins anew, long before links deletes the changes that were missed."""

log = structlog.get_logger()


class Follower(Protocol):
    """Drops what it holds of a changed link."""

    def forget(self, key: LinkKey) -> None: ...

    def clear(self) -> None: ...


class Followers:
    """Several followers, which hear of the same changes."""

    def __init__(self, *followers: Follower) -> None:
        self._followers = followers

    def forget(self, key: LinkKey) -> None:
        for follower in self._followers:
            follower.forget(key)

    def clear(self) -> None:
        for follower in self._followers:
            follower.clear()


class Feed:
    """The changes of the last 11 minutes, and a floor: nothing is remembered of changes up to that version.

    Args:
        follower: Called for each change when it becomes known.
        clock: Seconds that only go forward.
        remembered_changes: How many changes are remembered at most.
    """

    def __init__(
        self,
        follower: Follower,
        clock: Callable[[], float] = monotonic,
        remembered_changes: int = REMEMBERED_CHANGES,
    ) -> None:
        self.version = 0
        self.floor = 0
        self.known_at: float | None = None
        self._follower = follower
        self._clock = clock
        self.limit = remembered_changes
        self._changed: dict[LinkKey, int] = {}
        self._order: deque[tuple[float, Change]] = deque()

    @property
    def is_known(self) -> bool:
        """Whether the feed was read once. Before that, all records in Redis count."""
        return self.known_at is not None

    def age_s(self) -> float:
        """Return the seconds since the feed was last read; infinite before the first time."""
        return float("inf") if self.known_at is None else self._clock() - self.known_at

    def counts(self, key: LinkKey, as_of: int) -> bool:
        """Tell whether a reading is as new as the code's last known change."""
        return not self.is_known or (as_of >= self.floor and as_of >= self._changed.get(key, 0))

    def begin(self, changes: Sequence[Change]) -> None:
        """Start from the recent changes. Records that were read before do not count."""
        self._changed.clear()
        self._order.clear()
        self.floor = changes[0].version - 1 if changes else 0
        self.version = self.floor
        self._follower.clear()
        self.extend(changes)

    def extend(self, changes: Sequence[Change]) -> None:
        """Take in the changes after `version`, oldest first. If they are as many as are remembered, there may be more."""
        now = self._clock()
        if len(changes) >= self.limit:
            self._raise_floor(changes[0].version - 1)
            self._follower.clear()
        for change in changes:
            if change.key == EVERYTHING:
                self._raise_floor(change.version)
                self._follower.clear()
            self._changed[change.key] = change.version
            self._order.append((now, change))
            self._follower.forget(change.key)
            self.version = change.version
        self.known_at = now
        while self._order and (len(self._order) > self.limit or self._order[0][0] < now - REMEMBERED_S):
            _, oldest = self._order.popleft()
            self._raise_floor(oldest.version)
            if self._changed.get(oldest.key) == oldest.version:
                del self._changed[oldest.key]

    def _raise_floor(self, version: int) -> None:
        self.floor = max(self.floor, version)


class FeedReader:
    """Polls the feed on a connection of its own, four times a second. A poll that fails is repeated."""

    def __init__(self, url: str, feed: Feed, on_success: Callable[[], None] = lambda: None) -> None:
        self._url = url
        self._feed = feed
        self._on_success = on_success
        self._conn: OwnConnection | None = None
        self.failures = 0

    async def poll(self) -> bool:
        """Read what is new.

        Returns:
            Whether the feed is known up to now.
        """
        try:
            async with asyncio.timeout(POLL_DEADLINE_S):
                await self._read(await self._connection())
        except FAILURES as error:
            self.failures += 1
            if self.failures == 1:
                log.warning("feed_unreachable", error=type(error).__name__)
            self.close()
            return False
        # This is in the same tick, so that a miss of a forgotten link may ask Postgres.
        self._on_success()
        if self.failures:
            log.info("feed_reachable", failed_polls=self.failures)
            self.failures = 0
        return True

    async def begin(self) -> None:
        """Poll until it succeeds for the first time."""
        while not await self.poll():  # noqa: ASYNC110  # only the poll itself tells
            await asyncio.sleep(POLL_INTERVAL_S)

    async def follow(self) -> None:
        """Poll for ever, four times a second; after a poll that missed its deadline the next one follows at once.

        So a change is known within a second even if one poll is lost: 0.25 s until it starts, 0.5 s until it is given
        up, and the next.
        """
        while True:
            started = monotonic()
            try:
                await self.poll()
            except Exception:
                # It goes on after any error: a process that no longer follows would serve old targets for ever.
                log.exception("feed_poll_failed")
                self.close()
            await asyncio.sleep(max(SHORTEST_PAUSE_S, started + POLL_INTERVAL_S - monotonic()))

    def close(self) -> None:
        if self._conn is not None:
            self._conn.terminate()
            self._conn = None

    async def _connection(self) -> Connection:
        if self._conn is None or self._conn.is_closed():
            self._conn = await connect(
                self._url,
                "redirect feed",
                connect_timeout_s=POLL_DEADLINE_S,
                statement_timeout_s=POLL_DEADLINE_S,
            )
        return self._conn

    async def _read(self, conn: Connection) -> None:
        feed = self._feed
        if feed.age_s() > LONGEST_GAP_S:
            feed.begin(await select_recent_changes(conn, seconds=REMEMBERED_S, limit=feed.limit))
        else:
            feed.extend(await select_changes(conn, after=feed.version, limit=feed.limit))
