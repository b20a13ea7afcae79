"""Finds, in the raw clicks, the values that a link's day has no room to name: the day of its owner may name them.

`erasing.py` asks, so that it takes them from the owner's day under their names.
"""

from collections import Counter
from datetime import date, timedelta

from services.links.packed.chunks import ChunkClicks, ChunkLinks
from services.links.packed.days import DAY_US, OTHER, DayCounts
from services.links.packed.rows import select_chunk_spans, select_chunks, select_days_of_link
from shared.api import Dimensions
from shared.postgres import Connection

CHUNKS_AT_ONCE = 8


class RawValues:
    """The values of a link's raw clicks on a day, as far as they were read.

    Args:
        conn: In a transaction that sees what others commit.
        link_id: The link.
        day: The UTC day.
    """

    def __init__(self, conn: Connection, link_id: int, day: date) -> None:
        self._conn = conn
        self._link_id = link_id
        self._day = day
        self._read: set[int] = set()
        self._of_chunks: Counter[tuple[str, str, bool]] = Counter()
        self._of_rows: Counter[tuple[str, str, bool]] = Counter()

    async def read(self) -> None:
        """Read what was not read yet; nothing of a day that names all its values."""
        days = await select_days_of_link(self._conn, self._link_id, self._day, self._day + timedelta(days=1))
        for number, counts in days.items():
            if any(OTHER in counts.values(name, is_bot) for name in Dimensions._fields for is_bot in (False, True)):
                await self._read_chunks(number, counts)
                if not self._of_rows:
                    await self._read_rows()

    def name(self, counts: DayCounts) -> None:
        """Give the clicks of the link's day that are in `other` their values, as far as raw clicks tell them."""
        for (name, value, is_bot), clicks in (self._of_chunks + self._of_rows).items():
            named = counts.values(name, is_bot)
            unnamed = min(named.get(OTHER, 0), clicks - named.get(value, 0))
            if unnamed > 0:
                counts.add_value(name, OTHER, is_bot, -unnamed, len(named))
                counts.add_value(name, value, is_bot, unnamed, len(named) + 1)

    async def _read_chunks(self, day: int, counts: DayCounts) -> None:
        midnight = day * DAY_US
        spans = await select_chunk_spans(self._conn, day, list(counts.chunks()), midnight, midnight + DAY_US)
        numbers = {span.number for span in spans}
        if not self._read <= numbers:
            # Somebody has put other chunks in their place.
            self._read, self._of_chunks = set(), Counter()
        new = sorted(numbers - self._read)
        for first in range(0, len(new), CHUNKS_AT_ONCE):
            for _, chunk in await select_chunks(self._conn, day, new[first : first + CHUNKS_AT_ONCE]):
                for _, places in ChunkLinks(chunk.links).of_link(self._link_id):
                    clicks = ChunkClicks(chunk.since_us, chunk.clicks)
                    self._of_chunks.update(clicks.count(places, midnight, midnight + DAY_US)[1])
        self._read = numbers

    async def _read_rows(self) -> None:
        rows = await self._conn.fetch(
            """
            SELECT name, value, is_bot, count(*) FROM clicks CROSS JOIN LATERAL (
                VALUES ('country', country), ('browser', browser), ('os', os), ('device', device), ('referrer', referrer),
                       ('language', language)) AS each (name, value)
            WHERE link_id = $1 AND clicked_at >= ($2::date)::timestamp AT TIME ZONE 'UTC'
                AND clicked_at < ($2::date + 1)::timestamp AT TIME ZONE 'UTC'
            GROUP BY name, value, is_bot
            """,
            self._link_id,
            self._day,
        )
        self._of_rows = Counter({(name, value, is_bot): clicks for name, value, is_bot, clicks in rows})
