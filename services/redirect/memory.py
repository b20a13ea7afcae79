"""The memory of a redirect process: the finished answers of links, and their records.

The resolver fills it, the lane looks up answers by a slice of the request itself, and the feed drops links that changed.
"""

import sys
from collections import OrderedDict
from typing import TYPE_CHECKING

from services.redirect.answers import Answer, answer_visit, decides, is_plain
from shared.clicks import Visit
from shared.records import LinkKey, Record, VersionedRecord, pack_reading, unpack_reading

if TYPE_CHECKING:
    from services.redirect.rules import LinkDecider

LIFETIME_S = 60.0
"""The longest time until an entry is looked up again. A hit does not make it longer."""

OUTAGE_LIFETIME_S = 1.0
"""The time until the next try to look up an entry while no store answers."""


TABLE_BYTES = 192
"""An entry's share of the table: its nodes, and the room that a growing table keeps free."""


DECIDER_BYTES = 4 * 1024
DECIDER_SHARE = 40
"""The room that what decides for a link takes at most: so many bytes, and so many more for each byte of its record."""


class Entry:
    """A link in memory.

    Attributes:
        answered_until: The lane answers with `response` until then (Unix seconds); 0 if it must not.
        response: The whole answer to a plain GET; empty if a `DecidingEntry` has to make it.
        link_id: The link's id, for the click.
        fresh_until: The record is believed until then without asking a store.
        packed: The reading as it is in Redis; as bytes it takes a third of the room.
    """

    __slots__ = ("answered_until", "fresh_until", "link_id", "packed", "response")

    def __init__(self, packed: bytes, record: Record, fresh_until: float) -> None:
        self.packed = packed
        self.link_id = record.link_id
        self.fresh_until = fresh_until
        self.answered_until = 0.0
        self.response = b""

    def size(self, place: bytes) -> int:
        """Return the bytes that it takes in memory, with its key and its share of the table."""
        parts = (place, self, self.packed, self.response, self.link_id, self.fresh_until, self.answered_until)
        return TABLE_BYTES + sum(map(sys.getsizeof, parts))

    def answer(self, visit: Visit) -> tuple[bytes, bytes | None]:
        """Return the whole answer to a plain GET, and the click's variant."""
        return self.response, None

    @property
    def record(self) -> Record:
        record = unpack_reading(self.packed).record
        assert record is not None
        return record


class DecidingEntry(Entry):
    """A link that answers each visitor by itself.

    Attributes:
        decider: Tells where a visitor goes, and answers for the lane; None until a visit needs it (`rules.py`).
    """

    __slots__ = ("decider",)

    def __init__(self, packed: bytes, record: Record, fresh_until: float) -> None:
        super().__init__(packed, record, fresh_until)
        self.decider: LinkDecider | None = None

    def answer(self, visit: Visit) -> tuple[bytes, bytes | None]:
        assert self.decider is not None, "nobody asks before"
        return self.decider.answer(visit)

    def size(self, place: bytes) -> int:
        """The same, with the room for the decider, whether it is there or not."""
        return super().size(place) + DECIDER_BYTES + DECIDER_SHARE * len(self.packed)


class Memory:
    """Keeps at most `budget` bytes of links. The oldest entry is dropped first.

    Attributes:
        bytes: The bytes that the entries take.
    """

    def __init__(self, budget: int) -> None:
        self.entries: OrderedDict[bytes, Entry] = OrderedDict()
        self.bytes = 0
        self._budget = budget

    def find(self, key: LinkKey) -> Entry | None:
        return self.entries.get(request_slice(key))

    def store(self, key: LinkKey, reading: VersionedRecord, now: float) -> None:
        """Keep a reading that counts; only Redis keeps the absence of a code.

        Args:
            key: The link's domain and code.
            reading: The answer of a store.
            now: Unix seconds.
        """
        if reading.record is None:
            return
        kind = DecidingEntry if decides(reading.record) else Entry
        entry = kind(pack_reading(reading), reading.record, now + LIFETIME_S)
        self._finish(entry, reading.record, now)
        place = request_slice(key)
        self._remove(place)
        self.entries[place] = entry
        self.bytes += entry.size(place)
        self._shrink()

    def prolong(self, entry: Entry, now: float) -> None:
        """Keep an entry longer although no store can confirm it."""
        entry.fresh_until = now + OUTAGE_LIFETIME_S
        before = sys.getsizeof(entry.response)
        self._finish(entry, entry.record, now)
        self.bytes += sys.getsizeof(entry.response) - before
        self._shrink()

    def keep_decider(self, entry: DecidingEntry, decider: "LinkDecider", now: float) -> None:
        """Let an entry answer by what was made of its record."""
        entry.decider = decider
        self._finish(entry, decider.record, now)

    def forget(self, key: LinkKey) -> None:
        self._remove(request_slice(key))

    def clear(self) -> None:
        self.entries.clear()
        self.bytes = 0

    def _shrink(self) -> None:
        while self.bytes > self._budget:
            self._remove(next(iter(self.entries)))

    def _remove(self, place: bytes) -> None:
        entry = self.entries.pop(place, None)
        if entry is not None:
            self.bytes -= entry.size(place)

    def _finish(self, entry: Entry, record: Record, now: float) -> None:
        """Write the answer that the lane gives, and the time until which it may."""
        if not is_plain(record, now):
            return
        if isinstance(entry, DecidingEntry):
            if entry.decider is None:
                return
        else:
            entry.response = response_bytes(answer_visit(record, query=b"", now=now, error_format="html"))
        entry.answered_until = min(entry.fresh_until, record.expires_at or entry.fresh_until)


def request_slice(key: LinkKey) -> bytes:
    """Return the slice of a plain GET that names the link: from its path to the end of its Host header."""
    domain, code = key
    return f"/{code} HTTP/1.1\r\nHost: {domain}".encode()


def response_bytes(answer: Answer) -> bytes:
    """Return the answer as the server writes it on a connection that stays open."""
    lines = [b"HTTP/1.1 %d %b\r\n" % (answer.status, answer.phrase)]
    lines += [b"%b: %b\r\n" % header for header in answer.headers]
    return b"".join((*lines, b"\r\n", answer.body))
