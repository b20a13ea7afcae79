"""Requests that may be repeated: the answer to a POST with an `Idempotency-Key` is kept for 24 hours, per owner.

The key is taken in the transaction that stores the link, so either both are there or neither.
"""

import hashlib
from dataclasses import dataclass

from services.links.errors import IdempotencyConflict
from shared.postgres import Connection

REMEMBERED = "24 hours"
DELETED_AT_ONCE = 500
"""Answers, of at most 4.5 MB each."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered."""

    status: int
    body: str


async def recall_or_begin(conn: Connection, owner: str, key: str, request: bytes) -> Answer | None:
    """Take a key, or find the answer that it got before. A second request with it waits for the first.

    Args:
        conn: In the transaction that will store the answer.
        owner: Whose key it is.
        key: As the client sent it.
        request: What the client asked for, in one spelling.

    Returns:
        The answer, or None for a key that is new or older than 24 hours.

    Raises:
        IdempotencyConflict: The key came with another request before.
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
        return None
    row = await conn.fetchrow(
        "SELECT request_hash, status, response FROM remembered_requests WHERE owner = $1 AND key = $2", owner, key
    )
    assert row is not None, "the conflicting row is committed"
    if row["request_hash"] != request_hash:
        raise IdempotencyConflict("This Idempotency-Key came with another request before. Use a new one.")
    return Answer(row["status"], row["response"])


async def store_answer(conn: Connection, owner: str, key: str, answer: Answer) -> None:
    await conn.execute(
        "UPDATE remembered_requests SET status = $3, response = $4 WHERE owner = $1 AND key = $2",
        owner,
        key,
        answer.status,
        answer.body,
    )


async def delete_old_requests(conn: Connection, *, at_once: int = DELETED_AT_ONCE) -> int:
    """Purge what is older than 24 hours, in parts, each of which stays done if the next is interrupted.

    Args:
        conn: In no transaction.
        at_once: Rows of a part.

    Returns:
        How many rows went.
    """
    deleted = 0
    while True:
        # A key that is used again meanwhile has a new time and a new place.
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
