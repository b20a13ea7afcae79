"""The change feed: which readings still count, whatever is remembered, forgotten or missed."""

import asyncio

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.redirect.feed import LONGEST_GAP_S, REMEMBERED_S, Feed, FeedReader
from shared.changes import EVERYTHING, Change
from shared.records import LinkKey
from tests.conftest import Database


class Dropped:
    """A follower that keeps a record of what it had to drop."""

    def __init__(self) -> None:
        self.forgotten: list[LinkKey] = []
        self.cleared = 0

    def forget(self, key: LinkKey) -> None:
        self.forgotten.append(key)

    def clear(self) -> None:
        self.cleared += 1


class FeedClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def key(name: str) -> LinkKey:
    return "sho.rt", name


def change(version: int, name: str) -> Change:
    return Change(version, key(name))


async def announce(database: Database, *names: str, age_s: float = 0) -> int:
    """Add changes to the feed."""
    conn = await asyncpg.connect(database.owner_url)
    version = 0
    for name in names:
        version = await conn.fetchval(
            """
            INSERT INTO link_changes (domain, code, changed_at)
            VALUES ('sho.rt', $1, clock_timestamp() - make_interval(secs => $2)) RETURNING version
            """,
            name,
            age_s,
        )
    await conn.close()
    return version


def test_reading_counts_if_it_is_as_new_as_the_change() -> None:
    """A reading from before the last known change of its code counts for nothing; others are not concerned."""
    feed = Feed(Dropped(), FeedClock())
    feed.begin([change(5, "a"), change(7, "b")])

    assert [feed.counts(key("a"), as_of) for as_of in (3, 4, 5, 6, 7)] == [False, False, True, True, True]
    assert [feed.counts(key("b"), as_of) for as_of in (4, 5, 6, 7, 8)] == [False, False, False, True, True]
    assert [feed.counts(key("c"), as_of) for as_of in (3, 4, 5)] == [False, True, True]


def test_before_the_feed_is_known_everything_counts() -> None:
    """Without Postgres since the start, what Redis holds is believed."""
    feed = Feed(Dropped(), FeedClock())

    assert feed.counts(key("a"), 0)
    assert feed.age_s() == float("inf")
    feed.begin([])
    assert feed.counts(key("a"), 0)
    feed.extend([change(1, "a")])
    assert not feed.counts(key("a"), 0)


def test_followers_hear_of_each_change() -> None:
    """Memory drops a changed link when the change becomes known, and everything when the feed begins."""
    dropped = Dropped()
    feed = Feed(dropped, FeedClock())
    feed.begin([change(1, "a")])
    feed.extend([change(2, "b"), change(3, "a")])

    assert dropped.cleared == 1
    assert dropped.forgotten == [key("a"), key("b"), key("a")]


def test_floor_rises_as_changes_are_forgotten() -> None:
    """A change that is too old to be remembered leaves a floor: nothing from before it counts, for any code."""
    clock = FeedClock()
    feed = Feed(Dropped(), clock)
    feed.begin([change(5, "a")])
    clock.now += REMEMBERED_S - 1
    feed.extend([change(9, "b")])
    assert feed.counts(key("c"), 4)
    clock.now += 2
    feed.extend([])

    assert not feed.counts(key("c"), 4)
    assert feed.counts(key("c"), 5)
    assert feed.counts(key("a"), 5)
    assert not feed.counts(key("b"), 8)


def test_too_many_changes_raise_the_floor() -> None:
    """More changes than are remembered at once clear the memory, and the floor stands for those that were left out."""
    dropped = Dropped()
    feed = Feed(dropped, FeedClock(), remembered_changes=3)
    feed.begin([])
    feed.extend([change(8, "x"), change(9, "y"), change(10, "z")])

    assert dropped.cleared == 2
    assert not feed.counts(key("left-out"), 6)
    assert feed.counts(key("left-out"), 7)
    feed.extend([change(11, "w")])
    assert not feed.counts(key("x"), 7)
    assert feed.counts(key("x"), 8)


