"""Erases the clicks of a link, in small steps: first what is counted of a day, then the raw clicks of that day.

`services/links/stats/clicks.py` notes who asks for it, `services/links/upkeep.py` calls `erase_some` by the clock. Clicks that
are stored after a day's step count from nought. An owner's unique visitors stay: they may have followed other links, too.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

from services.links.packed import chunks, days
from services.links.packed.chunks import Chunk, drop_link
from services.links.packed.days import IMPORTED, MOST_VALUES_OF_LINK, MOST_VALUES_OF_OWNER, OWN, DayCounts
from services.links.packed.rows import lock_days, select_days, write_days
from services.links.packed.taking import take_imported
from services.links.packed.unnamed import RawValues
from shared.api import Dimensions
from shared.postgres import Connection

FIRST_DAY = date(1970, 1, 1)

STEP_IDS = 20_000
STEP_CHUNKS = 20
STEP_CLICKS = 5_000


async def insert_erasure(conn: Connection, link_id: int, owner: str) -> None:
    """Ask that a link's clicks be erased; asking twice is asking once."""
    await conn.execute(
        "INSERT INTO click_erasures (link_id, owner) VALUES ($1, $2) ON CONFLICT DO NOTHING", link_id, owner
    )


async def insert_owner_erasure(conn: Connection, owner: str) -> None:
    """Ask that the clicks of all links of an owner be erased, deleted ones included, and his unique visitors with them."""
    await conn.execute(
        """
        INSERT INTO click_erasures (link_id, owner) VALUES (0, $1)
        ON CONFLICT (link_id, owner) DO UPDATE SET last_link = excluded.last_link, last_day = excluded.last_day
        """,
        owner,
    )


async def erase_some(conn: Connection) -> bool:
    """Erase the counts of a day, or some raw clicks of it; each step is a transaction.

    Returns:
        Whether there may be more; call it again then. Several processes take different links.
    """
    async with conn.transaction():
        erasure = await conn.fetchrow(
            """
            SELECT link_id, owner, last_link, last_day FROM click_erasures
            ORDER BY link_id = 0, asked_at LIMIT 1 FOR UPDATE SKIP LOCKED
            """
        )
        if erasure is not None:
            if erasure["link_id"]:
                await _erase_counts(conn, erasure["link_id"], erasure["owner"])
                return True
            await lock_days(conn)
            if not await _note_links(conn, erasure["owner"], erasure["last_link"]):
                await _erase_visitors(conn, erasure["owner"], erasure["last_day"])
            return True
    async with conn.transaction():
        span = await conn.fetchrow(
            """
            SELECT id, link_id, day, first_chunk, last_chunk, last_click FROM click_erased_spans
            ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
            """
        )
        if span is None:
            return await _erase_imported(conn)
        is_more = await (_erase_rows(conn, span) if span["last_click"] else _erase_from_chunks(conn, span, OWN))
        if not is_more:
            await conn.execute("DELETE FROM click_erased_spans WHERE id = $1", span["id"])
        elif not span["last_click"]:
            await conn.execute("UPDATE click_erased_spans SET first_chunk = $2 WHERE id = $1", span["id"], is_more)
    return True


async def _erase_imported(conn: Connection) -> bool:
    span = await conn.fetchrow(
        """
        SELECT id, link_id, day, first_chunk, last_chunk FROM imported_erased_spans
        ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
        """
    )
    if span is None:
        return False
    if first_chunk := await _erase_from_chunks(conn, span, IMPORTED):
        await conn.execute("UPDATE imported_erased_spans SET first_chunk = $2 WHERE id = $1", span["id"], first_chunk)
    else:
        await conn.execute("DELETE FROM imported_erased_spans WHERE id = $1", span["id"])
    return True


