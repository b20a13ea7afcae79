"""The memory of a redirect process: the finished answers of links, and their records.

The resolver fills it, the lane looks up answers by a slice of the request itself, and the feed drops links that changed.
"""

import sys
from itertools import islice
from typing import TYPE_CHECKING

import msgpack

from services.redirect.answers import Answer, answer_visit, decides, is_plain
from shared.clicks import Visit
from shared.records import LinkKey, Record, VersionedRecord

if TYPE_CHECKING:
    from services.redirect.rules import LinkDecider

LIFETIME_S = 60.0
"""The longest time until an entry is looked up again. A hit does not make it longer."""

OUTAGE_LIFETIME_S = 1.0
"""The time until the next try to look up an entry while no store answers."""


TABLE_BYTES = 96
"""An entry's share of the table, with the room that a growing table keeps free."""

EVICTED_SHARE = 1024
"""A full memory drops this part of its entries at once: a dict looks for its oldest one behind all that were removed."""


DECIDER_BYTES = 4 * 1024
DECIDER_SHARE = 40
"""The room that what decides for a link takes at most: so many bytes, and so many more for each byte of its record."""


class Entry:
    """A link in memory.

    Attributes:
        answered_until: The lane answers with `response` until then (Unix seconds); 0 if it must not.
        response: The whole answer to a plain GET; empty if there is none, or if a `DecidingEntry` has to make it.
        link_id: The link's id, for the click.
        fresh_until: The record is believed until then without asking a store.
        packed: The record; without its target if the response has it. As bytes it takes a third of the room.
    """

    __slots__ = ("answered_until", "fresh_until", "link_id", "packed", "response")

    def __init__(self, record: Record, now: float) -> None:
        self.link_id = record.link_id
        self.fresh_until = now + LIFETIME_S
        self.answered_until = 0.0
        self.response = b""
        self.finish(record, now)
        self.packed: bytes = msgpack.packb(record._replace(url="") if self.response else record)

    def finish(self, record: Record, now: float) -> None:
        """Write the answer that the lane gives, and the time until which it may."""
        if is_plain(record, now):
            self.response = response_bytes(answer_visit(record, query=b"", now=now, error_format="html"))
            self.answered_until = min(self.fresh_until, record.expires_at or self.fresh_until)

    def size(self, place: bytes) -> int:
        """Return the bytes that it takes in memory, with its key and its share of the table."""
        parts = (place, self, self.packed, self.response, self.link_id, self.fresh_until, self.answered_until)
        return TABLE_BYTES + sum(map(sys.getsizeof, parts))

    def answer(self, visit: Visit) -> tuple[bytes, bytes | None]:
        """Return the whole answer to a plain GET, and the click's variant."""
        return self.response, None

    @property
    def record(self) -> Record:
        record = Record(*msgpack.unpackb(self.packed))
        return record if record.url or not self.response else record._replace(url=location(self.response))


class DecidingEntry(Entry):
    """A link that answers each visitor by itself.

    Attributes:
        decider: Tells where a visitor goes, and answers for the lane; None until a visit needs it (`rules.py`).
    """

    __slots__ = ("decider",)

    def __init__(self, record: Record, now: float) -> None:
        self.decider: LinkDecider | None = None
        super().__init__(record, now)

    def finish(self, record: Record, now: float) -> None:
        """Let the lane ask the decider, if it is there."""
        if self.decider is not None and is_plain(record, now):
            self.answered_until = min(self.fresh_until, record.expires_at or self.fresh_until)

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
        self.entries: dict[bytes, Entry] = {}
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
        entry = kind(reading.record, now)
        place = request_slice(key)
        before = self.entries.get(place)
        if isinstance(entry, DecidingEntry):
            # What was compiled stays as long as its record does.
            decider = before.decider if isinstance(before, DecidingEntry) and before.packed == entry.packed else None
            if decider is not None:
                self.keep_decider(entry, decider, now)
        self._remove(place)
        self.entries[place] = entry
        self.bytes += entry.size(place)
        self._shrink()

    def prolong(self, entry: Entry, now: float) -> None:
        """Keep an entry longer although no store can confirm it."""
        entry.fresh_until = now + OUTAGE_LIFETIME_S
        before = sys.getsizeof(entry.response)
        entry.finish(entry.record, now)
        self.bytes += sys.getsizeof(entry.response) - before
        self._shrink()

    def keep_decider(self, entry: DecidingEntry, decider: "LinkDecider", now: float) -> None:
        """Let an entry answer by what was made of its record."""
        entry.decider = decider
        entry.finish(decider.record, now)

    def forget(self, key: LinkKey) -> None:
        self._remove(request_slice(key))

    def clear(self) -> None:
        self.entries.clear()
        self.bytes = 0

    def _shrink(self) -> None:
        while self.bytes > self._budget:
            for place in list(islice(self.entries, len(self.entries) // EVICTED_SHARE + 1)):
                self._remove(place)

    def _remove(self, place: bytes) -> None:
        entry = self.entries.pop(place, None)
        if entry is not None:
            self.bytes -= entry.size(place)


def request_slice(key: LinkKey) -> bytes:
    """Return the slice of a plain GET that names the link: from its path to the end of its Host header."""
    domain, code = key
    return f"/{code} HTTP/1.1\r\nHost: {domain}".encode()


def response_bytes(answer: Answer) -> bytes:
    """Return the answer as the server writes it on a connection that stays open."""
    lines = [b"HTTP/1.1 %d %b\r\n" % (answer.status, answer.phrase)]
    lines += [b"%b: %b\r\n" % header for header in answer.headers]
    return b"".join((*lines, b"\r\n", answer.body))


def location(response: bytes) -> str:
    """Return the target of a redirect that `response_bytes` wrote."""
    return response.partition(b"\r\nlocation: ")[2].partition(b"\r\n")[0].decode()
