"""The work that clicks need by the clock: partitions ahead, old keys deleted, counts and links sorted, humans recounted.

`services/links/upkeep.py` calls these by the clock, a click worker the first before its first batch, and `tinyurl retention`
the last three. Each step is a short transaction, and what was done is done. Days are UTC.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import asyncpg
import structlog

from shared.postgres import Connection

PARTITIONS_AHEAD = 3
DELETED_AT_ONCE = 20_000

SORTED_AFTER_DAYS = 2
SORTED_BACK_DAYS = 7
"""Days before those that are still sorted, when nobody was there to do it in time."""

SORT_TIMEOUT = "5min"

STEP_IDS = 2000
STEP_LINKS = 500
STEP_BATCHES = 100

log = structlog.get_logger()


async def create_partitions(conn: Connection, today: date) -> None:
    """Create the partitions of today and of the days to come, where they are missing."""
    for ahead in range(PARTITIONS_AHEAD + 1):
        await conn.execute("SELECT create_click_partition($1)", today + timedelta(days=ahead))


async def delete_old_visitors(conn: Connection, today: date) -> int:
    """Delete the keys of the days before yesterday, 48 hours after their day began, and some of the visitors they made.

    Returns:
        Rows deleted; call it again while there are any.
    """
    before = today - timedelta(days=1)
    statuses = [
        await _delete_old_keys(conn, before),
        await conn.execute(
            """
            DELETE FROM click_visitors WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM click_visitors WHERE day < $1 LIMIT $2))
            """,
            before,
            DELETED_AT_ONCE,
        ),
        await conn.execute(
            """
            DELETE FROM click_visitors_of_owners WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM click_visitors_of_owners WHERE day < $1 LIMIT $2))
            """,
            before,
            DELETED_AT_ONCE,
        ),
    ]
    return sum(int(status.split()[-1]) for status in statuses)


async def _delete_old_keys(conn: Connection, before: date) -> str:
    """Delete keys, and note in the same moment that no new ones may be drawn.

    The note follows the clock in both directions: one that was ahead for a while must not keep visitors from being counted.
    """
    return await conn.execute(
        """
        WITH noted AS (
            INSERT INTO click_keys_deleted AS kept (before) VALUES ($1)
            ON CONFLICT (is_only_row) DO UPDATE SET before = excluded.before WHERE kept.before <> excluded.before)
        DELETE FROM click_keys WHERE day < $1
        """,
        before,
    )


async def sort_counts(conn: Connection, today: date, *, statement_timeout: str = SORT_TIMEOUT) -> list[date]:
    """Put the counts of days that are over into the order of the links, so that those of a link are read together.

    A day for which the time is too short is left as it is: trying again would take as long.

    Returns:
        The days that were sorted, which each day is once.
    """
    rows = await conn.fetch(
        """
        SELECT wanted::date AS day FROM generate_series($1::date, $2::date, interval '1 day') AS wanted
        WHERE NOT EXISTS (SELECT FROM click_sorted_days WHERE day = wanted::date)
        """,
        today - timedelta(days=SORTED_AFTER_DAYS + SORTED_BACK_DAYS),
        today - timedelta(days=SORTED_AFTER_DAYS),
    )
    done = []
    for row in rows:
        try:
            async with conn.transaction():
                await conn.execute("SELECT set_config('statement_timeout', $1, true)", statement_timeout)
                if await conn.fetchval("SELECT sort_click_counts($1)", row["day"]):
                    done.append(row["day"])
        except asyncpg.QueryCanceledError:
            log.warning("counts_left_unsorted", day=str(row["day"]))
            await conn.execute("INSERT INTO click_sorted_days (day) VALUES ($1) ON CONFLICT DO NOTHING", row["day"])
    return done


async def sort_clicked(conn: Connection) -> int:
    """Bring the order of links up to date after some batches of clicks: once for many clicks of a link.

    The links are locked in short steps, because clicks and edits wait for them. A batch is forgotten after the last step, and
    what is done twice changes nothing.

    Returns:
        How many batches; call it again while there are any.
    """
    rows = await conn.fetch("SELECT id, link_ids FROM clicked_links ORDER BY id LIMIT $1", STEP_BATCHES)
    ids = sorted({link_id for row in rows for link_id in row["link_ids"]})
    for first in range(0, len(ids), STEP_LINKS):
        await conn.execute(
            """
            WITH locked AS MATERIALIZED (
                SELECT id FROM links
                WHERE id = ANY ($1) AND (clicks_sorted <> clicks OR humans_sorted <> humans)
                ORDER BY id FOR NO KEY UPDATE)
            UPDATE links SET clicks_sorted = clicks, humans_sorted = humans FROM locked WHERE links.id = locked.id
            """,
            ids[first : first + STEP_LINKS],
        )
    await conn.execute("DELETE FROM clicked_links WHERE id = ANY ($1)", [row["id"] for row in rows])
    return len(rows)


async def recount_noted(conn: Connection) -> int:
    """Recount the humans of some links whose clicks the release before stored during a deployment. A trigger notes them.

    Returns:
        How many; call it again while there are any.
    """
    async with conn.transaction():
        rows = await conn.fetch("SELECT link_id FROM links_to_recount ORDER BY link_id LIMIT $1", STEP_LINKS)
        await _recount(conn, [row["link_id"] for row in rows])
    return len(rows)


async def recount_old(conn: Connection, step_ids: int = STEP_IDS) -> bool:
    """Recount the humans of the next links from before the column.

    Args:
        conn: In no transaction.
        step_ids: The range of ids that is looked at.

    Returns:
        Whether there are more; one process at a time does it.
    """
    async with conn.transaction():
        place = await conn.fetchrow(
            "SELECT reached, last FROM links_recounted WHERE reached < last FOR UPDATE SKIP LOCKED"
        )
        if place is None:
            return False
        end = min(place["reached"] + step_ids, place["last"])
        rows = await conn.fetch(
            "SELECT id FROM links WHERE id > $1 AND id <= $2 AND clicks <> humans + bots", place["reached"], end
        )
        await _recount(conn, [row["id"] for row in rows])
        await conn.execute("UPDATE links_recounted SET reached = $1", end)
    return bool(end < place["last"])


async def _recount(conn: Connection, ids: Sequence[int]) -> None:
    """Set the humans of links to the sum of their quarter-hours, their packed days, and those that were imported.

    A batch of clicks adds to these first and to the links last. Once the links are locked, a batch is in both or,
    for the statement that begins then, in neither.
    """
    if not ids:
        return
    await conn.execute("SELECT FROM links WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE", ids)
    await conn.execute(
        """
        WITH counted AS (
            SELECT id, least(clicks, (SELECT coalesce(sum(t.clicks), 0)::bigint FROM click_totals_by_link AS t
                                      WHERE t.link_id = links.id AND NOT t.is_bot)
                                   + (SELECT coalesce(sum(d.humans), 0)::bigint FROM click_days AS d
                                      WHERE d.link_id = links.id AND d.owner = '' AND d.format > 0)
                                   + imported_humans) AS humans
            FROM links WHERE id = ANY ($1))
        UPDATE links
        SET humans = counted.humans, bots = clicks - counted.humans, clicks_sorted = clicks, humans_sorted = counted.humans
        FROM counted WHERE links.id = counted.id
        """,
        ids,
    )
    await conn.execute("DELETE FROM links_to_recount WHERE link_id = ANY ($1)", ids)


async def select_partitions(conn: Connection) -> list[date]:
    """Returns the days that have a partition of their own."""
    rows = await conn.fetch(
        r"""
        SELECT to_date(right(relname, 8), 'YYYYMMDD') AS day FROM pg_inherits JOIN pg_class ON oid = inhrelid
        WHERE inhparent = 'clicks'::regclass AND relname ~ '^clicks_\d{8}$' ORDER BY day
        """
    )
    return [row["day"] for row in rows]


async def drop_partition(conn: Connection, day: date) -> None:
    await conn.execute("SELECT drop_click_partition($1)", day)


async def delete_from_default(conn: Connection, before: date) -> int:
    """Delete some of the clicks of the days before that have no partition.

    Returns:
        Rows deleted; call it again while there are any.
    """
    status = await conn.execute(
        """
        DELETE FROM clicks_default WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM clicks_default WHERE clicked_at < ($1::date)::timestamp AT TIME ZONE 'UTC' LIMIT $2))
        """,
        before,
        DELETED_AT_ONCE,
    )
    return int(status.split()[-1])