async def _erase_counts(conn: Connection, link_id: int, owner: str) -> None:
    """Take a day's counts from the link, from its owner and out of lists, and note where its raw clicks are."""
    day = await _select_first_day(conn, link_id)
    if day is None:
        if not await take_imported(conn, [link_id]):
            await conn.execute("DELETE FROM click_erasures WHERE link_id = $1", link_id)
        return
    values = RawValues(conn, link_id, day)
    # A link with many clicks takes long: nobody waits for it, and what came meanwhile is little.
    await values.read()
    await lock_days(conn)
    await values.read()
    taken = await _take_counts(conn, link_id, day)
    values.name(taken)
    number = (day - FIRST_DAY).days
    kept = await select_days(conn, number, [owner])
    counts = kept.get(owner) or DayCounts()
    counts.subtract(taken, MOST_VALUES_OF_OWNER)
    await write_days(conn, number, {owner: counts})
    await conn.execute("DELETE FROM click_visitors WHERE day = $1 AND link_id = $2", day, link_id)
    await _note_spans(conn, link_id, day, list(taken.chunks()))
    await conn.execute("INSERT INTO clicked_links (link_ids) VALUES (ARRAY[$1::bigint])", link_id)
    await conn.execute(
        "UPDATE links SET clicks = clicks - $2 - $3, humans = humans - $2, bots = bots - $3 WHERE id = $1",
        link_id,
        taken.clicks(False),
        taken.clicks(True),
    )


async def _note_links(conn: Connection, owner: str, last_link: int) -> bool:
    """Ask for the owner's links among the next ids.

    Returns:
        Whether there were such ids.
    """
    if last_link >= await conn.fetchval("SELECT coalesce(max(id), 0) FROM links"):
        return False
    await conn.execute(
        """
        INSERT INTO click_erasures (link_id, owner)
        SELECT id, owner FROM links WHERE owner = $1 AND id > $2 AND id <= $2 + $3::bigint AND clicks > 0
        ON CONFLICT DO NOTHING
        """,
        owner,
        last_link,
        STEP_IDS,
    )
    await conn.execute(
        "UPDATE click_erasures SET last_link = $2 WHERE link_id = 0 AND owner = $1", owner, last_link + STEP_IDS
    )
    return True


async def _erase_visitors(conn: Connection, owner: str, last_day: date) -> None:
    """Forget who was seen on an owner's next day, and how many they were."""
    day = await conn.fetchval(
        """
        SELECT least((SELECT min(day) FROM click_days WHERE link_id = 0 AND owner = $1 AND day > $2 AND format = $3),
                     (SELECT min(day) FROM click_uniques_by_owner WHERE owner = $1 AND day > $2))
        """,
        owner,
        last_day,
        days.FORMAT,
    )
    if day is None:
        await conn.execute("DELETE FROM click_erasures WHERE link_id = 0 AND owner = $1", owner)
        return
    number = (day - FIRST_DAY).days
    kept = await select_days(conn, number, [owner])
    for counts in kept.values():
        counts.forget_visitors()
    await write_days(conn, number, kept)
    await conn.execute("DELETE FROM click_uniques_by_owner WHERE owner = $1 AND day = $2", owner, day)
    await conn.execute("DELETE FROM click_visitors_of_owners WHERE day = $2 AND owner = $1", owner, day)
    await conn.execute("UPDATE click_erasures SET last_day = $2 WHERE link_id = 0 AND owner = $1", owner, day)


async def _select_first_day(conn: Connection, link_id: int) -> date | None:
    day: date | None = await conn.fetchval(
        """
        SELECT least(
            (SELECT min(day) FROM click_days WHERE link_id = $1 AND owner = '' AND format = $2),
            (SELECT (min(slot) AT TIME ZONE 'UTC')::date FROM click_totals_by_link WHERE link_id = $1),
            (SELECT min(day) FROM click_dimensions_by_link WHERE link_id = $1),
            (SELECT min(day) FROM click_uniques_by_link WHERE link_id = $1))
        """,
        link_id,
        days.FORMAT,
    )
    return day