@pytest.mark.parametrize("is_first", [True, False])
def test_change_of_everything_leaves_nothing(is_first: bool) -> None:
    """After a restore no reading from before it counts, of any code, and memory is empty; what is read then counts."""
    dropped = Dropped()
    feed = Feed(dropped, FeedClock())
    feed.begin([change(5, "a"), *([Change(1000, EVERYTHING)] if is_first else [])])
    if not is_first:
        feed.extend([change(6, "b"), Change(1000, EVERYTHING), change(1001, "c")])

    assert dropped.cleared == 2
    assert not any(feed.counts(key(name), 999) for name in "abcd")
    assert feed.counts(key("a"), 1000)
    assert feed.counts(key("d"), 1000)
    assert feed.counts(key("c"), 1000) is is_first


@given(
    history=st.lists(st.sampled_from("abcde"), max_size=60),
    polls=st.lists(st.tuples(st.integers(0, 20), st.floats(0, 400)), max_size=20),
    limit=st.integers(1, 10),
)
def test_no_outdated_reading_ever_counts(history: list[str], polls: list[tuple[int, float]], limit: int) -> None:
    """For any history of changes and any way of polling it, a reading older than a known change of its code never counts."""
    clock = FeedClock()
    feed = Feed(Dropped(), clock, remembered_changes=limit)
    feed.begin([])
    for count, pause in polls:
        clock.now += pause
        news = [change(n + 1, name) for n, name in enumerate(history) if n + 1 > feed.version][:count]
        known = feed.version + len(news)
        feed.extend(news[-limit:])
        for name in "abcde":
            last = max((n + 1 for n in range(known) if history[n] == name), default=0)
            assert not any(feed.counts(key(name), as_of) for as_of in range(last))
            assert feed.counts(key(name), known)


async def test_reader_begins_with_the_recent_changes(database: Database) -> None:
    """At the start the last eleven minutes are read; older changes are only the floor."""
    old = await announce(database, "old", "older", age_s=REMEMBERED_S + 5)
    await announce(database, "recent", age_s=REMEMBERED_S - 60)
    newest = await announce(database, "now")
    feed = Feed(Dropped())
    reader = FeedReader(database.redirect_url, feed)
    assert await reader.poll()
    reader.close()

    assert (feed.floor, feed.version) == (old, newest)
    assert not feed.counts(key("recent"), old)
    assert feed.counts(key("old"), old)


async def test_reader_knows_where_the_feed_stands_after_a_quiet_day(database: Database) -> None:
    """Where all changes are old, the newest still gives the version, so that new readings count for other redirectors."""
    newest = await announce(database, "a", "b", age_s=86400)
    feed = Feed(Dropped())
    reader = FeedReader(database.redirect_url, feed)
    await reader.poll()
    reader.close()

    assert feed.version == newest


async def test_reader_goes_on_where_it_was(database: Database) -> None:
    """Each poll brings what is new, in order, and nothing twice."""
    dropped = Dropped()
    feed = Feed(dropped)
    reader = FeedReader(database.redirect_url, feed)
    await reader.poll()
    for names in (["a"], [], ["b", "c"]):
        await announce(database, *names)
        await reader.poll()
    reader.close()

    assert dropped.forgotten == [key("a"), key("b"), key("c")]


async def test_reader_begins_anew_after_a_long_gap(database: Database) -> None:
    """After an hour without the feed, what may have been pruned meanwhile is not relied upon."""
    clock, dropped = FeedClock(), Dropped()
    feed = Feed(dropped, clock)
    reader = FeedReader(database.redirect_url, feed)
    await announce(database, "a")
    await reader.poll()
    missed = await announce(database, "pruned", age_s=REMEMBERED_S + 1)
    clock.now += LONGEST_GAP_S + 1
    newest = await announce(database, "b")
    await reader.poll()
    reader.close()

    assert dropped.cleared == 2
    assert (feed.floor, feed.version) == (missed, newest)


async def test_failed_polls_are_repeated(database: Database) -> None:
    """A poll that cannot connect, or whose connection broke, says so, and the next one works."""
    feed = Feed(Dropped())
    nowhere = FeedReader("postgresql://nobody@/none?host=/nonexistent", feed)
    assert not await nowhere.poll()
    assert not feed.is_known

    reader = FeedReader(database.redirect_url, feed)
    assert await reader.poll()
    admin = await asyncpg.connect(database.server.url("postgres", database.name))
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tinyurl redirect feed'"
    )
    await admin.close()
    newest = await announce(database, "a")
    async with asyncio.timeout(30):
        while feed.version != newest:
            await reader.poll()
    reader.close()
