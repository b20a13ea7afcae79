"""The tables of packed clicks: every statement on them is here.

Who adds to days holds `lock_days` until the end of the transaction. So whoever is first finishes first, rows that are missing
are created once, and nobody waits in a circle, whatever the order of the keys.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from services.links.packed import chunks, days
from services.links.packed.chunks import Chunk
from services.links.packed.days import EVERYTHING, OWN, DayCounts, replace_chunks
from shared.postgres import Connection

DELETED_AT_ONCE = 1_000

_DAYS_LOCK = 0x6461_7973


Counted = int | str
"""A link's id, or an owner."""


class ChunkSpan(NamedTuple):
    """A chunk's number, and the time of its last click."""

    number: int
    until_us: int


async def lock_days(conn: Connection) -> None:
    """Keep everyone else from adding to days until the transaction ends."""
    await conn.execute("SELECT pg_advisory_xact_lock($1)", _DAYS_LOCK)


async def share_days(conn: Connection) -> None:
    """Keep those away who add to days, and not each other, until the transaction ends."""
    await conn.execute("SELECT pg_advisory_xact_lock_shared($1)", _DAYS_LOCK)


async def select_days(conn: Connection, day: int, whose: Iterable[Counted]) -> dict[Counted, DayCounts]:
    """Read the counts of a day (since 1970) in order to add to them; those that are missing are left out."""
    return {each: DayCounts(counts) for each, counts in (await _fetch_days(conn, day, whose)).items()}


async def replace_chunks_of_days(
    conn: Connection, day: int, first: int, last: int, numbers: Mapping[Counted, Sequence[int]], *, kind: int = OWN
) -> None:
    """Note that of the chunks from the first to the last number some took the place of all others.

    Args:
        conn: In the transaction that has locked the days.
        day: Days since 1970.
        first: The first number of the chunks that were there.
        last: The last one.
        numbers: Those that have clicks of a link or an owner.
        kind: Whether they have own clicks or imported ones.
    """
    kept = await _fetch_days(conn, day, numbers, kind)
    changed = {each: replace_chunks(kept.get(each), first, last, chosen) for each, chosen in numbers.items()}
    rows = [(*_key(whose), counts) for whose, counts in changed.items()]
    if rows:
        # A row of a newer format may be the only one of the same day. Each is found by its key, as in `write_days`.
        await conn.execute(
            """
            INSERT INTO click_days (day, link_id, owner, humans, bots, counts, format)
            SELECT DATE '1970-01-01' + $1::integer, link_id, owner, 0, 0, counts, $5
            FROM unnest($2::bigint[], $3::text[], $4::bytea[]) AS new (link_id, owner, counts)
            ON CONFLICT (link_id, owner, day, format) DO UPDATE SET counts = excluded.counts
            """,
            day,
            *zip(*rows, strict=True),
            days.FORMAT * kind,
        )


async def _fetch_days(conn: Connection, day: int, whose: Iterable[Counted], kind: int = OWN) -> dict[Counted, bytes]:
    wanted = list(whose)
    links = [each for each in wanted if isinstance(each, int)]
    owners = [each for each in wanted if isinstance(each, str)]
    rows = await conn.fetch(
        """
        SELECT link_id, owner, counts FROM click_days
        WHERE link_id = ANY ($2) AND owner = '' AND day = DATE '1970-01-01' + $1::integer AND format = $4
        UNION ALL
        SELECT link_id, owner, counts FROM click_days
        WHERE link_id = 0 AND owner = ANY ($3) AND day = DATE '1970-01-01' + $1::integer AND format = $4
        """,
        day,
        links,
        owners,
        days.FORMAT * kind,
    )
    return {link_id or owner: counts for link_id, owner, counts in rows}


async def write_days(conn: Connection, day: int, counted: Mapping[Counted, DayCounts]) -> None:
    """Write counts of a day (since 1970), in the transaction that has locked the days and read those that were there.

    The conflict names the key, so each row is found by it. An update that joins is planned by what is known of the table, and
    of a day that has just begun that is nothing: it read all rows of the day for each of these.
    """
    rows = [
        (
            *_key(whose),
            counts.clicks(False),
            counts.clicks(True),
            counts.pack(),
        )
        for whose, counts in counted.items()
    ]
    if rows:
        await conn.execute(
            """
            INSERT INTO click_days (day, link_id, owner, humans, bots, counts, format)
            SELECT DATE '1970-01-01' + $1::integer, link_id, owner, humans, bots, counts, $7
            FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bytea[])
                AS new (link_id, owner, humans, bots, counts)
            ON CONFLICT (link_id, owner, day, format)
            DO UPDATE SET counts = excluded.counts, humans = excluded.humans, bots = excluded.bots
            """,
            day,
            *zip(*rows, strict=True),
            days.FORMAT,
        )


