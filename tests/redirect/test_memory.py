"""A redirect process's memory: bounded, never prolonged by hits, and finished only where that is right."""

from services.redirect.memory import LIFETIME_S, OUTAGE_LIFETIME_S, Memory
from shared.records import LinkKey, Reading
from tests.redirect.test_answers import NOW, PLAIN


def key(n: int) -> LinkKey:
    return "sho.rt", f"c{n}"


def test_number_of_links_is_bounded() -> None:
    """The link that was stored first makes room for a new one; storing again counts as new."""
    memory = Memory(3)
    for n in (1, 2, 3, 1, 4):
        memory.store(key(n), Reading(1, PLAIN), NOW)

    assert [n for n in range(1, 5) if memory.find(key(n)) is not None] == [1, 3, 4]


def test_entry_lives_sixty_seconds_or_until_the_link_ends() -> None:
    """The lane answers until the entry's lifetime is over, or the link's, whichever is first."""
    memory = Memory(10)
    memory.store(key(1), Reading(1, PLAIN), NOW)
    memory.store(key(2), Reading(1, PLAIN._replace(expires_at=NOW + 5)), NOW)
    entries = [memory.find(key(n)) for n in (1, 2)]

    assert [entry and entry.fresh_until for entry in entries] == [NOW + LIFETIME_S] * 2
    assert [entry and entry.answered_until for entry in entries] == [NOW + LIFETIME_S, NOW + 5]


def test_finished_answer_is_what_the_server_writes() -> None:
    """The lane's bytes are status line, headers and the end of the head."""
    memory = Memory(10)
    memory.store(key(1), Reading(1, PLAIN), NOW)
    entry = memory.find(key(1))

    assert entry is not None
    assert entry.response == (
        b"HTTP/1.1 302 Found\r\nlocation: https://www.example.com/a?b=c#d\r\ncache-control: private, no-store\r\n"
        b"x-robots-tag: noindex\r\ncontent-length: 0\r\n\r\n"
    )
    assert memory.entries[b"/c1 HTTP/1.1\r\nHost: sho.rt"] is entry


def test_answers_that_depend_on_the_visit_are_not_finished() -> None:
    """Links that are over, not begun, or whose headers count seconds are remembered, but not for the lane."""
    memory = Memory(10)
    changes = [
        {"enabled": False},
        {"deleted": True},
        {"valid_from": NOW + 5},
        {"cache_control": 9, "expires_at": NOW + 99},
    ]
    for n, change in enumerate([*changes, {"min_reader": 9}, {"expires_at": NOW - 1}]):
        memory.store(key(n), Reading(1, PLAIN._replace(**change)), NOW)  # type: ignore[arg-type]  # fields of the record
        entry = memory.find(key(n))

        assert entry is not None
        assert entry.answered_until == 0.0
        assert entry.record == PLAIN._replace(**change)  # type: ignore[arg-type]


def test_absent_code_is_not_remembered() -> None:
    """That there is no link is kept in Redis only, for seconds."""
    memory = Memory(10)
    memory.store(key(1), Reading(1, None), NOW)

    assert memory.find(key(1)) is None


def test_entry_goes_on_in_an_outage_by_seconds() -> None:
    """What no store can confirm goes on for a second at a time, and never past the link's end."""
    memory = Memory(10)
    memory.store(key(1), Reading(1, PLAIN._replace(expires_at=NOW + 100.5)), NOW)
    entry = memory.find(key(1))
    assert entry is not None
    memory.prolong(entry, NOW + 100)

    assert entry.fresh_until == NOW + 100 + OUTAGE_LIFETIME_S
    assert entry.answered_until == NOW + 100.5
    memory.prolong(entry, NOW + 200)
    assert entry.answered_until == NOW + 100.5


def test_forgotten_link_is_gone() -> None:
    """The feed can drop one link, or all."""
    memory = Memory(10)
    for n in (1, 2, 3):
        memory.store(key(n), Reading(1, PLAIN), NOW)
    memory.forget(key(2))
    memory.forget(key(9))
    assert [memory.find(key(n)) is not None for n in (1, 2, 3)] == [True, False, True]
    memory.clear()
    assert len(memory.entries) == 0
