"""A redirect process's memory: bounded, never prolonged by hits, and finished only where that is right."""

import sys
import tracemalloc

import pytest

from services.redirect.memory import LIFETIME_S, OUTAGE_LIFETIME_S, Memory
from shared.records import LinkKey, VersionedRecord
from tests.redirect.test_answers import NOW, PLAIN

MIB = 2**20


def key(n: int) -> LinkKey:
    return "sho.rt", f"c{n}"


def test_number_of_links_is_bounded() -> None:
    """The link that was stored first makes room for a new one; storing again counts as new."""
    memory = Memory(MIB)
    memory.store(key(1), VersionedRecord(1, PLAIN), NOW)
    memory = Memory(3 * memory.bytes)
    for n in (1, 2, 3, 1, 4):
        memory.store(key(n), VersionedRecord(1, PLAIN), NOW)

    assert [n for n in range(1, 5) if memory.find(key(n)) is not None] == [1, 3, 4]


def test_entry_lives_sixty_seconds_or_until_the_link_ends() -> None:
    """The lane answers until the entry's lifetime is over, or the link's, whichever is first."""
    memory = Memory(MIB)
    memory.store(key(1), VersionedRecord(1, PLAIN), NOW)
    memory.store(key(2), VersionedRecord(1, PLAIN._replace(expires_at=NOW + 5)), NOW)
    entries = [memory.find(key(n)) for n in (1, 2)]

    assert [entry and entry.fresh_until for entry in entries] == [NOW + LIFETIME_S] * 2
    assert [entry and entry.answered_until for entry in entries] == [NOW + LIFETIME_S, NOW + 5]


def test_finished_answer_is_what_the_server_writes() -> None:
    """The lane's bytes are status line, headers and the end of the head."""
    memory = Memory(MIB)
    memory.store(key(1), VersionedRecord(1, PLAIN), NOW)
    entry = memory.find(key(1))

    assert entry is not None
    assert entry.response == (
        b"HTTP/1.1 302 Found\r\nlocation: https://www.example.com/a?b=c#d\r\ncache-control: private, no-store\r\n"
        b"x-robots-tag: noindex\r\ncontent-length: 0\r\n\r\n"
    )
    assert memory.entries[b"/c1 HTTP/1.1\r\nHost: sho.rt"] is entry


def test_answers_that_depend_on_the_visit_are_not_finished() -> None:
    """Links that are over, not begun, or whose headers count seconds are remembered, but not for the lane."""
    memory = Memory(MIB)
    changes = [
        {"enabled": False},
        {"deleted": True},
        {"valid_from": NOW + 5},
        {"cache_control": 9, "expires_at": NOW + 99},
    ]
    for n, change in enumerate([*changes, {"min_reader": 9}, {"expires_at": NOW - 1}]):
        memory.store(key(n), VersionedRecord(1, PLAIN._replace(**change)), NOW)  # type: ignore[arg-type]  # fields of the record
        entry = memory.find(key(n))

        assert entry is not None
        assert entry.answered_until == 0.0
        assert entry.record == PLAIN._replace(**change)  # type: ignore[arg-type]


def test_target_is_kept_once() -> None:
    """A finished answer has the target, and the record takes it from there; what has no answer keeps its own."""
    target = "https://www.example.com/" + "a" * 10_000
    records = [PLAIN._replace(url=target), PLAIN._replace(url=target, valid_from=NOW + 5)]
    for n, record in enumerate(records):
        memory = Memory(MIB)
        memory.store(key(n), VersionedRecord(1, record), NOW)
        entry = memory.find(key(n))

        assert entry is not None
        assert entry.record == record
        assert memory.bytes < 11_000
        entry.finish(record, NOW + 6)
        assert entry.record == record


def test_full_memory_stays_full() -> None:
    """Several of the oldest links make room at once, but few; the newest are there."""
    memory = Memory(MIB)
    for n in range(6000):
        memory.store(key(n), VersionedRecord(1, PLAIN), NOW)

    assert 0.99 * MIB < memory.bytes <= MIB
    assert list(memory.entries) == [
        b"/c%d HTTP/1.1\r\nHost: sho.rt" % n for n in range(6000 - len(memory.entries), 6000)
    ]


def test_absent_code_is_not_remembered() -> None:
    """That there is no link is kept in Redis only, for seconds."""
    memory = Memory(MIB)
    memory.store(key(1), VersionedRecord(1, None), NOW)

    assert memory.find(key(1)) is None


def test_entry_goes_on_in_an_outage_by_seconds() -> None:
    """What no store can confirm goes on for a second at a time, and never past the link's end."""
    memory = Memory(MIB)
    memory.store(key(1), VersionedRecord(1, PLAIN._replace(expires_at=NOW + 100.5)), NOW)
    entry = memory.find(key(1))
    assert entry is not None
    memory.prolong(entry, NOW + 100)

    assert entry.fresh_until == NOW + 100 + OUTAGE_LIFETIME_S
    assert entry.answered_until == NOW + 100.5
    memory.prolong(entry, NOW + 200)
    assert entry.answered_until == NOW + 100.5


def test_forgotten_link_is_gone() -> None:
    """The feed can drop one link, or all."""
    memory = Memory(MIB)
    for n in (1, 2, 3):
        memory.store(key(n), VersionedRecord(1, PLAIN), NOW)
    memory.forget(key(2))
    memory.forget(key(9))
    assert [memory.find(key(n)) is not None for n in (1, 2, 3)] == [True, False, True]
    memory.clear()
    assert len(memory.entries) == 0
    assert memory.bytes == 0


@pytest.mark.parametrize("path_bytes", [20, 400, 8000])
def test_memory_is_bounded_by_what_it_really_takes(path_bytes: int) -> None:
    """Whatever the size of the targets, the entries take the budget, as the allocator counts it, and little is wasted."""
    budget = 4 * MIB
    # Made before: Python keeps the tuples that a record leaves behind for the next one, and counts them as taken.
    readings = [
        VersionedRecord(
            2**40 + n, PLAIN._replace(link_id=2**40 + n, url=f"https://www.example.com/{n}/" + "a" * path_bytes)
        )
        for n in range(8 * budget // (2 * path_bytes + 700))
    ]
    tracemalloc.start()
    try:
        memory = Memory(budget)
        before, _ = tracemalloc.get_traced_memory()
        for n, reading in enumerate(readings):
            memory.store((f"{n:x}.sho.rt", "c" * 60), reading, NOW + n)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert memory.bytes <= budget
    assert 0.7 * budget < taken < 1.05 * budget


def test_count_of_bytes_does_not_drift() -> None:
    """Whatever is stored again, prolonged, forgotten or evicted, the count is the sum of what is there."""
    memory = Memory(20_000)
    for n in range(200):
        record = PLAIN._replace(url="https://a.example/" + "a" * (n * 37 % 900), valid_from=NOW + 50 if n % 3 else None)
        memory.store(key(n % 40), VersionedRecord(n, record), NOW)
        entry = memory.find(key(n * 7 % 40))
        if entry is not None:
            memory.prolong(entry, NOW + n)
        memory.forget(key(n * 11 % 40))
        assert memory.bytes == sum(entry.size(place) for place, entry in memory.entries.items()) <= 20_000

    assert sys.getsizeof(memory.entries) < 20_000


def test_no_budget_holds_nothing() -> None:
    """With 0 MB every visit is looked up."""
    memory = Memory(0)
    memory.store(key(1), VersionedRecord(1, PLAIN), NOW)

    assert (len(memory.entries), memory.bytes) == (0, 0)
