"""The tables of clicks, as the click worker uses them. Every statement that adds to them is here.

`batches.py` calls these inside its transaction, always in the order of `insert_clicks`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from secrets import token_bytes
from uuid import UUID

from services.links.clicks.counts import Columns, DimensionCounts, EnrichedClick, count_clicks
from services.links.packed.rows import Counted, share_days
from shared.api import UNKNOWN, VARIANT
from shared.journal import HEADER
from shared.postgres import Connection

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_DAY = EPOCH.date()

KEY_BYTES = 32

_CLICK_COLUMNS = ("clicked_at", "link_id", "owner", "visitor", "is_bot", "country", "browser", "os", "device", "referrer",
                  "language", VARIANT)  # fmt: skip


async def lock_segment(conn: Connection, segment: UUID) -> int:
    """Keep others from the segment until the transaction ends.

    Returns:
        The offset up to which it was taken; of a new one the end of the file's header.
    """
    await conn.execute("INSERT INTO click_segments (segment) VALUES ($1) ON CONFLICT DO NOTHING", segment)
    reached: int = await conn.fetchval("SELECT reached FROM click_segments WHERE segment = $1 FOR UPDATE", segment)
    return reached or len(HEADER)


async def move_segment(conn: Connection, segment: UUID, reached: int, refused: int) -> None:
    """Note that everything below an offset was taken, and how much of it was set aside."""
    await conn.execute(
        "UPDATE click_segments SET reached = $2, refused = refused + $3, updated_at = now() WHERE segment = $1",
        segment,
        reached,
        refused,
    )


async def select_owners(conn: Connection, link_ids: Iterable[int]) -> dict[int, str]:
    """Returns the owners of links, tombstones included. A link that does not exist is left out."""
    rows = await conn.fetch("SELECT id, owner FROM links WHERE id = ANY ($1)", list(link_ids))
    return {row["id"]: row["owner"] for row in rows}


async def select_keys(conn: Connection, days: Iterable[int]) -> dict[int, bytes]:
    """Returns the keys of UTC days (since 1970), which tell visitors apart.

    Those that are missing are drawn, unless the key of such a day was deleted: with another one, whoever comes again would
    be a new visitor.
    """
    wanted = sorted(set(days))
    keys = await _select_keys(conn, wanted)
    missing = [day for day in wanted if day not in keys]
    if missing:
        await conn.execute(
            """
            INSERT INTO click_keys (day, key) SELECT DATE '1970-01-01' + day, key
            FROM unnest($1::integer[], $2::bytea[]) AS new (day, key)
            WHERE NOT EXISTS (SELECT FROM click_keys_deleted WHERE DATE '1970-01-01' + day < before)
            ON CONFLICT DO NOTHING
            """,
            missing,
            [token_bytes(KEY_BYTES) for _ in missing],
        )
        keys = await _select_keys(conn, wanted)
    return keys


async def insert_clicks(conn: Connection, clicks: Sequence[EnrichedClick]) -> None:
    """Store clicks, at least one, and everything that is counted of them.

    The links come last: their rows are locked until the commit, and an edit waits for that. Nobody packs clicks meanwhile, who
    would lock the same rows in another order.
    """
    counts = count_clicks(clicks)
    await share_days(conn)
    await conn.copy_records_to_table("clicks", columns=_CLICK_COLUMNS, records=[
        (EPOCH + timedelta(microseconds=time_us), link_id, owner, visitor, is_bot, *dimensions[:-1],
         None if dimensions.variant == UNKNOWN else dimensions.variant)
        for time_us, link_id, owner, visitor, is_bot, dimensions in clicks
    ])  # fmt: skip
    await _add_totals_by_link(conn, counts.totals_by_link)
    await _add_dimensions_by_link(conn, counts.dimensions_by_link)
    for is_bot, visitors in counts.visitors_by_link.items():
        await _add_visitors_by_link(conn, visitors, is_bot)
    await _add_totals_by_owner(conn, counts.totals_by_owner)
    await _add_dimensions_by_owner(conn, counts.dimensions_by_owner)
    for is_bot, visitors in counts.visitors_by_owner.items():
        await _add_visitors_by_owner(conn, visitors, is_bot)
    await add_to_links(conn, (*counts.links, counts.humans))


async def note_visitors(
    conn: Connection, day: int, seen: Collection[tuple[int, bytes | None]], owners: Mapping[int, str]
) -> dict[Counted, int]:
    """Note the visitors that were seen on a day (since 1970): who is new to an owner is new to one of its links.

    Args:
        conn: In a transaction.
        day: The day.
        seen: Links and visitors, at least one, each pair once.
        owners: The owners of the links.

    Returns:
        The number of those that were not seen before on that day, by link and by owner.
    """
    rows = await conn.fetch(
        """
        WITH of_links AS (
            INSERT INTO click_visitors (day, link_id, visitor)
            SELECT DATE '1970-01-01' + $1::integer, link_id, visitor
            FROM unnest($2::bigint[], $3::bytea[]) AS new (link_id, visitor)
            ORDER BY link_id, visitor
            ON CONFLICT DO NOTHING
            RETURNING day, link_id, visitor),
        of_owners AS (
            INSERT INTO click_visitors_of_owners (day, owner, visitor)
            SELECT DISTINCT day, owner, visitor
            FROM of_links JOIN unnest($4::bigint[], $5::text[]) AS owned (link_id, owner) USING (link_id)
            ORDER BY owner, visitor
            ON CONFLICT DO NOTHING
            RETURNING owner)
        SELECT link_id, NULL AS owner, count(*) FROM of_links GROUP BY link_id
        UNION ALL
        SELECT NULL, owner, count(*) FROM of_owners GROUP BY owner
        """,
        day,
        *zip(*seen, strict=True),
        list(owners),
        list(owners.values()),
    )
    return {link_id or owner: count for link_id, owner, count in rows}


async def add_to_links(conn: Connection, columns: Columns) -> None:
    """Add to the numbers in lists, and note that their order is out of date.

    An update that joins may lock in any order, so the rows are locked in order first.
    """
    await conn.execute("INSERT INTO clicked_links (link_ids) VALUES ($1)", columns[0])
    await conn.execute(
        """
        WITH locked AS MATERIALIZED (SELECT id FROM links WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE)
        UPDATE links
        SET clicks = links.clicks + new.clicks, humans = links.humans + new.humans,
            bots = links.bots + new.clicks - new.humans
        FROM locked JOIN unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS new (id, clicks, humans) USING (id)
        WHERE links.id = locked.id
        """,
        *columns,
    )


async def _select_keys(conn: Connection, days: Sequence[int]) -> dict[int, bytes]:
    rows = await conn.fetch(
        "SELECT day - DATE '1970-01-01' AS day, key FROM click_keys WHERE day = ANY ($1)",
        [FIRST_DAY + timedelta(days=day) for day in days],
    )
    return {row["day"]: row["key"] for row in rows}


async def _add_totals_by_link(conn: Connection, columns: Columns) -> None:
    await conn.execute(
        """
        INSERT INTO click_totals_by_link AS kept (link_id, slot, is_bot, clicks)
        SELECT link_id, to_timestamp(slot), is_bot, clicks
        FROM unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::bigint[]) AS new (link_id, slot, is_bot, clicks)
        ON CONFLICT (link_id, slot, is_bot) DO UPDATE SET clicks = kept.clicks + excluded.clicks
        """,
        *columns,
    )


async def _add_totals_by_owner(conn: Connection, columns: Columns) -> None:
    await conn.execute(
        """
        INSERT INTO click_totals_by_owner AS kept (owner, slot, is_bot, clicks)
        SELECT owner, to_timestamp(slot), is_bot, clicks
        FROM unnest($1::text[], $2::bigint[], $3::boolean[], $4::bigint[]) AS new (owner, slot, is_bot, clicks)
        ON CONFLICT (owner, slot, is_bot) DO UPDATE SET clicks = kept.clicks + excluded.clicks
        """,
        *columns,
    )


async def _add_dimensions_by_link(conn: Connection, counts: DimensionCounts) -> None:
    await conn.execute(
        """
        INSERT INTO click_dimensions_by_link AS kept (link_id, day, dimension, value, is_bot, clicks)
        SELECT link_id, DATE '1970-01-01' + day, dimension, value, is_bot, clicks
        FROM unnest($1::bigint[], $2::integer[], $3::bigint[]) AS new (link_id, number, clicks)
        JOIN unnest($4::integer[], $5::text[], $6::text[], $7::boolean[]) WITH ORDINALITY
            AS kind (day, dimension, value, is_bot, number) USING (number)
        ORDER BY link_id, number
        ON CONFLICT (link_id, day, dimension, value, is_bot) DO UPDATE SET clicks = kept.clicks + excluded.clicks
        """,
        *counts.rows,
        *counts.kinds,
    )


async def _add_dimensions_by_owner(conn: Connection, counts: DimensionCounts) -> None:
    await conn.execute(
        """
        INSERT INTO click_dimensions_by_owner AS kept (owner, day, dimension, value, is_bot, clicks)
        SELECT owner, DATE '1970-01-01' + day, dimension, value, is_bot, clicks
        FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS new (owner, number, clicks)
        JOIN unnest($4::integer[], $5::text[], $6::text[], $7::boolean[]) WITH ORDINALITY
            AS kind (day, dimension, value, is_bot, number) USING (number)
        ORDER BY owner, number
        ON CONFLICT (owner, day, dimension, value, is_bot) DO UPDATE SET clicks = kept.clicks + excluded.clicks
        """,
        *counts.rows,
        *counts.kinds,
    )


async def _add_visitors_by_link(conn: Connection, columns: Columns, is_bot: bool) -> None:
    """Note the visitors that were seen, and count those that were not seen before on that day."""
    await conn.execute(
        """
        WITH seen AS (
            INSERT INTO click_visitors (day, link_id, visitor)
            SELECT DATE '1970-01-01' + day, link_id, visitor
            FROM unnest($1::integer[], $2::bigint[], $3::bytea[]) AS new (day, link_id, visitor)
            ORDER BY day, link_id, visitor
            ON CONFLICT DO NOTHING
            RETURNING link_id, day)
        INSERT INTO click_uniques_by_link AS kept (link_id, day, is_bot, visitors)
        SELECT link_id, day, $4, count(*) FROM seen GROUP BY link_id, day ORDER BY link_id, day
        ON CONFLICT (link_id, day, is_bot) DO UPDATE SET visitors = kept.visitors + excluded.visitors
        """,
        *columns,
        is_bot,
    )


async def _add_visitors_by_owner(conn: Connection, columns: Columns, is_bot: bool) -> None:
    await conn.execute(
        """
        WITH seen AS (
            INSERT INTO click_visitors_of_owners (day, owner, visitor)
            SELECT DATE '1970-01-01' + day, owner, visitor
            FROM unnest($1::integer[], $2::text[], $3::bytea[]) AS new (day, owner, visitor)
            ORDER BY day, owner, visitor
            ON CONFLICT DO NOTHING
            RETURNING owner, day)
        INSERT INTO click_uniques_by_owner AS kept (owner, day, is_bot, visitors)
        SELECT owner, day, $4, count(*) FROM seen GROUP BY owner, day ORDER BY owner, day
        ON CONFLICT (owner, day, is_bot) DO UPDATE SET visitors = kept.visitors + excluded.visitors
        """,
        *columns,
        is_bot,
    )
