"""Merges chunks of a day into others, in the order of owners, links and times, so that a link's clicks are in few of them.

`services/links/upkeep.py` has it done by the clock, in a process aside. The chunks that come out take the numbers of those that
went in, and clicks of a link at one moment keep their order, so a list of raw clicks goes on where it was.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, NamedTuple

from services.links.packed import chunks
from services.links.packed.chunks import (
    TIMES,
    VISITOR_BYTES,
    Chunk,
    ChunkLinks,
    pack_column,
    pack_columns,
    pack_links,
    unpack_column,
    unpack_columns,
)
from services.links.packed.days import EVERYTHING, IMPORTED, OWN
from services.links.packed.imported import lock_imported_clicks
from services.links.packed.rows import Counted, lock_days, replace_chunks_of_days
from shared.api import UNKNOWN
from shared.postgres import Connection, open_connection
from shared.settings import LinksSettings

STEP_BYTES = 1_250_000
"""So much is merged at once: some 65,000 clicks. A link is in one chunk of these, and an owner in up to sixteen."""

MERGED_CLICKS = 4_096
"""Clicks of a chunk that comes out. A smaller one is opened faster, and has room for fewer clicks beside its values."""

SMALL_BYTES = 32_768
MANY_SMALL = 16
"""So many small chunks that follow each other become larger ones before there is enough for a whole step."""

STEP_DAYS = 2_000
"""Days of links that are in memory at once."""

STATEMENT_TIMEOUT_S = 30.0

FIRST_DAY = date(1970, 1, 1)

_MERGE_LOCK = 0x6D65_7267


class SizedChunk(NamedTuple):
    """A chunk's number, whether it may be merged, and its size."""

    number: int
    mergeable: bool
    size: int

    @property
    def is_small(self) -> bool:
        return self.mergeable and self.size < SMALL_BYTES


class Run(NamedTuple):
    """Chunks that follow each other; `is_whole` if what comes out is not merged again."""

    numbers: Sequence[int]
    is_whole: bool


