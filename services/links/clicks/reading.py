"""Reads the clicks of a batch: splits the batch into records, and finds out what is stored of each click.

`batches.py` calls this between its statements. Visitors wrote what is read here, so any click may raise, take for ever, or
end the process. `WorkerMark` notes beforehand which click is read; a time and `BatchPart` bound how many are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic

import msgpack

from services.links.clicks.counts import DAY_S, SECOND_US, EnrichedClick
from services.links.clicks.enrichment import Enricher, VisitorHash
from services.links.clicks.pipe import ANY_NUMBER, BatchPart, WorkerMark, pack_found
from shared.api import Dimensions
from shared.clicks import ClickParts
from shared.journal import JournalDamaged, split_records, unpack_clicks

READ_TIME_S = 2.0
"""The time for the clicks of a batch. Those that are not read by then come again. An ordinary batch takes a tenth of it."""

MOST_CLICKS = 100_000
"""The most clicks of a record. A redirector writes records of at most 1 MiB, which have no room for a tenth of them."""

_EARLIEST_S = -62_104_060_800
_LATEST_S = 253_370_764_799
"""The years 2 to 9998: asyncpg takes the ends of Python's calendar for infinity."""

_LARGEST_ID = 2**63 - 1

Found = dict[int, EnrichedClick | None]
"""What is known of a record: for each click's number what is stored of it, or None if it is set aside."""


@dataclass(slots=True)
class SentRecord:
    """A record as it was sent.

    Attributes:
        start: The offset in the segment where it begins.
        end: The offset where it ends.
        sent: The number of its clicks; 1 if it cannot be read.
        clicks: The clicks that can be ones: number, microseconds since 1970, link, parts.
    """

    start: int
    end: int
    sent: int = 1
    clicks: list[tuple[int, int, int, ClickParts]] = field(default_factory=list)


@dataclass(slots=True)
class SentBatch:
    """Records that are taken or set aside together.

    Attributes:
        damage_end: The end of the piece behind them that cannot be read, if there is such a piece.
    """

    records: list[SentRecord]
    damage_end: int | None = None

    @property
    def end(self) -> int:
        return self.records[-1].end if self.damage_end is None else self.damage_end

    @property
    def sent(self) -> int:
        """The number of clicks; a damaged piece counts as one."""
        return sum(record.sent for record in self.records) + (self.damage_end is not None)

    @property
    def link_ids(self) -> set[int]:
        return {link_id for record in self.records for _, _, link_id, _ in record.clicks}

    @property
    def days(self) -> set[int]:
        """UTC days since 1970."""
        return {time_us // (DAY_S * SECOND_US) for record in self.records for _, time_us, _, _ in record.clicks}

    def keep(self, records: int) -> None:
        """Leave the rest to the next batch."""
        self.records, self.damage_end = self.records[:records], None


def split_batch(data: bytes, reached: int, part: BatchPart, mark: WorkerMark) -> SentBatch:
    """Split a batch into the records that are wanted, as far as it can be read.

    The rest of a record that is not complete comes with the next batch. A batch without any whole record is damaged, because a
    sender sends whole records only: a wrong length must not stop a segment for ever.

    Args:
        data: The batch.
        reached: The offset in the segment where it begins.
        part: The part of it that is wanted.
        mark: Notes which record is unpacked.
    """
    batch, sent = SentBatch([]), 0
    try:
        for record, body in _records(data, reached):
            if sent >= part.clicks or record.start >= part.record > reached:
                return batch
            is_suspect = record.start == part.record
            if not (is_suspect and part.is_refused):
                mark.begin_record(record.start)
                _unpack(record, body)
            batch.records.append(record)
            if is_suspect:
                return batch
            sent += record.sent
        is_damaged = not batch.records
    except JournalDamaged:
        is_damaged = True
    if is_damaged:
        batch.damage_end = reached + len(data)
    return batch


@dataclass(frozen=True, slots=True)
class ClickReader:
    """Reads clicks with what was looked up for their batch.

    Attributes:
        owners: The owners of the links that exist.
        hashes: The hash of each UTC day. The visitors of other days are not told apart.
        errors: The names of the exceptions that were raised.
    """

    enricher: Enricher
    owners: Mapping[int, str]
    hashes: Mapping[int, VisitorHash]
    errors: set[str] = field(default_factory=set)

    def read_batch(self, batch: SentBatch, part: BatchPart, mark: WorkerMark) -> tuple[list[EnrichedClick], bytes]:
        """Read records until the time is over. The others are left out of the batch.

        Returns:
            The clicks to store; and, if the first record alone takes too long, what is known of it (`TakenBatch.found`).
        """
        until = monotonic() + READ_TIME_S
        enriched: list[EnrichedClick] = []
        for number, record in enumerate(batch.records):
            is_suspect = record.start == part.record
            found = _unpack_found(part.found) if is_suspect else {}
            is_late = number > 0 and monotonic() > until
            if is_late or not self._read_record(record, found, part if is_suspect else None, until, mark):
                if number == 0:
                    return [], pack_found(found)
                batch.keep(number)
                break
            enriched += [click for _, click in sorted(found.items()) if click is not None]
        return enriched, b""

    def _read_record(
        self, record: SentRecord, found: Found, part: BatchPart | None, until: float, mark: WorkerMark
    ) -> bool:
        """Add to what is known of a record.

        Returns:
            Whether all its clicks are known.
        """
        mark.begin_record(record.start)
        clicks, most = record.clicks, ANY_NUMBER
        if part is not None:
            first, most = part.first, part.reads
            clicks = sorted((click for click in clicks if click[0] not in found), key=lambda click: click[0] != first)
        for done, (number, time_us, link_id, parts) in enumerate(clicks):
            if done and (done >= most or monotonic() > until):
                return False
            mark.begin_click(number)
            found[number] = self._enrich(time_us, link_id, parts)
        return True

    def _enrich(self, time_us: int, link_id: int, parts: ClickParts) -> EnrichedClick | None:
        """Find out what is stored of a click; None if its link does not exist, or if the click cannot be read.

        The checksum was right, so a redirector wrote this. A click with a defect must not stop the others.
        """
        owner = self.owners.get(link_id)
        if owner is None:
            return None
        visitors = self.hashes.get(time_us // (DAY_S * SECOND_US))
        try:
            visitor = None if visitors is None else visitors.digest(parts)
            return EnrichedClick(time_us, link_id, owner, visitor, *self.enricher.enrich(parts))
        except MemoryError:
            # The other clicks of the batch may have taken it.
            raise
        except Exception as error:
            self.errors.add(type(error).__name__)
            return None


def _records(data: bytes, reached: int) -> Iterator[tuple[SentRecord, bytes]]:
    start = reached
    for end, body in split_records(data):
        yield SentRecord(start, reached + end), body
        start = reached + end


def _unpack(record: SentRecord, body: bytes) -> None:
    try:
        clicks = unpack_clicks(body)
    except ValueError:
        return
    if len(clicks) > MOST_CLICKS:
        return
    record.sent = len(clicks)
    record.clicks = [
        (number, round(time * SECOND_US), link_id, parts)
        for number, (time, link_id, parts) in enumerate(clicks)
        if isinstance(time, float | int)
        and _EARLIEST_S <= time <= _LATEST_S
        and type(link_id) is int
        and 0 < link_id <= _LARGEST_ID
    ]


def _unpack_found(parts: tuple[bytes, ...]) -> Found:
    return {
        number: None if row is None else EnrichedClick._make((*row[:5], Dimensions(*row[5])))
        for part in parts
        for number, row in msgpack.unpackb(part)
    }
