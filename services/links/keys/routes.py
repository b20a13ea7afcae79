"""The API keys of the API: keys with the scope `admin` manage them, and every key can read its own owner and scopes.

The command `tinyurl keys` does the same on the host.
"""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import AnyKey, MayAdmin
from services.links.keys.rows import ApiKey, LastAdminKey, Owner, create_key, revoke_key, select_keys
from services.links.state import state_of
from services.links.web.errors import FieldError, InvalidInput, LastKeyKept, NotFound
from services.links.web.texts import Instant, OptionalTitle
from shared.api import USUAL_SCOPES, Scope
from shared.postgres import connection

router = APIRouter(prefix="/api/v1/keys", tags=["keys"], route_class=ApiRoute)


class KeyIn(BaseModel):
    """A key to create."""

    model_config = ConfigDict(extra="forbid", strict=True)

    owner: Owner = Field(description="Whose links the key sees; several keys may share one owner.")
    scopes: Annotated[list[Scope], Field(min_length=1)] = [*USUAL_SCOPES]
    name: OptionalTitle = None
    expires_at: Instant | None = None


class KeyOut(BaseModel):
    """A key, without its secret."""

    id: str
    owner: str
    name: str | None
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKeyOut(KeyOut):
    """A key that was just created; `key` is shown this once."""

    key: str


class KeyList(BaseModel):
    items: list[KeyOut]


@router.post("", status_code=201, summary="Create a key")
async def post_key(request: Request, body: KeyIn, caller: MayAdmin) -> NewKeyOut:
    """Create a key for an owner. Keep the answer's `key`: it cannot be shown again."""
    if body.expires_at is not None and body.expires_at <= datetime.now(UTC):
        raise InvalidInput(FieldError("expires_at", "must lie in the future"))
    state = state_of(request)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
        key, text = await create_key(
            conn, owner=body.owner, name=body.name, scopes=body.scopes, expires_at=body.expires_at
        )
    return NewKeyOut(**_key_out(key).model_dump(), key=text)


@router.get("", summary="List keys")
async def get_keys(request: Request, caller: MayAdmin) -> KeyList:
    """List all keys, the newest first, revoked ones included."""
    state = state_of(request)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
        return KeyList(items=[_key_out(key) for key in await select_keys(conn)])


@router.get("/current", summary="Read the key that you use")
async def get_current_key(key: AnyKey) -> KeyOut:
    """Tell the owner, scopes and end of the key that was sent; any valid key may ask."""
    return _key_out(key)


@router.delete("/{key_id}", status_code=204, response_class=Response, summary="Revoke a key")
async def delete_key(
    request: Request,
    key_id: str,
    caller: MayAdmin,
    force: Annotated[
        bool, Query(description="Revoke it also if it is the last valid key with the scope admin.")
    ] = False,
) -> None:
    """Revoke a key for good; it fails within a second. The last admin key is revoked with `?force=true` alone."""
    state = state_of(request)
    try:
        async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn, conn.transaction():
            if "\0" in key_id or not await revoke_key(conn, key_id, force=force):
                raise NotFound("There is no such key.")
    except LastAdminKey:
        raise LastKeyKept(
            "This is the last valid key with the scope admin: without it nobody can manage keys over the API. "
            "Repeat with ?force=true to revoke it all the same."
        ) from None


def _key_out(key: ApiKey) -> KeyOut:
    return KeyOut(
        id=key.id,
        owner=key.owner,
        name=key.name,
        scopes=list(key.scopes),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )
