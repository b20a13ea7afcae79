"""Limited links: `POST /internal/claims` decides for redirect which visitors pass. nginx lets nobody else reach it.

The claims of all redirectors that arrive while one transaction runs are decided by the next one (`shared/joiner.py`). A link
lets exactly as many visitors through as its limit says, because each transaction locks the links' rows before it counts.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.links.state import state_of
from services.links.web.bodies import read_body
from services.links.web.errors import BodyTooSlow, Busy, Problem, Unavailable
from shared.changes import insert_changes
from shared.claims import LARGEST_CLAIMS_BYTES, MOST_CLAIMS, PATH, Claim, read_claims, write_verdicts
from shared.joiner import Joiner, TooManyWaiting, Waiting
from shared.postgres import Connection, Pool, connection
from shared.records import LinkKey

REMEMBERED = "1 minute"
"""The time for which a request id that was let through uses no other click. nginx repeats a visit for some 8 s."""

DELETED_AT_ONCE = 5_000

BATCHES_IN_FLIGHT = 2
DEADLINE_S = 1.0
"""Less than the deadline of redirect, which may not give up what is stored afterwards."""

CLAIMING = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
"""Settings of the sessions. The tables change so much that their statistics are always old, and a look-up is always right."""

router = APIRouter(include_in_schema=False)


class MalformedClaims(Problem):
    status, kind, title = HTTPStatus.BAD_REQUEST, "malformed-claims", "Malformed claims"


class Claimer:
    """Decides claims together, at most two batches at once.

    Args:
        pool: Connections of its own, so that a link that many visit takes none from the API.
        waiting_limit: The most claims that wait.
    """

    def __init__(self, pool: Pool, *, waiting_limit: int = 10_000) -> None:
        self._pool = pool
        self._joiner: Joiner[Claim, bool] = Joiner(
            self._decide, batches_in_flight=BATCHES_IN_FLIGHT, batch_size=MOST_CLAIMS, waiting_limit=waiting_limit
        )

    async def claim(self, claims: Sequence[Claim]) -> list[bool]:
        """Decide claims. When this returns, those that were granted are committed.

        Returns:
            Whether each was granted.

        Raises:
            Busy: Too many wait already.
            TimeoutError: It takes too long. Those that wait are dropped; a redirector that asks again learns the rest.
        """
        joined: list[asyncio.Future[bool]] = []
        try:
            async with asyncio.timeout(DEADLINE_S):
                joined.extend(map(self._joiner.join, claims))
                return await asyncio.gather(*joined)
        except TooManyWaiting:
            raise Busy("Too many visitors of limited links wait.") from None
        finally:
            for future in joined:
                future.cancel()

    async def _decide(self, batch: Sequence[Waiting[Claim, bool]]) -> None:
        # Nobody waits for the others any more, so they must not use up a click.
        awaited = [(claim, future) for claim, future in batch if not future.done()]
        if not awaited:
            return
        async with connection(self._pool, deadline_s=DEADLINE_S) as conn:
            granted = await decide_claims(conn, [claim for claim, _ in awaited])
        for claim, future in awaited:
            if not future.done():
                future.set_result(claim in granted)


@router.post(PATH)
async def take_claims(request: Request) -> Response:
    """Take claims, and answer with a list of 1 (the visitor passes) and 0. After any other status, ask again."""
    state = state_of(request)
    state.internal_tokens.check(request)
    try:
        claims = read_claims(await read_body(request, LARGEST_CLAIMS_BYTES, DEADLINE_S, name="The claims"))
    except BodyTooSlow:
        # The sender is a redirector of this site, which sends them again.
        raise Unavailable("The claims did not come in time.") from None
    except ValueError:
        raise MalformedClaims("The body is no list of claims.") from None
    verdicts = await state.claimer.claim(claims)
    state.metrics.count_claims(verdicts)
    return Response(write_verdicts(verdicts), media_type="text/plain")


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