@asynccontextmanager
async def open_merger(settings: LinksSettings) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Open the database for a process aside, which takes a step whenever it is asked."""
    url = settings.links_database_url.get_secret_value()
    async with open_connection(url, "links merging", statement_timeout_s=STATEMENT_TIMEOUT_S) as conn:
        yield lambda: merge_some(conn)


async def is_due(conn: Connection, today: date | None = None) -> bool:
    """Whether there are chunks to merge."""
    return any([await _select_run(conn, today, kind) for kind in EVERYTHING])


async def merge_some(conn: Connection, today: date | None = None) -> bool:
    """Merge some chunks of a day in one transaction. Of several processes one does it.

    Returns:
        Whether there may be more; call it again then.
    """
    async with conn.transaction():
        if not await conn.fetchval("SELECT pg_try_advisory_xact_lock($1)", _MERGE_LOCK):
            return False
        for kind in EVERYTHING:
            found = await _select_run(conn, today, kind)
            if found is not None:
                return await _merge(conn, *found, kind)
        return False


def choose_run(sizes: Iterable[SizedChunk], *, is_over: bool) -> Run | None:
    """Choose chunks of a day to merge.

    Args:
        sizes: The day's chunks, in the order of their numbers.
        is_over: Whether hardly any are to come.
    """
    in_order = list(sizes)
    for is_small, group in groupby(in_order, attrgetter("is_small")):
        numbers, _ = _begin(group)
        if is_small and len(numbers) >= MANY_SMALL:
            return Run(numbers, is_whole=False)
    for mergeable, group in groupby(in_order, attrgetter("mergeable")):
        run = list(group)
        numbers, is_enough = _begin(run)
        if mergeable and (is_enough or (is_over and sum(not each.is_small for each in run) > 1)):
            return Run(numbers, is_whole=True)
    return None


def merge_chunks(merged: Sequence[Chunk]) -> list[Chunk]:
    """Put the clicks of chunks of a day, which are in the order of their numbers, into as many chunks or fewer."""
    links, owners, visitors, columns = all_clicks = _Clicks([], [], [], {})
    for chunk in merged:
        packed, seen = unpack_columns(chunk.clicks)
        start, total = len(links), len(seen) // VISITOR_BYTES
        for link, owner, count in ChunkLinks(chunk.links):
            links += [link] * count
            owners += [owner] * count
        visitors += [seen[place : place + VISITOR_BYTES] for place in range(0, len(seen), VISITOR_BYTES)]
        for number, column in packed.items():
            cells = unpack_column(column, total)
            if number == TIMES:
                cells = [chunk.since_us + time for time in cells]
            kept = columns.setdefault(number, [])
            kept += [_missing(cells)] * (start - len(kept))
            kept += cells
    for cells in columns.values():
        cells.extend([_missing(cells)] * (len(links) - len(cells)))
    order = sorted(range(len(links)), key=list(zip(owners, links, columns[TIMES], strict=True)).__getitem__)
    size = -(-len(order) // min(len(merged), -(-len(order) // MERGED_CLICKS)))
    parts = [sorted(order[first : first + size], key=links.__getitem__) for first in range(0, len(order), size)]
    return [_pack(merged[0].day, all_clicks, places) for places in parts]


class _Clicks(NamedTuple):
    """Clicks of several chunks, side by side; `columns` by their numbers, with the times since 1970."""

    links: list[int]
    owners: list[str]
    visitors: list[bytes]
    columns: dict[int, list[Any]]


def _pack(day: int, clicks: _Clicks, places: Sequence[int]) -> Chunk:
    chosen = {number: [cells[place] for place in places] for number, cells in clicks.columns.items()}
    since, until = min(chosen[TIMES]), max(chosen[TIMES])
    chosen[TIMES] = [time - since for time in chosen[TIMES]]
    return Chunk(
        day,
        since,
        until,
        pack_links([clicks.links[place] for place in places], [clicks.owners[place] for place in places]),
        pack_columns(
            {number: pack_column(cells) for number, cells in chosen.items()},
            b"".join([clicks.visitors[place] for place in places]),
        ),
    )


def _missing(cells: Sequence[Any]) -> str | int:
    """What a click has in a column that its chunk does not have."""
    return UNKNOWN if isinstance(cells[0], str) else 0


def _begin(run: Iterable[SizedChunk]) -> tuple[list[int], bool]:
    """The numbers of the first chunks of a run that make a step, and whether they are enough for one."""
    numbers, size = [], 0
    for each in run:
        numbers.append(each.number)
        size += each.size
        if size >= STEP_BYTES:
            return numbers, True
    return numbers, False


async def _select_run(conn: Connection, today: date | None, kind: int) -> tuple[int, Run] | None:
    """Choose chunks to merge, of the latest day that has some. Whose clicks are being erased there has them erased first."""
    days = await conn.fetch(
        """
        SELECT day FROM click_chunks
        WHERE mergeable AND format = $1 AND day NOT IN (
            SELECT day FROM click_erased_spans WHERE $1 > 0 UNION ALL SELECT day FROM imported_erased_spans WHERE $1 < 0)
        GROUP BY day HAVING count(*) > 1 ORDER BY day DESC
        """,
        chunks.FORMAT * kind,
    )
    for (day,) in days:
        # Chunks of another kind do not count, and those of another format stay where they are, as those around them do.
        sizes = await conn.fetch(
            """
            SELECT id, mergeable AND format = $2, octet_length(links) + octet_length(clicks) FROM click_chunks
            WHERE day = $1 AND sign(format) = sign($2) ORDER BY id
            """,
            day,
            chunks.FORMAT * kind,
        )
        run = choose_run((SizedChunk(*row) for row in sizes), is_over=day < (today or datetime.now(UTC).date()))
        if run is not None:
            return (day - FIRST_DAY).days, run
    return None


async def _merge(conn: Connection, day: int, run: Run, kind: int) -> bool:
    """Merge chunks, and let the days of their links and owners name those that come out.

    Nobody else changes or deletes the chunks meanwhile, and clicks wait only while the days are written.
    """
    rows = await conn.fetch(
        """
        SELECT id, $1::integer, since_us, until_us, links, clicks FROM click_chunks
        WHERE day = DATE '1970-01-01' + $1::integer AND id = ANY ($2) ORDER BY id FOR UPDATE
        """,
        day,
        run.numbers,
    )
    if not rows:
        return True
    merged = list(zip((row[0] for row in rows), merge_chunks([Chunk(*list(row)[1:]) for row in rows]), strict=False))
    await (lock_days(conn) if kind == OWN else lock_imported_clicks(conn))
    if await conn.fetchval(_IS_ERASED[kind], day):
        return False
    whose: dict[Counted, list[int]] = {}
    for number, chunk in merged:
        directory = list(ChunkLinks(chunk.links))
        for link, _, _ in directory:
            whose.setdefault(link, []).append(number)
        for owner in {owner for _, owner, _ in directory}:
            whose.setdefault(owner, []).append(number)
    # What does not become fewer chunks now does not the next time.
    await _write_chunks(conn, day, merged, is_whole=run.is_whole or len(merged) == len(rows))
    await conn.execute(
        "DELETE FROM click_chunks WHERE day = DATE '1970-01-01' + $1::integer AND id = ANY ($2)",
        day,
        [row[0] for row in rows[len(merged) :]],
    )
    wanted = iter(whose.items())
    while some := dict(islice(wanted, STEP_DAYS)):
        await replace_chunks_of_days(conn, day, run.numbers[0], run.numbers[-1], some, kind=kind)
    return True


async def _write_chunks(conn: Connection, day: int, merged: Sequence[tuple[int, Chunk]], *, is_whole: bool) -> None:
    for number, chunk in merged:
        await conn.execute(
            """
            UPDATE click_chunks SET since_us = $3, until_us = $4, links = $5, clicks = $6, mergeable = $7
            WHERE day = DATE '1970-01-01' + $1::integer AND id = $2
            """,
            day,
            number,
            chunk.since_us,
            chunk.until_us,
            chunk.links,
            chunk.clicks,
            not is_whole,
        )


_IS_ERASED = {
    OWN: "SELECT EXISTS (SELECT FROM click_erased_spans WHERE day = DATE '1970-01-01' + $1::integer)",
    IMPORTED: "SELECT EXISTS (SELECT FROM imported_erased_spans WHERE day = DATE '1970-01-01' + $1::integer)",
}