async def _take_counts(conn: Connection, link_id: int, day: date) -> DayCounts:
    packed = await conn.fetchval(
        "DELETE FROM click_days WHERE link_id = $1 AND owner = '' AND day = $2 AND format = $3 RETURNING counts",
        link_id,
        day,
        days.FORMAT,
    )
    counts = DayCounts(packed)
    slots = await conn.fetch(
        """
        DELETE FROM click_totals_by_link
        WHERE link_id = $1 AND slot >= ($2::date)::timestamp AT TIME ZONE 'UTC'
            AND slot < ($2::date + 1)::timestamp AT TIME ZONE 'UTC'
        RETURNING (extract(epoch FROM (slot AT TIME ZONE 'UTC')::time) / 900)::integer, is_bot, clicks
        """,
        link_id,
        day,
    )
    for slot in slots:
        counts.add_slot(*slot)
    values = await conn.fetch(
        "DELETE FROM click_dimensions_by_link WHERE link_id = $1 AND day = $2 RETURNING dimension, value, is_bot, clicks",
        link_id,
        day,
    )
    # Each value by itself, so that it is taken from the same one of the owner's.
    most = len(values) + MOST_VALUES_OF_LINK
    for dimension, value, is_bot, clicks in values:
        if dimension in Dimensions._fields:
            counts.add_value(dimension, value, is_bot, clicks, most)
    await conn.execute("DELETE FROM click_uniques_by_link WHERE link_id = $1 AND day = $2", link_id, day)
    return counts


async def _note_spans(conn: Connection, link_id: int, day: date, ranges: Sequence[tuple[int, int]]) -> None:
    await conn.executemany(
        "INSERT INTO click_erased_spans (link_id, day, first_chunk, last_chunk) VALUES ($1, $2, $3, $4)",
        [(link_id, day, *each) for each in ranges],
    )
    await conn.execute(
        """
        INSERT INTO click_erased_spans (link_id, day, last_click)
        SELECT $1, $2, max(id) FROM clicks
        WHERE link_id = $1 AND clicked_at >= ($2::date)::timestamp AT TIME ZONE 'UTC'
            AND clicked_at < ($2::date + 1)::timestamp AT TIME ZONE 'UTC'
        HAVING count(*) > 0
        """,
        link_id,
        day,
    )


async def _erase_rows(conn: Connection, span: Any) -> bool:
    status = await conn.execute(
        """
        DELETE FROM clicks WHERE (tableoid, ctid) IN (
            SELECT tableoid, ctid FROM clicks
            WHERE link_id = $1 AND clicked_at >= ($2::date)::timestamp AT TIME ZONE 'UTC'
                AND clicked_at < ($2::date + 1)::timestamp AT TIME ZONE 'UTC' AND id <= $3
            LIMIT $4)
        """,
        span["link_id"],
        span["day"],
        span["last_click"],
        STEP_CLICKS,
    )
    return int(status.split()[-1]) > 0


async def _erase_from_chunks(conn: Connection, span: Any, kind: int) -> int | None:
    """Take a link's clicks out of some chunks.

    Returns:
        The number of the next chunk; None if there is none.
    """
    rows = await conn.fetch(
        """
        SELECT id, day - DATE '1970-01-01', since_us, until_us, links, clicks FROM click_chunks
        WHERE day = $1 AND id BETWEEN $2 AND $3 AND format = $4 ORDER BY id LIMIT $5 FOR UPDATE
        """,
        span["day"],
        span["first_chunk"],
        span["last_chunk"],
        chunks.FORMAT * kind,
        STEP_CHUNKS,
    )
    for number, *columns in rows:
        chunk = Chunk(*columns)
        left = drop_link(chunk, span["link_id"])
        if left is None:
            await conn.execute("DELETE FROM click_chunks WHERE day = $1 AND id = $2", span["day"], number)
        elif left is not chunk:
            await conn.execute(
                "UPDATE click_chunks SET links = $3, clicks = $4 WHERE day = $1 AND id = $2",
                span["day"],
                number,
                left.links,
                left.clicks,
            )
    return rows[-1]["id"] + 1 if len(rows) == STEP_CHUNKS else None
