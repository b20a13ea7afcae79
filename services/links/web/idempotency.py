"""Requests that clients may repeat: the answer to a POST with an `Idempotency-Key` is kept for 24 hours.

The transaction that stores the link also stores the key, so both are there or neither is. An owner whose memory is full can use
no new key until the oldest are a day old, because a key is never forgotten earlier.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from services.links.web.errors import IdempotencyConflict, IdempotencyFull
from shared.postgres import Connection

REMEMBERED = "24 hours"
DELETED_AT_ONCE = 500
"""The number of answers in a statement. Each has at most 4.5 MB."""

MOST_REQUESTS = 200_000
MOST_BYTES = 64 * 2**20
"""The bytes of an owner's answers in Postgres (270 kB for a batch of 10,000 rows). The limit is rough, because a
process reads them only now and then."""

LOOKED_AT_EVERY_S = 10.0
REMEMBERED_OWNERS = 10_000
LARGE_ANSWER = 10_000


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer to a request."""

    status: int
    body: str


@dataclass(slots=True)
class _Usage:
    """The room that an owner's answers took when it was read, and the requests that this process has added since."""

    until: float
    requests: int
    size: int


class AnswerMemory:
    """Knows how full the memory of each owner is.

    Args:
        most_requests: The most requests of an owner.
        most_bytes: The most bytes of their answers.
        looked_at_every_s: The time after which the room of an owner is read again.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        *,
        most_requests: int = MOST_REQUESTS,
        most_bytes: int = MOST_BYTES,
        looked_at_every_s: float = LOOKED_AT_EVERY_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._looked_at_every_s = looked_at_every_s
        self._clock = clock
        self._usages: dict[str, _Usage] = {}

    async def check(self, conn: Connection, owner: str) -> None:
        """Refuse another request if the memory of the owner is full.

        Raises:
            IdempotencyFull: It is full.
        """
        usage = self._usages.get(owner)
        if usage is None or self._clock() >= usage.until:
            if len(self._usages) >= REMEMBERED_OWNERS:
                self._usages.clear()
            usage = _Usage(self._clock() + self._looked_at_every_s, *await _select_usage(conn, owner))
            self._usages[owner] = usage
        if usage.requests >= self._most_requests or usage.size >= self._most_bytes:
            raise IdempotencyFull(
                "Too many of your requests with an Idempotency-Key are remembered. Wait until the oldest are a day old, "
                "or send requests without one."
            )
        usage.requests += 1

    def look_again(self, owner: str) -> None:
        """Make the next check read from Postgres, because a large answer was added."""
        self._usages.pop(owner, None)


async def recall_or_begin(
    conn: Connection, memory: AnswerMemory, owner: str, key: str, request: bytes
) -> StoredAnswer | None:
    """Take a key, or find the answer that it got before. A second request with it waits for the first.

    Args:
        conn: A connection in the transaction that will store the answer.
        memory: Knows whether there is room for the answer.
        owner: The owner of the key.
        key: The key, as the client sent it.
        request: The request in one spelling.

    Returns:
        The answer, or None for a key that is new or older than 24 hours.

    Raises:
        IdempotencyConflict: The key came with another request before.
        IdempotencyFull: The key is new, and the owner's memory is full.
    """
    request_hash = hashlib.sha256(request).digest()
    is_new = await conn.fetchval(
        """
        INSERT INTO remembered_requests AS r (owner, key, request_hash) VALUES ($1, $2, $3)
        ON CONFLICT (owner, key) DO UPDATE
            SET request_hash = $3, status = NULL, response = NULL, created_at = now()
            WHERE r.created_at < now() - $4::text::interval
        RETURNING true
        """,
        owner,
        key,
        request_hash,
        REMEMBERED,
    )
    if is_new:
        await memory.check(conn, owner)
        return None
    row = await conn.fetchrow(
        "SELECT request_hash, status, response FROM remembered_requests WHERE owner = $1 AND key = $2", owner, key
    )
    assert row is not None, "the conflicting row is committed"
    if row["request_hash"] != request_hash:
        raise IdempotencyConflict("This Idempotency-Key came with another request before. Use a new one.")
    return StoredAnswer(row["status"], row["response"])


async def store_answer(conn: Connection, memory: AnswerMemory, owner: str, key: str, answer: StoredAnswer) -> None:
    """Keep the answer of a key that was taken in this transaction."""
    if len(answer.body) > LARGE_ANSWER:
        memory.look_again(owner)
    await conn.execute(
        "UPDATE remembered_requests SET status = $3, response = $4 WHERE owner = $1 AND key = $2",
        owner,
        key,
        answer.status,
        answer.body,
    )


async def forget_request(conn: Connection, owner: str, key: str) -> None:
    """Release a key that was taken in this transaction, because a request that did nothing may be sent again."""
    await conn.execute("DELETE FROM remembered_requests WHERE owner = $1 AND key = $2", owner, key)


async def _select_usage(conn: Connection, owner: str) -> tuple[int, int]:
    """Return the number of an owner's stored answers, and their bytes."""
    row = await conn.fetchrow(
        """
        SELECT count(*) AS requests, coalesce(sum(pg_column_size(response) + 200), 0)::bigint AS size
        FROM remembered_requests WHERE owner = $1
        """,
        owner,
    )
    assert row is not None, "an aggregate has one row"
    return row["requests"], row["size"]


async def delete_old_requests(conn: Connection, *, at_once: int = DELETED_AT_ONCE) -> int:
    """Delete requests that are older than 24 hours, in parts. Each part stays done if the next is interrupted.

    Args:
        conn: A connection without a transaction.
        at_once: The number of rows of a part.

    Returns:
        The number of deleted rows.
    """
    deleted = 0
    while True:
        # A key that was used again meanwhile has a new time and a new ctid.
        status = await conn.execute(
            """
            DELETE FROM remembered_requests WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM remembered_requests WHERE created_at < now() - $1::text::interval
                ORDER BY created_at LIMIT $2))
              AND created_at < now() - $1::text::interval
            """,
            REMEMBERED,
            at_once,
        )
        part = int(status.split()[-1])
        deleted += part
        if not part:
            return deleted
