"""Records at which a click worker died or hung, and what is tried next: what stands before, then the record alone, then less.

`queue.py` notes what happened. A click is set aside only after new workers failed at it again and again although they read it
first. So nothing that ends workers from outside sets clicks aside. Nothing here is kept: after a restart of the service the
same steps begin again, and each step that succeeds has moved the offset.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

import structlog

from services.links.clicks.pipe import ANY_NUMBER, EVERYTHING, WHOLE_RECORD, BatchPart, WorkerPlace, pack_found

FAILURES_LIMIT = 3
"""After so many failures in a row at the same click the click is set aside."""

SUSPECTS_LIMIT = 32
"""So many segments may have a suspected record at the same time. Others wait."""

FORGET_AFTER_S = 60.0
"""After so long nobody sends the segment any more; a redirector sends again after 5 s at most."""

log = structlog.get_logger()


@dataclass(slots=True)
class Suspect:
    """A record that is suspected.

    Attributes:
        record: Its offset in the segment.
        asked_at: When `part` was last asked for it.
        click: The number of the click at which the last worker failed.
        failures: The failures in a row at that click.
        reads: The number of its clicks that are read at once.
        found: What is known of its other clicks.
        is_refused: Whether the whole record is set aside.
    """

    record: int
    asked_at: float
    click: int = 0
    failures: int = 0
    reads: int = ANY_NUMBER
    found: tuple[bytes, ...] = ()
    is_refused: bool = False


class Suspects:
    """The suspected records, one of a segment at most.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._suspects: dict[UUID, Suspect] = {}

    def part(self, segment: UUID, most: int) -> BatchPart:
        """Returns the part of a segment's next batch that a worker is to take.

        Args:
            segment: The segment.
            most: The largest number of clicks that are stored at once. A single record may have more.
        """
        suspect = self._suspects.get(segment)
        if suspect is None:
            return EVERYTHING if most == ANY_NUMBER else BatchPart(most)
        suspect.asked_at = self._clock()
        return BatchPart(most, suspect.record, suspect.click, suspect.reads, suspect.found, suspect.is_refused)

    def note_failure(self, segment: UUID, place: WorkerPlace) -> None:
        """Note that a worker died or hung while it read."""
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
        """Note that more clicks of a record were read, but not all: there was no time. `found` has all that is known."""
        suspect = self._of(segment, reached)
        if suspect is not None:
            suspect.found = (found,)
            suspect.reads = min(ANY_NUMBER, suspect.reads * 2)

    def note_reached(self, segment: UUID, reached: int) -> None:
        """Note that everything below an offset was taken."""
        suspect = self._suspects.get(segment)
        if suspect is not None and suspect.record < reached:
            del self._suspects[segment]

    def _of(self, segment: UUID, record: int) -> Suspect | None:
        """Returns the suspect at an offset, if there is room for it. It replaces another suspect of its segment."""
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
