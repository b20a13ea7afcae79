"""Records that a click worker died or hung at, and what is tried next: what lies before, then it alone, then less of it.

`queue.py` notes what happened. A click is set aside only after a new worker failed at it again and again while it was read
first, so nothing that ends workers from outside sets clicks aside. Nothing here is kept: after a restart of the service the
same steps begin again, and each of them that succeeds has moved the offset.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

import structlog

from services.links.clicks.pipe import ANY_NUMBER, EVERYTHING, WHOLE_RECORD, Part, Place, pack_found

FAILURES_LIMIT = 3
"""At the same click, one after the other; then it is set aside."""

SUSPECTS_LIMIT = 32
"""Segments of which a record is suspected at the same time. Others wait."""

FORGET_AFTER_S = 60.0
"""Of a segment that nobody sends any more; a redirector sends again after 5 s at most."""

log = structlog.get_logger()


@dataclass(slots=True)
class Suspect:
    """A record of a segment.

    Attributes:
        record: Its offset.
        click: The number of the click that the last worker failed at.
        failures: At that click, one after the other.
        reads: Clicks of it that are read at once.
        found: What is known of others.
        is_refused: The whole record is set aside.
        asked_at: When a part was asked for last.
    """

    record: int
    asked_at: float
    click: int = 0
    failures: int = 0
    reads: int = ANY_NUMBER
    found: tuple[bytes, ...] = ()
    is_refused: bool = False


class Suspects:
    """What is suspected, by segment.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._suspects: dict[UUID, Suspect] = {}

    def part(self, segment: UUID, most: int) -> Part:
        """What a worker is to take of the next batch of a segment.

        Args:
            segment: Whose.
            most: Clicks that are stored at once, as far as they are in several records.
        """
        suspect = self._suspects.get(segment)
        if suspect is None:
            return EVERYTHING if most == ANY_NUMBER else Part(most)
        suspect.asked_at = self._clock()
        return Part(most, suspect.record, suspect.click, suspect.reads, suspect.found, suspect.is_refused)

    def note_failure(self, segment: UUID, place: Place) -> None:
        """A worker died or hung while it read."""
        suspect = self._of(segment, place.record)
        if suspect is None:
            return
        if suspect.click != place.click:
            suspect.click, suspect.failures = place.click, 0
        suspect.failures += 1
        # It had read as many as that, if not one of them first.
        suspect.reads = max(1, min(suspect.reads, place.click + 1) // 2)
        is_over = suspect.failures >= FAILURES_LIMIT
        log.warning(
            "click_suspected", segment=str(segment), offset=place.record, click=place.click, is_set_aside=is_over
        )
        if not is_over:
            return
        suspect.failures = 0
        if place.click == WHOLE_RECORD:
            suspect.is_refused = True
        else:
            suspect.found += (pack_found({place.click: None}),)

    def note_found(self, segment: UUID, reached: int, found: bytes) -> None:
        """Some more clicks of a record were read, and there was no time for the others; `found` has all that is known."""
        suspect = self._of(segment, reached)
        if suspect is not None:
            suspect.found = (found,)
            suspect.reads = min(ANY_NUMBER, suspect.reads * 2)

    def note_reached(self, segment: UUID, reached: int) -> None:
        """Everything below an offset was taken."""
        suspect = self._suspects.get(segment)
        if suspect is not None and suspect.record < reached:
            del self._suspects[segment]

    def _of(self, segment: UUID, record: int) -> Suspect | None:
        """The suspect at an offset, which takes the place of another one of its segment, if there is room for it."""
        now = self._clock()
        suspect = self._suspects.get(segment)
        if suspect is not None and suspect.record == record:
            return suspect
        if suspect is None and len(self._suspects) >= SUSPECTS_LIMIT:
            idle = [key for key, each in self._suspects.items() if now - each.asked_at > FORGET_AFTER_S]
            for key in idle:
                del self._suspects[key]
            if len(self._suspects) >= SUSPECTS_LIMIT:
                return None
        self._suspects[segment] = Suspect(record, now)
        return self._suspects[segment]
