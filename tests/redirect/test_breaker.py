"""The circuit breaker in front of each store."""

import pytest

from services.redirect.lookup.breaker import FAILURES_TO_OPEN, FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker
from shared.backoff import SHORTEST_PART


class BreakerClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> BreakerClock:
    return BreakerClock()


@pytest.fixture
def open_breaker(clock: BreakerClock) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(FAILURES_TO_OPEN):
        breaker.record_failure()
    return breaker


def test_single_failures_do_not_open_it(clock: BreakerClock) -> None:
    """Only failures in a row keep callers away."""
    breaker = Breaker(clock)
    for _ in range(10):
        for _ in range(FAILURES_TO_OPEN - 1):
            breaker.record_failure()
        assert breaker.allows()
        breaker.record_success()

    assert not breaker.is_open


def test_open_breaker_lets_one_trial_through(clock: BreakerClock, open_breaker: Breaker) -> None:
    """While it is open nobody calls, but for one trial after each pause."""
    assert not open_breaker.allows()
    clock.now += FIRST_PAUSE_S
    assert [open_breaker.allows() for _ in range(5)] == [True, False, False, False, False]


def test_success_of_the_trial_closes_it(clock: BreakerClock, open_breaker: Breaker) -> None:
    """A trial that succeeds lets everyone call again."""
    clock.now += FIRST_PAUSE_S
    assert open_breaker.allows()
    open_breaker.record_success()

    assert all(open_breaker.allows() for _ in range(5))


def test_pauses_grow_to_a_bound(clock: BreakerClock, open_breaker: Breaker) -> None:
    """Trials that fail come ever more slowly, but never slower than every two seconds."""
    pauses = []
    for _ in range(20):
        waited = 0.0
        while not open_breaker.allows():
            clock.now += 0.01
            waited += 0.01
        pauses.append(waited)
        open_breaker.record_failure()

    assert pauses[0] <= FIRST_PAUSE_S + 0.01
    assert max(pauses) <= LONGEST_PAUSE_S + 0.01
    assert min(pauses[10:]) >= LONGEST_PAUSE_S * SHORTEST_PART


def test_trial_that_never_reports_is_not_the_last(clock: BreakerClock, open_breaker: Breaker) -> None:
    """If the trial's caller vanishes, another trial follows."""
    clock.now += FIRST_PAUSE_S
    assert open_breaker.allows()
    clock.now += LONGEST_PAUSE_S

    assert open_breaker.allows()
