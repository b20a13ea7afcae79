"""The tables of claims: how many visitors each limited link has let through, and which requests these were.

A link lets exactly as many visitors through as its limit says, because each transaction locks the links' rows before it counts.
"""

from collections.abc import Sequence

from shared.changes import insert_changes
from shared.claims import Claim
from shared.postgres import Connection
from shared.records import LinkKey

REMEMBERED = "1 minute"
"""The time for which a request id that was let through uses no other click. nginx repeats a visit for some 8 s."""

DELETED_AT_ONCE = 5_000


async def decide_claims(conn: Connection, claims: Sequence[Claim]) -> set[Claim]:
    """Decide claims in a transaction of their own, the first ones first, and announce the links that they use up.

    Args:
        conn: A connection without a transaction.
        claims: Of any links. One that comes twice is one.

    Returns:
        The claims that are granted: there was room, the link has no limit any more, or they were granted before.
    """
    links = sorted({claim.link_id for claim in claims})
    await _insert_counts(conn, links)
    async with conn.transaction():
        # All transactions lock the rows in one order.
        await conn.execute(
            "SELECT FROM link_claims WHERE link_id = ANY ($1::bigint[]) ORDER BY link_id FOR NO KEY UPDATE", links
        )
        rows = await conn.fetch(
            """
            WITH asked AS MATERIALIZED (
                SELECT link_id, request_id, min(place) AS place
                FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS claims (link_id, request_id, place)
                GROUP BY link_id, request_id
            ), known AS MATERIALIZED (
                SELECT link_id, request_id FROM asked JOIN link_claim_requests USING (link_id, request_id)
            ), unlimited AS (
                SELECT link_id, request_id FROM asked JOIN links ON id = link_id
                WHERE max_clicks IS NULL AND deleted_at IS NULL
            ), fresh AS (
                SELECT link_id, request_id, domain, code, max_clicks, used,
                       row_number() OVER (PARTITION BY link_id ORDER BY place) AS turn
                FROM asked JOIN link_claims USING (link_id) JOIN links ON id = link_id
                WHERE deleted_at IS NULL AND (link_id, request_id) NOT IN (SELECT link_id, request_id FROM known)
            ), granted AS MATERIALIZED (
                SELECT * FROM fresh WHERE used + turn <= max_clicks
            ), counted AS (
                UPDATE link_claims AS counts SET used = counts.used + added.claims
                FROM (
                    SELECT link_id, domain, code, max_clicks, count(*) AS claims FROM granted
                    GROUP BY link_id, domain, code, max_clicks
                ) AS added
                WHERE counts.link_id = added.link_id AND counts.used + added.claims <= added.max_clicks
                RETURNING counts.link_id, domain, code, counts.used = max_clicks AS is_used_up
            ), remembered AS (
                INSERT INTO link_claim_requests (link_id, request_id)
                SELECT link_id, request_id FROM granted JOIN counted USING (link_id)
                RETURNING link_id, request_id
            )
            SELECT link_id, request_id, domain, code, is_used_up FROM remembered JOIN counted USING (link_id)
            UNION ALL SELECT link_id, request_id, NULL, NULL, false FROM known
            UNION ALL SELECT link_id, request_id, NULL, NULL, false FROM unlimited
            """,
            [claim.link_id for claim in claims],
            [claim.request_id for claim in claims],
        )
        used_up: set[LinkKey] = {(row["domain"], row["code"]) for row in rows if row["is_used_up"]}
        if used_up:
            await insert_changes(conn, sorted(used_up))
    return {Claim(row["link_id"], row["request_id"]) for row in rows}


async def lock_count(conn: Connection, link_id: int) -> None:
    """Keep others from counting a link's visitors until the transaction ends, which changes the limit.

    A claim counts before the change or after it, and one of the two announces that the link is used up.
    """
    await conn.execute(
        """
        INSERT INTO link_claims AS counts (link_id) VALUES ($1)
        ON CONFLICT (link_id) DO UPDATE SET used = counts.used
        """,
        link_id,
    )


async def delete_old_claims(conn: Connection, *, at_once: int = DELETED_AT_ONCE) -> None:
    """Forget the requests that were let through more than a minute ago, in parts; each stays done.

    Args:
        conn: A connection without a transaction.
        at_once: The rows of a part.
    """
    deleted = at_once
    while deleted == at_once:
        status = await conn.execute(
            """
            DELETE FROM link_claim_requests WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM link_claim_requests WHERE claimed_at < now() - $1::text::interval
                ORDER BY claimed_at LIMIT $2))
            """,
            REMEMBERED,
            at_once,
        )
        deleted = int(status.split()[-1])


async def _insert_counts(conn: Connection, links: Sequence[int]) -> None:
    """Begin to count the visitors of limited links. In a transaction of its own, so that no lock is taken out of order."""
    await conn.execute(
        """
        INSERT INTO link_claims (link_id)
        SELECT id FROM links
        WHERE id = ANY ($1::bigint[]) AND max_clicks IS NOT NULL
          AND NOT EXISTS (SELECT FROM link_claims WHERE link_id = links.id)
        ORDER BY id
        ON CONFLICT (link_id) DO NOTHING
        """,
        links,
    )
