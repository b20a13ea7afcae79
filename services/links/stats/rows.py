"""The counts of clicks, as statistics read them: every statement that asks them is here.

`routes.py` calls these in one snapshot, so that all parts of an answer count the same clicks. What
`services/links/clicks/rows.py` adds up is read; the raw clicks only for parts of a UTC day, which the dimensions lack.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from services.links.stats.intervals import EPOCH
from services.links.stats.scopes import ClickRow, Count, DaySpan, Period, StatsScope
from services.links.web.cursors import Position
from shared.api import Bots, Dimensions
from shared.postgres import Connection

PackedVisitors = Mapping[tuple[str, bytes | None, bool], int]
"""Clicks by owner, visitor and whether a bot clicked."""

NOTHING_PACKED: PackedVisitors = {}


async def select_totals(
    conn: Connection, whose: StatsScope, period: Period, starts: Sequence[datetime]
) -> dict[int, Count]:
    """Count the clicks of a period by intervals that begin at `starts`; those without clicks are left out.

    Returns:
        By the interval's number; the first has the number 0.
    """
    rows = await conn.fetch(_statement(_TOTALS, whose), _who(whose), period.since, period.until, list(starts))
    return {row["interval"] - 1: Count(row["humans"], row["bots"]) for row in rows}


async def select_dimensions(
    conn: Connection,
    whose: StatsScope,
    days: DaySpan,
    parts: Sequence[Period],
    packed: Iterable[tuple[str, str | None, bool, int]] = (),
    *,
    top: int,
    bots: Bots,
) -> dict[str, list[tuple[str | None, Count]]]:
    """Count clicks by the values of each dimension.

    Args:
        conn: In the snapshot.
        whose: Whose clicks.
        days: Whole days, from the counts.
        parts: At most two parts of other days, from the raw clicks.
        packed: What the packed clicks of the same days and parts add: dimension, value, is_bot, clicks. The value None is of
            those that were not told apart.
        top: So many values are named; the others are together under None.
        bots: Which clicks decide on the order.

    Returns:
        The values of each dimension, the most frequent first.
    """
    first, second = [*parts, _NEVER, _NEVER][:2]
    rows = await conn.fetch(
        _statement(_DIMENSIONS, whose),
        _who(whose),
        days.first,
        days.end,
        first.since,
        first.until,
        second.since,
        second.until,
        top,
        bots,
        *_columns(packed, 4),
    )
    found: dict[str, list[tuple[str | None, Count]]] = {name: [] for name in Dimensions._fields}
    for row in rows:
        found[row["dimension"]].append((row["value"], Count(row["humans"], row["bots"])))
    return found


async def select_visitors(conn: Connection, whose: StatsScope, days: DaySpan) -> Count:
    """Add up the unique visitors of whole days."""
    (row,) = await conn.fetch(_statement(_VISITORS, whose), _who(whose), days.first, days.end)
    return Count(row["humans"], row["bots"])


async def select_raw_counts(
    conn: Connection, whose: StatsScope, part: Period, packed: PackedVisitors = NOTHING_PACKED
) -> tuple[Count, Count]:
    """Count the raw clicks of a part of a day, and the visitors in it.

    `packed` are other clicks of it.
    """
    rows = [(*of, clicks) for of, clicks in packed.items()]
    (row,) = await conn.fetch(_statement(_RAW_COUNTS, whose), _who(whose), part.since, part.until, *_columns(rows, 4))
    return Count(row["humans"], row["bots"]), Count(row["human_visitors"], row["bot_visitors"])


async def select_totals_of_links(
    conn: Connection, link_ids: Sequence[int], period: Period, starts: Sequence[datetime]
) -> dict[int, dict[int, Count]]:
    """Count the clicks of many links by intervals: by link, then by the interval's number as in `select_totals`."""
    rows = await conn.fetch(
        """
        SELECT link_id, width_bucket(slot, $4::timestamptz[]) AS interval,
               coalesce(sum(clicks) FILTER (WHERE NOT is_bot), 0)::bigint AS humans,
               coalesce(sum(clicks) FILTER (WHERE is_bot), 0)::bigint AS bots
        FROM click_totals_by_link WHERE link_id = ANY ($1) AND slot >= $2 AND slot < $3 GROUP BY 1, 2
        """,
        list(link_ids),
        period.since,
        period.until,
        list(starts),
    )
    found: dict[int, dict[int, Count]] = {link_id: {} for link_id in link_ids}
    for row in rows:
        found[row["link_id"]][row["interval"] - 1] = Count(row["humans"], row["bots"])
    return found


async def select_clicks(
    conn: Connection, link_id: int, period: Period, *, bots: Bots, after: Position | None, limit: int
) -> list[ClickRow]:
    """Read a page of a link's raw clicks, the newest first.

    Args:
        conn: Any connection.
        link_id: The link.
        period: When they were.
        bots: Which of them.
        after: Time and id of the last row of the page before.
        limit: Rows at most.
    """
    rows = await conn.fetch(
        """
        SELECT id, clicked_at, is_bot, country, browser, os, device, referrer, language, coalesce(variant, 'unknown')
        FROM clicks
        WHERE link_id = $1 AND clicked_at >= $2 AND clicked_at < $3
          AND ($4::boolean IS NULL OR is_bot = $4)
          AND ($5::timestamptz IS NULL OR clicked_at <= $5 AND (clicked_at, id) < ($5, $6::bigint))
        ORDER BY clicked_at DESC, id DESC LIMIT $7
        """,
        link_id,
        period.since,
        period.until,
        {"include": None, "exclude": False, "only": True}[bots],
        None if after is None else after.value,
        None if after is None else after.row_id,
        limit,
    )
    return [ClickRow(row["id"], row["clicked_at"], row["is_bot"], Dimensions(*list(row)[3:])) for row in rows]