async def select_days_of_link(
    conn: Connection, link_id: int, first: date, end: date, most: int | None = None, *, kind: int = OWN
) -> dict[int, DayCounts]:
    """Read a link's days from the first one up to, and without, the second one, the newest first; or so many of them."""
    rows = await conn.fetch(
        """
        SELECT day - DATE '1970-01-01' AS day, counts FROM click_days
        WHERE link_id = $1 AND owner = '' AND day >= $2 AND day < $3 AND format = $4
        ORDER BY day DESC LIMIT $5
        """,
        link_id,
        first,
        end,
        days.FORMAT * kind,
        most,
    )
    return {row["day"]: DayCounts(row["counts"]) for row in rows}


async def select_days_of_owners(
    conn: Connection, owner: str | None, first: date, end: date, kind: int = OWN
) -> dict[int, DayCounts]:
    """Read an owner's days; without one everyone's, added up."""
    found: dict[int, DayCounts] = {}
    # There may be many owners, so their days are not read into memory side by side.
    rows = conn.cursor(
        """
        SELECT day - DATE '1970-01-01' AS day, counts FROM click_days
        WHERE link_id = 0 AND ($1::text IS NULL OR owner = $1) AND day >= $2 AND day < $3 AND format = $4
        """,
        owner,
        first,
        end,
        days.FORMAT * kind,
        prefetch=100,
    )
    async for row in rows:
        counts = DayCounts(row["counts"])
        if row["day"] in found:
            found[row["day"]].add_day(counts)
        else:
            found[row["day"]] = counts
    return found


async def select_days_of_links(
    conn: Connection, link_ids: Sequence[int], first: date, end: date
) -> list[tuple[int, int, DayCounts]]:
    """Read the days of many links, own clicks and imported ones apart: link, day, counts."""
    rows = await conn.fetch(
        """
        SELECT link_id, day - DATE '1970-01-01' AS day, counts FROM click_days
        WHERE link_id = ANY ($1) AND owner = '' AND day >= $2 AND day < $3 AND format = ANY ($4)
        """,
        link_ids,
        first,
        end,
        [days.FORMAT * kind for kind in EVERYTHING],
    )
    return [(row["link_id"], row["day"], DayCounts(row["counts"])) for row in rows]


async def select_chunk_spans(
    conn: Connection,
    day: int,
    ranges: Sequence[tuple[int, int]],
    since_us: int,
    until_us: int,
    *,
    kinds: Sequence[int] = (OWN,),
) -> list[ChunkSpan]:
    """Find the chunks of a day that may have clicks from a moment up to, and without, another, the latest first.

    Args:
        conn: In the snapshot.
        day: Days since 1970.
        ranges: The first and the last number of the chunks that count.
        since_us: Microseconds since 1970.
        until_us: The same.
        kinds: Whether they have own clicks or imported ones.
    """
    rows = await conn.fetch(
        """
        SELECT id, until_us FROM click_chunks
        WHERE day = DATE '1970-01-01' + $1::integer AND until_us >= $4 AND since_us < $5 AND format = ANY ($6)
            AND EXISTS (SELECT FROM unnest($2::bigint[], $3::bigint[]) AS range (first, last) WHERE id BETWEEN first AND last)
        ORDER BY until_us DESC, id DESC
        """,
        day,
        *(zip(*ranges, strict=True) if ranges else ([], [])),
        since_us,
        until_us,
        [chunks.FORMAT * kind for kind in kinds],
    )
    return [ChunkSpan(*row) for row in rows]


async def select_chunks(conn: Connection, day: int, numbers: Sequence[int]) -> list[tuple[int, Chunk]]:
    """Read some chunks of a day, with their numbers."""
    rows = await conn.fetch(
        """
        SELECT id, $1::integer, since_us, until_us, links, clicks FROM click_chunks
        WHERE day = DATE '1970-01-01' + $1::integer AND id = ANY ($2)
        """,
        day,
        numbers,
    )
    return [(row[0], Chunk(*list(row)[1:])) for row in rows]


async def delete_chunks(conn: Connection, before: date) -> set[date]:
    """Delete some of the chunks of the days before, whatever their format.

    Returns:
        The days that they were of; call it again while there are any.
    """
    rows = await conn.fetch(
        """
        DELETE FROM click_chunks WHERE (day, id) IN (
            SELECT day, id FROM click_chunks WHERE day < $1 ORDER BY day, id LIMIT $2)
        RETURNING day
        """,
        before,
        DELETED_AT_ONCE,
    )
    return {row["day"] for row in rows}


async def insert_chunk(conn: Connection, chunk: Chunk, kind: int = OWN) -> int:
    """Returns the chunk's number; numbers only grow."""
    number: int = await conn.fetchval(
        """
        INSERT INTO click_chunks (day, since_us, until_us, links, clicks, format)
        VALUES (DATE '1970-01-01' + $1::integer, $2, $3, $4, $5, $6) RETURNING id
        """,
        *chunk,
        chunks.FORMAT * kind,
    )
    return number


def _key(whose: Counted) -> tuple[int, str]:
    return (whose, "") if isinstance(whose, int) else (0, whose)
