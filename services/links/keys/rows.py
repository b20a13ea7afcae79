"""API keys, stored as a hash: every statement on their table is here, for the routes and for the command `tinyurl keys`.

A key reads `tu_<id>_<secret>`: the id finds the row, the secret (256 bits) is compared by its SHA-256.
"""

import hashlib
import hmac
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import StringConstraints

from shared.api import LONGEST_OWNER
from shared.postgres import Connection

Owner = Annotated[str, StringConstraints(pattern=rf"^[0-9A-Za-z][0-9A-Za-z._@+-]{{0,{LONGEST_OWNER - 1}}}$")]
"""The owner of links: a user, a team, a program."""

_ALPHABET = string.digits + string.ascii_letters
_ID_LENGTH = 12
_SECRET_LENGTH = 43


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A row of `api_keys`; `hash` is the SHA-256 of the secret."""

    id: str
    hash: bytes
    owner: str
    name: str | None
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


def generate_key() -> tuple[str, str, str]:
    """Draw a key: its id, its secret, and the text that the client keeps."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    return key_id, secret, f"tu_{key_id}_{secret}"


def split_key(text: str) -> tuple[str, str] | None:
    """Split the text of a key into id and secret; None if it does not look like a key."""
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != "tu" or len(key_id) != _ID_LENGTH or len(secret) != _SECRET_LENGTH or not text.isascii():
        return None
    return key_id, secret


def hash_secret(secret: str) -> bytes:
    """Hash a secret. SHA-256 is enough, because nobody can guess 256 random bits (OWASP ASVS 6.5.2)."""
    return hashlib.sha256(secret.encode()).digest()


async def create_key(
    conn: Connection,
    *,
    owner: str,
    name: str | None = None,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make and store a key.

    Returns:
        The row, and the key's text, which is nowhere else.
    """
    key_id, secret, text = generate_key()
    row = await conn.fetchrow(
        """
        INSERT INTO api_keys (id, hash, owner, name, scopes, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
        RETURNING id, hash, owner, name, scopes, created_at, expires_at, revoked_at
        """,
        key_id,
        hash_secret(secret),
        owner,
        name,
        list(scopes),
        expires_at,
    )
    assert row is not None
    return _key(tuple(row)), text


async def renew_key(
    conn: Connection, *, owner: str, name: str, scopes: Sequence[str], expires_at: datetime
) -> tuple[ApiKey, str] | None:
    """Give another id and secret to the row of an old key, so that a program that makes keys again and again adds no rows.

    Returns:
        The row, and the key's text; None if the owner has no key of this name that was revoked or has expired.
    """
    key_id, secret, text = generate_key()
    row = await conn.fetchrow(
        """
        UPDATE api_keys SET id = $3, hash = $4, scopes = $5, created_at = now(), expires_at = $6, revoked_at = NULL
        WHERE id = (
            SELECT id FROM api_keys WHERE owner = $1 AND name = $2 AND (revoked_at IS NOT NULL OR expires_at < now())
            ORDER BY created_at DESC LIMIT 1 FOR UPDATE SKIP LOCKED
        )
        RETURNING id, hash, owner, name, scopes, created_at, expires_at, revoked_at
        """,
        owner,
        name,
        key_id,
        hash_secret(secret),
        list(scopes),
        expires_at,
    )
    return None if row is None else (_key(tuple(row)), text)


async def select_key(conn: Connection, key_id: str) -> ApiKey | None:
    row = await conn.fetchrow(
        "SELECT id, hash, owner, name, scopes, created_at, expires_at, revoked_at FROM api_keys WHERE id = $1", key_id
    )
    return None if row is None else _key(tuple(row))


async def is_valid_key(conn: Connection, text: str, scopes: Sequence[str]) -> bool:
    """Return whether a key exists, is neither revoked nor expired, and has all of the scopes."""
    parts = split_key(text)
    key = None if parts is None else await select_key(conn, parts[0])
    return (
        parts is not None
        and key is not None
        and hmac.compare_digest(key.hash, hash_secret(parts[1]))
        and key.revoked_at is None
        and (key.expires_at is None or key.expires_at > datetime.now(UTC))
        and set(scopes) <= set(key.scopes)
    )


async def select_keys(conn: Connection) -> list[ApiKey]:
    """Return all keys, the newest first. Revoked ones explain old logs."""
    rows = await conn.fetch(
        """
        SELECT id, hash, owner, name, scopes, created_at, expires_at, revoked_at FROM api_keys
        ORDER BY created_at DESC, id
        """
    )
    return [_key(tuple(row)) for row in rows]


class LastAdminKey(Exception):
    """A key was not revoked, because no other valid one has the scope `admin`."""


async def revoke_key(conn: Connection, key_id: str, *, force: bool = False) -> bool:
    """Revoke a key for good; it fails within a second.

    Args:
        conn: A connection in a transaction, so that two admins cannot revoke each other's key at the same time.
        key_id: The id of the key.
        force: Revoke it also if it is the last valid key with the scope `admin`.

    Returns:
        Whether there is such a key. A key that was revoked before keeps its time.

    Raises:
        LastAdminKey: It is the last one, and `force` was not given.
    """
    admins = await conn.fetch(
        """
        SELECT id FROM api_keys
        WHERE 'admin' = ANY (scopes) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
        ORDER BY id FOR UPDATE
        """
    )
    if not force and [row["id"] for row in admins] == [key_id]:
        raise LastAdminKey
    status = await conn.execute("UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1", key_id)
    return status == "UPDATE 1"


def _key(row: tuple[object, ...]) -> ApiKey:
    key_id, key_hash, owner, name, scopes, *times = row
    return ApiKey(key_id, key_hash, owner, name, tuple(scopes), *times)  # type: ignore[arg-type]  # columns in the order of the fields