def _statement(template: str, whose: StatsScope) -> str:
    """Fill in which counts are asked; all of it comes from this file."""
    if whose.link_id is not None:
        by, condition = "by_link", "link_id = $1::bigint"
    elif whose.owner is not None:
        by, condition = "by_owner", "owner = $1::text"
    else:
        by, condition = "by_owner", "$1::text IS NULL"
    return template.replace("<by>", by).replace("<whose>", condition)


def _columns(rows: Iterable[tuple[object, ...]], count: int) -> list[list[object]]:
    listed = list(rows)
    return [[row[place] for row in listed] for place in range(count)]


def _who(whose: StatsScope) -> int | str | None:
    return whose.owner if whose.link_id is None else whose.link_id


_NEVER = Period(EPOCH, EPOCH)

_TOTALS = """
    SELECT width_bucket(slot, $4::timestamptz[]) AS interval,
           coalesce(sum(clicks) FILTER (WHERE NOT is_bot), 0)::bigint AS humans,
           coalesce(sum(clicks) FILTER (WHERE is_bot), 0)::bigint AS bots
    FROM click_totals_<by> WHERE <whose> AND slot >= $2 AND slot < $3
    GROUP BY 1
"""

_VISITORS = """
    SELECT coalesce(sum(visitors) FILTER (WHERE NOT is_bot), 0)::bigint AS humans,
           coalesce(sum(visitors) FILTER (WHERE is_bot), 0)::bigint AS bots
    FROM click_uniques_<by> WHERE <whose> AND day >= $2 AND day < $3
"""

# Over all owners a visitor counts once for each of them, as in the counts by day. Of a packed click so much of the visitor is
# kept (VISITOR_BYTES of services/links/packed/chunks.py).
_RAW_COUNTS = """
    SELECT coalesce(sum(clicks) FILTER (WHERE NOT is_bot), 0)::bigint AS humans,
           coalesce(sum(clicks) FILTER (WHERE is_bot), 0)::bigint AS bots,
           count(visitor) FILTER (WHERE NOT is_bot) AS human_visitors,
           count(visitor) FILTER (WHERE is_bot) AS bot_visitors
    FROM (SELECT visitor, is_bot, sum(clicks) AS clicks
          FROM (SELECT owner, substring(visitor FOR 8) AS visitor, is_bot, 1 AS clicks FROM clicks
                WHERE <whose> AND clicked_at >= $2 AND clicked_at < $3
                UNION ALL
                SELECT owner, visitor, is_bot, clicks
                FROM unnest($4::text[], $5::bytea[], $6::boolean[], $7::bigint[])
                    AS packed (owner, visitor, is_bot, clicks)) AS raw
          GROUP BY owner, visitor, is_bot) AS visitors
"""

# Of the columns of a row of grouping sets only those that it is grouped by are not null.
_DIMENSIONS = """
    WITH counted AS (
        SELECT dimension, value, is_bot, sum(clicks) AS clicks
        FROM click_dimensions_<by> WHERE <whose> AND day >= $2 AND day < $3
        GROUP BY dimension, value, is_bot
        UNION ALL
        SELECT CASE WHEN country IS NOT NULL THEN 'country' WHEN browser IS NOT NULL THEN 'browser'
                    WHEN os IS NOT NULL THEN 'os' WHEN device IS NOT NULL THEN 'device'
                    WHEN referrer IS NOT NULL THEN 'referrer' WHEN language IS NOT NULL THEN 'language'
                    ELSE 'variant' END,
               coalesce(country, browser, os, device, referrer, language, variant), is_bot, count(*)
        FROM clicks
        WHERE <whose> AND (clicked_at >= $4 AND clicked_at < $5 OR clicked_at >= $6 AND clicked_at < $7)
        GROUP BY GROUPING SETS ((country, is_bot), (browser, is_bot), (os, is_bot), (device, is_bot), (referrer, is_bot),
                                (language, is_bot), (variant, is_bot))
        -- Most links have no variants.
        HAVING coalesce(country, browser, os, device, referrer, language, variant) IS NOT NULL
        UNION ALL
        SELECT dimension, value, is_bot, clicks
        FROM unnest($10::text[], $11::text[], $12::boolean[], $13::bigint[]) AS packed (dimension, value, is_bot, clicks)
    ), summed AS (
        SELECT dimension, value,
               coalesce(sum(clicks) FILTER (WHERE NOT is_bot), 0)::bigint AS humans,
               coalesce(sum(clicks) FILTER (WHERE is_bot), 0)::bigint AS bots
        FROM counted GROUP BY dimension, value
    ), wanted AS (
        SELECT dimension, value, humans, bots,
               CASE $9 WHEN 'exclude' THEN humans WHEN 'only' THEN bots ELSE humans + bots END AS clicks
        FROM summed
    ), ranked AS (
        SELECT dimension, value, humans, bots, clicks,
               row_number() OVER (PARTITION BY dimension ORDER BY value IS NULL, clicks DESC, value) AS place
        FROM wanted
    )
    SELECT dimension, CASE WHEN place <= $8 AND clicks > 0 THEN value END AS value,
           sum(humans)::bigint AS humans, sum(bots)::bigint AS bots
    FROM ranked GROUP BY 1, 2 ORDER BY dimension, min(place)
"""
