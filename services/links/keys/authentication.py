"""Finds the owner and the scopes of an API key. A verified key is believed for half a second, unless it expires."""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Annotated, Any, TypeVar

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from services.links.keys.rows import ApiKey, hash_secret, select_key, split_key
from services.links.state import state_of
from services.links.web.errors import Forbidden, Unauthenticated
from shared.api import Scope
from shared.postgres import FAILURES, Pool, connection

BELIEVED_S = 0.5
"""A revoked key fails within a second, and a busy client costs two look-ups a second."""

WATCHED_EVERY_S = 0.25
"""Long requests check their key this often. With the half second before, they end within a second after a revocation."""

REMEMBERED_KEYS = 10_000

T = TypeVar("T")

log = structlog.get_logger()

_documented = HTTPBearer(auto_error=False, scheme_name="API key", description="A key from `tinyurl keys create`.")


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a key, and its scopes."""

    owner: str
    scopes: tuple[str, ...]

    @property
    def is_admin(self) -> bool:
        return "admin" in self.scopes

    def may_see(self, owner: str) -> bool:
        return self.is_admin or owner == self.owner


class Keyring:
    """Verifies keys against the database, with a memory of half a second."""

    def __init__(self, pool: Pool, clock: Callable[[], float] = monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._verified: dict[str, tuple[float, ApiKey]] = {}
        self._lookups: dict[str, asyncio.Task[ApiKey]] = {}

    async def verify(self, text: str) -> ApiKey:
        """Find the key that a client sent.

        Raises:
            Unauthenticated: It is unknown, wrong, revoked or expired. The client is not told which.
        """
        until, key = self._verified.get(text, (0.0, None))
        if key is None or self._clock() >= until:
            key = await self._look_up_once(text)
        if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
            raise Unauthenticated(_UNAUTHENTICATED)
        return key

    async def _look_up_once(self, text: str) -> ApiKey:
        task = self._lookups.get(text)
        if task is None:
            task = self._lookups[text] = asyncio.create_task(self._look_up(text))
            task.add_done_callback(lambda _: self._lookups.pop(text))
        return await asyncio.shield(task)

    async def _look_up(self, text: str) -> ApiKey:
        parts = split_key(text)
        if parts is None:
            raise Unauthenticated(_UNAUTHENTICATED)
        key_id, secret = parts
        believed_until = self._clock() + BELIEVED_S
        async with connection(self._pool) as conn:
            key = await select_key(conn, key_id)
        expected = key.hash if key is not None else _NOBODY
        if not hmac.compare_digest(expected, hash_secret(secret)) or key is None or key.revoked_at is not None:
            raise Unauthenticated(_UNAUTHENTICATED)
        if len(self._verified) >= REMEMBERED_KEYS:
            self._verified.clear()
        self._verified[text] = (believed_until, key)
        return key


async def identify(request: Request) -> ApiKey:
    """Find the key that came with a request.

    Raises:
        Unauthenticated: There is no valid one.
    """
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer":
        raise Unauthenticated(_UNAUTHENTICATED)
    return await state_of(request).keyring.verify(text.strip())


async def authenticate(request: Request, *scopes: Scope) -> Caller:
    """Find out who calls, and check that the key has one of the scopes, or `admin`.

    Raises:
        Unauthenticated: There is no valid key.
        Forbidden: The key lacks the scopes.
    """
    return check_scopes(await identify(request), *scopes)


def check_scopes(key: ApiKey, *scopes: Scope) -> Caller:
    """Return the owner of a valid key that has one of the scopes, or `admin`.

    Raises:
        Forbidden: The key lacks the scopes.
    """
    if not {*scopes, "admin"} & set(key.scopes):
        raise Forbidden(f"This key lacks the scope {' or '.join(scopes)}.")
    return Caller(key.owner, key.scopes)


async def run_while_valid(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do work that takes long, and cancel it once the request's key is no longer valid.

    Raises:
        Unauthenticated: The key was revoked or has expired meanwhile; the work was cancelled.
    """
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=WATCHED_EVERY_S))[0]:
            try:
                await identify(request)
            except FAILURES as error:
                # Nobody knows whether the key is valid. The work needs the database, too, and fails by itself.
                log.warning("key_not_verified", error=type(error).__name__)
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


def require(*scopes: Scope) -> Callable[..., Awaitable[Caller]]:
    """Return `authenticate` as a dependency, with which the API's description says that the route asks for a key.

    `ApiRoute` calls it first, and FastAPI once more for the endpoint's argument.
    """

    async def dependency(request: Request, _: Annotated[object, Depends(_documented)]) -> Caller:
        return await authenticate(request, *scopes)

    return dependency


async def _any_key(request: Request, _: Annotated[object, Depends(_documented)]) -> ApiKey:
    return await identify(request)


MayRead = Annotated[Caller, Depends(require("links:read"))]
MayWrite = Annotated[Caller, Depends(require("links:write"))]
MayReadStats = Annotated[Caller, Depends(require("stats:read"))]
MayReadOrWrite = Annotated[Caller, Depends(require("links:read", "links:write"))]
MayAdmin = Annotated[Caller, Depends(require("admin"))]
AnyKey = Annotated[ApiKey, Depends(_any_key)]

_UNAUTHENTICATED = "Send a valid API key as `Authorization: Bearer KEY`."
_NOBODY = hashlib.sha256(b"").digest()
