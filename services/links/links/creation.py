"""Creates links with generated codes: those that arrive while one statement runs are stored by the next one together.

The route awaits one link; the statement and its commit are shared by all that waited.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg
import structlog

from services.links.links.rows import LinkFields, LinkRow, NewLink, insert_links
from services.links.web.errors import Busy
from shared.codes import generate_code
from shared.joiner import Joiner, TooManyWaiting, Waiting
from shared.postgres import UNAVAILABLE, Connection, Pool, connection

BATCH_SIZE = 500
BATCHES_IN_FLIGHT = 2
WAITING_LIMIT = 10_000

CODE_ATTEMPTS = 10
"""Ten random codes that are all taken mean that something is wrong with the codes, not with luck."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wish:
    """A link that wants a generated code."""

    domain: str
    owner: str
    fields: LinkFields


class NoFreeCode(Exception):
    """Every code that was drawn is taken."""


async def insert_drawn(
    conn: Connection, wishes: Sequence[Wish], draw: Callable[[], str] = generate_code
) -> list[LinkRow | None]:
    """Draw a code for each wish and store them all in one statement.

    Returns:
        A row for each wish, or None where the code that was drawn is taken.
    """
    # Two of one batch may draw one code: the later keeps it.
    places = {(wish.domain, draw()): n for n, wish in enumerate(wishes)}
    new = [NewLink(domain, code, wishes[n].owner, wishes[n].fields) for (domain, code), n in places.items()]
    # In one order in every statement, so that no two wait for each other.
    stored = await insert_links(conn, sorted(new, key=lambda link: link.key))
    rows: list[LinkRow | None] = [None] * len(wishes)
    for key, row in stored.items():
        rows[places[key]] = row
    return rows


async def insert_generated(conn: Connection, wish: Wish) -> LinkRow:
    """Store one link under a generated code, as a part of the caller's transaction.

    Raises:
        NoFreeCode: Ten codes were drawn, all of them taken.
    """
    (row,) = await insert_all_generated(conn, [wish])
    return row


async def insert_all_generated(conn: Connection, wishes: Sequence[Wish]) -> list[LinkRow]:
    """Store links under generated codes, as a part of the caller's transaction; a row for each wish.

    Raises:
        NoFreeCode: Ten codes were drawn for a wish, all of them taken.
    """
    rows: list[LinkRow | None] = [None] * len(wishes)
    for _ in range(CODE_ATTEMPTS):
        places = [n for n, row in enumerate(rows) if row is None]
        if not places:
            break
        for place, row in zip(places, await insert_drawn(conn, [wishes[n] for n in places]), strict=True):
            rows[place] = row
    stored = [row for row in rows if row is not None]
    if len(stored) < len(wishes):
        raise NoFreeCode
    return stored


class Creator:
    """Creates links with generated codes, together (`shared/joiner.py`). At most two statements are under way."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._joiner: Joiner[Wish, LinkRow] = Joiner(
            self._store_batch,
            batches_in_flight=BATCHES_IN_FLIGHT,
            batch_size=BATCH_SIZE,
            waiting_limit=WAITING_LIMIT,
        )

    async def create(self, wish: Wish) -> LinkRow:
        """Store a link under a generated code; it is committed when this returns.

        Raises:
            Busy: Too many wait already.
        """
        try:
            created = self._joiner.join(wish)
        except TooManyWaiting:
            raise Busy("Too many links are being created at once.") from None
        return await created

    async def _store_batch(self, batch: Sequence[Waiting[Wish, LinkRow]]) -> None:
        """Store a batch; if Postgres refuses it, find the link that it minds by storing them one by one."""
        try:
            for _ in range(CODE_ATTEMPTS):
                batch = await self._store(batch)
                if not batch:
                    return
            raise NoFreeCode
        except asyncpg.PostgresError as error:
            # If the server is away, whether it committed may be unknown: to repeat could store every link twice.
            if isinstance(error, UNAVAILABLE) or len(batch) == 1:
                raise
            log.warning("batch_refused", links=len(batch), error=type(error).__name__)
        for each in batch:
            await self._joiner.run([each])

    async def _store(self, batch: Sequence[Waiting[Wish, LinkRow]]) -> list[Waiting[Wish, LinkRow]]:
        """Store a batch in one statement, which is its own transaction.

        Returns:
            Those that need another code.
        """
        async with connection(self._pool) as conn:
            rows = await insert_drawn(conn, [wish for wish, _ in batch])
        for (_, future), row in zip(batch, rows, strict=True):
            if row is not None and not future.done():
                future.set_result(row)
        return [waiting for waiting, row in zip(batch, rows, strict=True) if row is None]
