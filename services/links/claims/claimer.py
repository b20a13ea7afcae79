"""Decides claims together: those of all redirectors that arrive while one transaction runs are decided by the next one."""

import asyncio
from collections.abc import Sequence

from services.links.claims.rows import decide_claims
from services.links.web.errors import Busy
from shared.claims import MOST_CLAIMS, Claim
from shared.joiner import Joiner, TooManyWaiting, Waiting
from shared.postgres import Pool, connection

BATCHES_IN_FLIGHT = 2
DEADLINE_S = 1.0
"""Less than the deadline of redirect, which may not give up what is stored afterwards."""

CLAIMING = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
"""Settings of the sessions. The tables change so much that their statistics are always old, and a look-up is always right."""


class Claimer:
    """Two batches run at once, at most.

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
