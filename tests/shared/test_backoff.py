"""The pauses between tries: they double up to a bound, and no two processes keep in step."""

from shared.backoff import SHORTEST_PART, Backoff

FIRST_S, LONGEST_S = 0.5, 8.0


def test_pauses_double_up_to_a_bound() -> None:
    """Each pause is a random part of twice the one before, and never longer than the longest, after any number of failures."""
    backoff = Backoff(FIRST_S, LONGEST_S)
    lengths = [0.5, 1.0, 2.0, 4.0, *[LONGEST_S] * 2000]
    pauses = [backoff.record_failure() for _ in lengths]

    assert all(length * SHORTEST_PART <= pause <= length for pause, length in zip(pauses, lengths, strict=True))
    assert len(set(pauses)) > 1000


def test_what_failed_is_due_after_its_pause() -> None:
    """Before the first failure and after a success it is due at once."""
    now = 100.0
    backoff = Backoff(FIRST_S, LONGEST_S, clock=lambda: now)
    assert backoff.is_due()
    assert not backoff.has_failed
    pause_s = backoff.record_failure()
    assert backoff.has_failed
    now += pause_s * 0.99
    assert not backoff.is_due()
    now += pause_s
    assert backoff.is_due()
    backoff.record_failure()
    backoff.reset()
    assert backoff.is_due()
    assert not backoff.has_failed
    assert backoff.record_failure() <= FIRST_S


def test_a_pause_can_begin_anew() -> None:
    """Whoever tries keeps others away for as long again, without a failure more."""
    now = 100.0
    backoff = Backoff(FIRST_S, LONGEST_S, clock=lambda: now)
    now += backoff.record_failure()
    assert backoff.is_due()

    assert backoff.postpone() <= FIRST_S
    assert not backoff.is_due()
    assert backoff.record_failure() <= 2 * FIRST_S
