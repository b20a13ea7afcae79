"""What an archive asks of Postgres, page by page: each statement is short, and its answer is bounded.

`pages.py` calls these with connections that it does not keep, and `lines.py` makes lines of what they return.
"""

from collections.abc import Sequence
from datetime import date, datetime

import asyncpg

from services.links.links.rows import DECIDED
from shared.api import Dimensions
from shared.postgres import Connection

_LINKS = f"""
    SELECT id, domain, code, owner, {", ".join(DECIDED)}, folds_case, version, created_at, updated_at, deleted_at,
           split_salt::text AS split_salt, clicks, humans, imported_clicks, imported_humans,
           (SELECT coalesce(json_agg(json_build_array(source, short_url) ORDER BY source, short_url), '[]')
            FROM link_sources WHERE link_id = links.id AND link_sources.owner = links.owner)::text AS sources,
           coalesce((SELECT used FROM link_claims WHERE link_id = links.id), 0) AS clicks_used
    FROM links WHERE owner = $1 AND id < $2 AND deleted_at IS
"""  # noqa: S608  # names of columns

# Two statements: each has an index of its own.
_PAGES = {
    is_deleted: f"{_LINKS} {'NOT' if is_deleted else ''} NULL ORDER BY id DESC LIMIT $3" for is_deleted in (False, True)
}


async def select_next_owner(conn: Connection, after: str) -> str | None:
    """Find the next one who has or had links."""
    owner: str | None = await conn.fetchval(
        """
        SELECT least((SELECT min(owner) FROM links WHERE owner > $1 AND deleted_at IS NULL),
                     (SELECT min(owner) FROM links WHERE owner > $1 AND deleted_at IS NOT NULL))
        """,
        after,
    )
    return owner


async def select_archived_links(
    conn: Connection, owner: str, *, is_deleted: bool, before_id: int, limit: int
) -> list[asyncpg.Record]:
    """Read the newest links, or tombstones, of an owner whose id is smaller."""
    return await conn.fetch(_PAGES[is_deleted], owner, before_id, limit)


async def select_day_spans(conn: Connection, link_ids: Sequence[int]) -> dict[int, tuple[int, date, date]]:
    """Find how many rows of counts links have, and the first and the last of their days; those without are left out."""
    rows = await conn.fetch(
        """
        SELECT link_id, sum(rows)::bigint AS rows, min(first) AS first, max(last) AS last
        FROM (
            SELECT link_id, count(*) AS rows, min(day) AS first, max(day) AS last
            FROM click_days WHERE link_id = ANY ($1) AND owner = '' GROUP BY link_id
            UNION ALL
            SELECT link_id, count(*), min(slot AT TIME ZONE 'UTC')::date, max(slot AT TIME ZONE 'UTC')::date
            FROM click_totals_by_link WHERE link_id = ANY ($1) GROUP BY link_id
            UNION ALL
            SELECT link_id, count(*), min(day), max(day)
            FROM click_uniques_by_link WHERE link_id = ANY ($1) GROUP BY link_id
        ) AS counted
        GROUP BY link_id
        """,
        link_ids,
    )
    return {row["link_id"]: (row["rows"], row["first"], row["last"]) for row in rows}


async def select_packed_days(
    conn: Connection, link_ids: Sequence[int], first: date, last: date, format_: int
) -> list[tuple[int, date, bytes]]:
    """Read packed counts: link, day, counts."""
    rows = await conn.fetch(
        """
        SELECT link_id, day, counts FROM click_days
        WHERE link_id = ANY ($1) AND owner = '' AND day BETWEEN $2 AND $3 AND format = $4
        """,
        link_ids,
        first,
        last,
        format_,
    )
    return [tuple(row) for row in rows]


async def select_slots(
    conn: Connection, link_ids: Sequence[int], first: date, last: date
) -> list[tuple[int, date, int, bool, int]]:
    """Read counts out of rows: link, day, number of the quarter of an hour, is_bot, clicks."""
    rows = await conn.fetch(
        """
        SELECT link_id, (slot AT TIME ZONE 'UTC')::date AS day,
               (extract(epoch FROM (slot AT TIME ZONE 'UTC')::time) / 900)::integer AS slot, is_bot, clicks
        FROM click_totals_by_link
        WHERE link_id = ANY ($1) AND slot >= $2::date::timestamp AT TIME ZONE 'UTC'
          AND slot < ($3::date + 1)::timestamp AT TIME ZONE 'UTC'
        """,
        link_ids,
        first,
        last,
    )
    return [tuple(row) for row in rows]


async def select_values(
    conn: Connection, link_ids: Sequence[int], first: date, last: date
) -> list[tuple[int, date, str, str, bool, int]]:
    """Read counts out of rows: link, day, dimension, value, is_bot, clicks."""
    rows = await conn.fetch(
        """
        SELECT link_id, day, dimension, value, is_bot, clicks FROM click_dimensions_by_link
        WHERE link_id = ANY ($1) AND day BETWEEN $2 AND $3 AND dimension = ANY ($4)
        """,
        link_ids,
        first,
        last,
        list(Dimensions._fields),
    )
    return [tuple(row) for row in rows]


async def select_uniques(
    conn: Connection, link_ids: Sequence[int], first: date, last: date
) -> list[tuple[int, date, bool, int]]:
    """Read unique visitors out of rows: link, day, is_bot, visitors."""
    rows = await conn.fetch(
        """
        SELECT link_id, day, is_bot, visitors FROM click_uniques_by_link
        WHERE link_id = ANY ($1) AND day BETWEEN $2 AND $3
        """,
        link_ids,
        first,
        last,
    )
    return [tuple(row) for row in rows]


