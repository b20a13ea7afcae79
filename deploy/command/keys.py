"""`tinyurl keys`: creates, lists and revokes API keys, on the host, where that needs no key."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import TypeAdapter, ValidationError

from deploy.command.runner import Data, fail, load_command_settings, run
from deploy.command.up import DEFAULT_DATA
from services.links.keys.rows import LastAdminKey, Owner, create_key, revoke_key, select_keys
from shared.api import LONGEST_OWNER, SCOPES, USUAL_SCOPES
from shared.postgres import Connection, open_connection
from shared.settings import KeyCommandSettings

T = TypeVar("T")

keys = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="API keys, in the database of LINKS_DATABASE_URL or of the running `tinyurl up`.",
)


@keys.command()
def create(
    owner: Annotated[str, typer.Option(help="Whose links the key sees.")],
    scope: Annotated[list[str], typer.Option(help=f"One or more of {', '.join(SCOPES)}.")] = [*USUAL_SCOPES],  # noqa: B006  # typer copies it
    name: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; never if left out.")] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Create a key and print it, this once.

    Example: tinyurl keys create --owner alice --scope links:read --scope links:write
    """
    unknown = set(scope) - set(SCOPES)
    if unknown:
        raise typer.BadParameter(f"there is no scope {', '.join(sorted(unknown))}", param_hint="--scope")
    try:
        TypeAdapter(Owner).validate_python(owner)
    except ValidationError:
        raise typer.BadParameter(f"up to {LONGEST_OWNER} of letters, digits, . _ @ + -", param_hint="--owner") from None
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    _, text = _run(data, lambda conn: create_key(conn, owner=owner, name=name, scopes=scope, expires_at=expires_at))
    typer.echo(text)


@keys.command("list")
def list_keys(data: Data = DEFAULT_DATA) -> None:
    """List all keys, the newest first."""
    for key in _run(data, select_keys):
        state = "revoked" if key.revoked_at else "expired" if key.expires_at and key.expires_at <= _now() else "valid"
        typer.echo(
            f"{key.id}  {state:7}  {key.created_at:%Y-%m-%d}  {key.owner}  {','.join(key.scopes)}  {key.name or ''}".rstrip()
        )


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id from `tinyurl keys list`, or the key itself.")],
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Revoke also the last valid key with the scope admin.")
    ] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Revoke a key for good; it fails within a second.

    Example: tinyurl keys revoke 0123456789ab
    """
    wanted = key_id.split("_")[1] if key_id.startswith("tu_") else key_id

    async def revoke_in_transaction(conn: Connection) -> bool:
        async with conn.transaction():
            return await revoke_key(conn, wanted, force=force)

    try:
        is_known = _run(data, revoke_in_transaction)
    except LastAdminKey:
        fail("keys revoke", f"{wanted} is the last valid key with the scope admin; --force revokes it all the same")
    if not is_known:
        fail("keys revoke", f"there is no key {wanted}")
    typer.echo(f"revoked {wanted}")


def _run(data: Path, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do something on a connection to the database of the environment or of a `tinyurl up`."""
    settings = load_command_settings(KeyCommandSettings, data)

    async def connect_and_work() -> T:
        async with open_connection(settings.links_database_url.get_secret_value(), "keys") as conn:
            return await work(conn)

    return run("keys: the database cannot be used", connect_and_work())


def _now() -> datetime:
    return datetime.now(UTC)
