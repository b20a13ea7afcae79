"""The judge of P3 itself: it finds what is stale, and nothing else."""

from tests.promises.history import History
from tests.promises.visits import ObservedVisit

OLD, NEW = "https://www.example.com/old", "https://www.example.com/new"


def history() -> History:
    """A link that was edited at 10 s (acknowledged at 10.1 s) and disabled at 20 s (20.1 s)."""
    found = History()
    for outcome, requested_at in ((OLD, 0.0), (NEW, 10.0), ("gone", 20.0)):
        found.acknowledge(found.request(outcome, requested_at), requested_at + 0.1)
    return found


def test_old_target_is_allowed_for_a_second() -> None:
    """Up to one second after the acknowledgement the old state may be seen, not later."""
    assert history().judge(ObservedVisit(302, OLD), 11.0, 11.01) is None
    assert "state 0 seen" in (history().judge(ObservedVisit(302, OLD), 11.2, 11.21) or "")
    assert history().judge(ObservedVisit(302, NEW), 11.2, 11.21) is None
    assert "state 1 seen" in (history().judge(ObservedVisit(302, NEW), 21.2, 21.3) or "")
    assert history().judge(ObservedVisit(410), 21.2, 21.3) is None


def test_new_target_cannot_be_seen_before_it_is_asked_for() -> None:
    """A state may be seen from its request on."""
    assert history().judge(ObservedVisit(302, NEW), 9.0, 9.9) is not None
    assert history().judge(ObservedVisit(302, NEW), 9.0, 10.0) is None


def test_false_answers_are_found() -> None:
    """A target that nobody asked for, or a 404, is wrong at any time; an unavailable redirector is not."""
    assert "never asked for" in (history().judge(ObservedVisit(302, "https://evil.example/"), 5.0, 5.1) or "")
    assert history().judge(ObservedVisit(404), 5.0, 5.1) == "answered 404"
    assert history().judge(ObservedVisit(503), 5.0, 5.1) is None
    assert history().judge(ObservedVisit(0), 5.0, 5.1) is None


def test_new_link_may_be_unknown_for_a_second() -> None:
    """A custom code that someone looked for before may answer 404 until a second after its creation."""
    assert history().judge(ObservedVisit(404), 1.0, 1.1) is None
    assert history().judge(ObservedVisit(404), 1.2, 1.3) is not None


def test_unacknowledged_state_may_be_seen_or_not() -> None:
    """What was asked for and never acknowledged may have happened."""
    found = history()
    found.request(NEW + "er", 30.0)

    assert found.judge(ObservedVisit(302, NEW + "er"), 40.0, 40.1) is None
    assert found.judge(ObservedVisit(410), 40.0, 40.1) is None
    assert found.judge(ObservedVisit(302, NEW), 40.0, 40.1) is not None


def test_link_that_ends_is_gone_from_then_on() -> None:
    """An end that is known beforehand may be seen although the change that sets it is not acknowledged yet."""
    found = History()
    number = found.request(OLD, 10.0)
    end = found.request("gone", 10.6)

    assert found.judge(ObservedVisit(410), 10.4, 10.5) is not None
    assert found.judge(ObservedVisit(410), 10.6, 10.7) is None

    found.acknowledge(number, 10.8)
    found.acknowledge(end, 10.8)
    assert found.judge(ObservedVisit(302, OLD), 11.7, 11.75) is None
    assert found.judge(ObservedVisit(302, OLD), 11.9, 12.0) is not None


def test_cut_off_redirector_has_a_second_from_when_it_can_read_again() -> None:
    """While polls fail, and for a second after, old states are allowed."""
    assert history().judge(ObservedVisit(302, OLD), 15.0, 15.1, settled_at=14.5) is None
    assert history().judge(ObservedVisit(302, OLD), 15.6, 15.7, settled_at=14.5) is not None
