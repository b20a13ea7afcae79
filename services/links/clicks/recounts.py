"""The order of links by their counters, and the humans among clicks where whoever counted these did not tell them apart.

The second are the links from before the column, and those that the release before clicked during a deployment, which a trigger
notes. `services/links/upkeep.py` calls this; each step is a short transaction, and what was done is done.
"""

from collections.abc import Sequence

from shared.postgres import Connection

STEP_IDS = 2000
STEP_LINKS = 500
STEP_BATCHES = 5


async def sort_clicked(conn: Connection) -> int:
    """Bring the order of the links of some batches of clicks up to date: once for many clicks of a link.

    Returns:
        How many batches; call it again while there are any. Several processes take different ones.
    """
    async with conn.transaction():
        rows = await conn.fetch(
            "SELECT id, link_ids FROM clicked_links ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED", STEP_BATCHES
        )
        await conn.execute(
            """
            WITH locked AS MATERIALIZED (
                SELECT id FROM links
                WHERE id = ANY ($1) AND (clicks_sorted <> clicks OR humans_sorted <> humans)
                ORDER BY id FOR NO KEY UPDATE)
            UPDATE links SET clicks_sorted = clicks, humans_sorted = humans FROM locked WHERE links.id = locked.id
            """,
            sorted({link_id for row in rows for link_id in row["link_ids"]}),
        )
        await conn.execute("DELETE FROM clicked_links WHERE id = ANY ($1)", [row["id"] for row in rows])
    return len(rows)


async def recount_noted(conn: Connection) -> int:
    """Recount some of the links that were noted.

    Returns:
        How many; call it again while there are any.
    """
    async with conn.transaction():
        rows = await conn.fetch("SELECT link_id FROM links_to_recount ORDER BY link_id LIMIT $1", STEP_LINKS)
        await _recount(conn, [row["link_id"] for row in rows])
    return len(rows)


async def recount_old(conn: Connection) -> bool:
    """Recount the next links that were there before the column.

    Returns:
        Whether there are more; one process at a time does it.
    """
    async with conn.transaction():
        place = await conn.fetchrow(
            "SELECT reached, last FROM links_recounted WHERE reached < last FOR UPDATE SKIP LOCKED"
        )
        if place is None:
            return False
        end = min(place["reached"] + STEP_IDS, place["last"])
        rows = await conn.fetch(
            "SELECT id FROM links WHERE id > $1 AND id <= $2 AND clicks <> humans + bots", place["reached"], end
        )
        await _recount(conn, [row["id"] for row in rows])
        await conn.execute("UPDATE links_recounted SET reached = $1", end)
    return bool(end < place["last"])


async def _recount(conn: Connection, ids: Sequence[int]) -> None:
    """Set the humans of links to what the quarter-hours have of them.

    A batch of clicks adds to the quarter-hours first and to the links last. Once the links are locked, a batch is in both or,
    for the statement that begins then, in neither.
    """
    if not ids:
        return
    await conn.execute("SELECT FROM links WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE", ids)
    await conn.execute(
        """
        WITH counted AS (
            SELECT id, least(clicks, (SELECT coalesce(sum(t.clicks), 0)::bigint FROM click_totals_by_link AS t
                                      WHERE t.link_id = links.id AND NOT t.is_bot)) AS humans
            FROM links WHERE id = ANY ($1))
        UPDATE links
        SET humans = counted.humans, bots = clicks - counted.humans, clicks_sorted = clicks, humans_sorted = counted.humans
        FROM counted WHERE links.id = counted.id
        """,
        ids,
    )
    await conn.execute("DELETE FROM links_to_recount WHERE link_id = ANY ($1)", ids)