async def select_owner_days(
    conn: Connection, owner: str, after: date, limit: int, formats: Sequence[int]
) -> list[tuple[date, int, bytes | None, int, int]]:
    """Read the next days on which an owner had visitors, in their order.

    Returns:
        Day, format of the packed counts, these, and the people and bots that are in rows; a day may be there twice.
    """
    rows = await conn.fetch(
        """
        WITH days AS (
            SELECT day FROM (
                (SELECT day FROM click_days WHERE link_id = 0 AND owner = $1 AND day > $2 AND format = ANY ($4)
                 ORDER BY day LIMIT $3)
                UNION ALL
                (SELECT day FROM click_uniques_by_owner WHERE owner = $1 AND day > $2 ORDER BY day LIMIT $3)
            ) AS both_of GROUP BY day ORDER BY day LIMIT $3)
        SELECT day, format, counts, 0::bigint AS people, 0::bigint AS bots
        FROM days JOIN click_days USING (day) WHERE link_id = 0 AND owner = $1 AND format = ANY ($4)
        UNION ALL
        SELECT day, 0, NULL, coalesce(sum(visitors) FILTER (WHERE NOT is_bot), 0)::bigint,
               coalesce(sum(visitors) FILTER (WHERE is_bot), 0)::bigint
        FROM days JOIN click_uniques_by_owner USING (day) WHERE owner = $1 GROUP BY day
        ORDER BY 1
        """,
        owner,
        after,
        limit,
        list(formats),
    )
    return [tuple(row) for row in rows]


async def select_archived_domains(conn: Connection) -> list[asyncpg.Record]:
    """Read all decisions about domains."""
    return await conn.fetch("SELECT * FROM domains ORDER BY domain")


async def select_archived_files(conn: Connection, domain: str) -> dict[str, str]:
    rows = await conn.fetch("SELECT name, content FROM domain_files WHERE domain = $1 ORDER BY name", domain)
    return {row["name"]: row["content"] for row in rows}


async def select_clicked(conn: Connection, link_ids: Sequence[int]) -> list[int]:
    """Find those of some links that have clicks in rows."""
    rows = await conn.fetch(
        """
        SELECT wanted.id FROM unnest($1::bigint[]) AS wanted (id)
        WHERE EXISTS (SELECT FROM clicks WHERE clicks.link_id = wanted.id)
        """,
        link_ids,
    )
    return [row["id"] for row in rows]


async def select_raw_rows(
    conn: Connection, link_id: int, after: tuple[datetime, int], before: datetime, limit: int
) -> list[asyncpg.Record]:
    """Read clicks of a link that are in rows, in their order, without those that are erased and still there."""
    return await conn.fetch(
        """
        SELECT id, clicked_at, visitor, is_bot, country, browser, os, device, referrer, language,
               coalesce(variant, 'unknown') AS variant
        FROM clicks
        WHERE link_id = $1 AND (clicked_at, id) > ($2, $3) AND clicked_at < $4
          AND NOT EXISTS (SELECT FROM click_erased_spans AS gone WHERE gone.link_id = clicks.link_id
                          AND gone.day = (clicked_at AT TIME ZONE 'UTC')::date AND clicks.id <= gone.last_click)
        ORDER BY clicked_at, id LIMIT $5
        """,
        link_id,
        *after,
        before,
        limit,
    )


async def select_chunk_days(conn: Connection) -> list[date]:
    """Read the days that have packed clicks: as many as they are kept for."""
    rows = await conn.fetch("SELECT day FROM click_chunks GROUP BY day ORDER BY day")
    return [row["day"] for row in rows]


async def select_packed_slots(conn: Connection, owner: str | None, day: date, format_: int) -> list[bytes]:
    """Read the packed counts of an owner's day, or of everyone's."""
    rows = await conn.fetch(
        "SELECT counts FROM click_days WHERE link_id = 0 AND day = $2 AND ($1::text IS NULL OR owner = $1) AND format = $3",
        owner,
        day,
        format_,
    )
    return [row["counts"] for row in rows]


async def select_chunk_numbers(conn: Connection, day: date, since_us: int, before_us: int, format_: int) -> list[int]:
    """Find the chunks of a day that may have clicks of a span."""
    rows = await conn.fetch(
        """
        SELECT id FROM click_chunks WHERE day = $1 AND until_us >= $2 AND since_us < $3 AND format = $4 ORDER BY id
        """,
        day,
        since_us,
        before_us,
        format_,
    )
    return [row["id"] for row in rows]


async def select_erased_links(conn: Connection, day: date, number: int, *, is_imported: bool) -> set[int]:
    """Find the links whose clicks in a chunk are erased and still there."""
    rows = await conn.fetch(
        """
        SELECT link_id FROM click_erased_spans
        WHERE NOT $3::boolean AND day = $1 AND $2::bigint BETWEEN first_chunk AND last_chunk
        UNION ALL
        SELECT link_id FROM imported_erased_spans
        WHERE $3::boolean AND day = $1 AND $2::bigint BETWEEN first_chunk AND last_chunk
        """,
        day,
        number,
        is_imported,
    )
    return {row["link_id"] for row in rows}


async def select_keys_of_links(conn: Connection, link_ids: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Find the domain and the code of links, deleted ones included."""
    rows = await conn.fetch("SELECT id, domain, code FROM links WHERE id = ANY ($1)", link_ids)
    return {row["id"]: (row["domain"], row["code"]) for row in rows}
