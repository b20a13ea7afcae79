"""What a click worker failed at, and what is asked of the next one."""

from uuid import uuid4

import msgpack

from services.links.clicks.pipe import ANY_NUMBER, EVERYTHING, WHOLE_RECORD, BatchPart, WorkerPlace, WorkerStage
from services.links.clicks.suspects import FAILURES_LIMIT, FORGET_AFTER_S, SUSPECTS_LIMIT, Suspects

RECORD = 1000


def at(click: int, record: int = RECORD) -> WorkerPlace:
    return WorkerPlace(WorkerStage.READING, record, click)


def test_only_failures_in_a_row_at_one_click_set_it_aside() -> None:
    """Two failures at a click, one at another, and two at the first set nothing aside; a third in a row does."""
    suspects, segment = Suspects(), uuid4()
    for click in (7, 7, 9, 7, 7):
        suspects.note_failure(segment, at(click))
    before = suspects.part(segment, ANY_NUMBER)
    suspects.note_failure(segment, at(7))
    after = suspects.part(segment, ANY_NUMBER)

    assert (before.record, before.first, before.found) == (RECORD, 7, ())
    assert [msgpack.unpackb(found) for found in after.found] == [[[7, None]]]


def test_failures_make_the_parts_smaller_and_successes_larger() -> None:
    """Each failure halves what is read of the record at once, down to one click; what is read doubles it again."""
    suspects, segment = Suspects(), uuid4()
    sizes = []
    for click in (99, 98, 97, 96, 95, 94, 93, 92):
        suspects.note_failure(segment, at(click))
        sizes.append(suspects.part(segment, ANY_NUMBER).reads)
    suspects.note_found(segment, RECORD, b"what is known")

    assert sizes == [50, 25, 12, 6, 3, 1, 1, 1]
    assert suspects.part(segment, 5000) == BatchPart(5000, RECORD, 92, 2, (b"what is known",))


def test_record_that_cannot_be_unpacked_is_refused() -> None:
    """Failures before any of its clicks was read set the record aside as one."""
    suspects, segment = Suspects(), uuid4()
    parts = []
    for _ in range(FAILURES_LIMIT):
        suspects.note_failure(segment, at(WHOLE_RECORD))
        parts.append(suspects.part(segment, ANY_NUMBER).is_refused)

    assert parts == [False] * (FAILURES_LIMIT - 1) + [True]


def test_what_was_taken_is_no_longer_suspected() -> None:
    """An offset up to the record changes nothing; one beyond it ends the suspicion, and one at another record replaces it."""
    suspects, segment = Suspects(), uuid4()
    suspects.note_failure(segment, at(1))
    suspects.note_reached(segment, RECORD)
    still = suspects.part(segment, ANY_NUMBER).record
    suspects.note_failure(segment, at(1, RECORD - 500))
    earlier = suspects.part(segment, ANY_NUMBER).record
    suspects.note_reached(segment, RECORD - 400)

    assert (still, earlier) == (RECORD, RECORD - 500)
    assert suspects.part(segment, ANY_NUMBER) == EVERYTHING
    assert suspects.part(segment, 50) == BatchPart(50)


def test_suspects_are_bounded_and_never_push_each_other_out() -> None:
    """When there is no room those that are asked for stay, so that each is through some time; who is gone makes room."""
    now = 0.0
    suspects = Suspects(lambda: now)
    segments = [uuid4() for _ in range(SUSPECTS_LIMIT)]
    late = uuid4()
    for segment in segments:
        suspects.note_failure(segment, at(3))
    suspects.note_failure(late, at(3))
    kept = [suspects.part(segment, ANY_NUMBER).record for segment in segments]
    refused = suspects.part(late, ANY_NUMBER)
    now += FORGET_AFTER_S / 2
    suspects.part(segments[0], ANY_NUMBER)
    now += FORGET_AFTER_S / 2 + 1
    suspects.note_failure(late, at(3))

    assert kept == [RECORD] * SUSPECTS_LIMIT
    assert refused == EVERYTHING
    assert suspects.part(late, ANY_NUMBER).record == RECORD
    assert suspects.part(segments[0], ANY_NUMBER).record == RECORD
    assert suspects.part(segments[1], ANY_NUMBER) == EVERYTHING
