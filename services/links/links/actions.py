"""What is done with one link: the steps that the API's routes and the foreign APIs (`services/links/compat/`) have in common.

Each function takes the caller's turn, opens the transaction, calls the statements in `rows.py`, and announces the change last.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from services.links.claims.rows import lock_count
from services.links.keys.authentication import Caller
from services.links.links.checks import changed_fields, check_seen, new_draft
from services.links.links.creation import Outcome, announce_links, store_links
from services.links.links.forms import LinkIn, LinkPatch
from services.links.links.rows import LinkDraft, LinkRow, delete_link, lock_link, select_link, update_link
from services.links.state import LinksState
from services.links.web.versions import check_version
from shared.changes import insert_change
from shared.postgres import Connection, connection
from shared.records import LinkKey


async def draft_link(state: LinksState, caller: Caller, body: LinkIn) -> LinkDraft:
    """Check a new link, and hash its password."""
    draft = new_draft(body, caller.owner, state.site)
    return draft if draft.password is None else draft.hashed(await _hash(state, caller, draft.password))


async def create_link(state: LinksState, caller: Caller, draft: LinkDraft) -> Outcome:
    """Store a link, or find one that is as good. When this returns, it is committed.

    Raises:
        CodeTaken: Its code is or was in use.
    """
    if not draft.code and not draft.find_existing:
        async with state.shares.creations.turn(caller.owner):
            return Outcome(await state.creator.create(draft), is_new=True)
    async with transaction(state, caller) as conn:
        outcome = await store_link(conn, draft)
        await announce_links(conn, [draft], [outcome])
    return outcome


async def store_link(conn: Connection, draft: LinkDraft) -> Outcome:
    """Store a link in the transaction of the caller, who announces it at the end."""
    (outcome,) = await store_links(conn, draft.owner, [draft])
    if not isinstance(outcome, Outcome):
        raise outcome
    return outcome


async def read_link(state: LinksState, caller: Caller, key: LinkKey) -> LinkRow:
    """Read a link that the caller may see.

    Raises:
        NotFound: There is none.
    """
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
        return check_seen(await select_link(conn, key), caller)


async def edit_link(
    state: LinksState, caller: Caller, key: LinkKey, body: LinkPatch, if_match: str | None = None
) -> LinkRow:
    """Change fields of a link.

    Raises:
        NotFound: There is none that the caller may see.
        VersionMismatch: It has another version than `if_match` says.
    """
    password_hash = None if body.password is None else await _hash(state, caller, body.password)
    async with transaction(state, caller) as conn:
        row = check_seen(await lock_link(conn, key), caller)
        check_version(row.version, if_match)
        fields = changed_fields(row.fields, body, state.site, password_hash, key[1])
        if fields != row.fields:
            if fields.max_clicks != row.fields.max_clicks:
                await lock_count(conn, row.id)
            row = await update_link(conn, key, fields)
            await insert_change(conn, key)
    return row


async def remove_link(state: LinksState, caller: Caller, key: LinkKey, if_match: str | None = None) -> None:
    """Delete a link for good.

    Raises:
        NotFound: There is none that the caller may see.
        VersionMismatch: It has another version than `if_match` says.
    """
    async with transaction(state, caller) as conn:
        check_version(check_seen(await lock_link(conn, key), caller).version, if_match)
        await delete_link(conn, key)
        await insert_change(conn, key)


@asynccontextmanager
async def transaction(state: LinksState, caller: Caller) -> AsyncIterator[Connection]:
    """A transaction in the caller's turn: his own that wait for a lock keep no connection from the others."""
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn, conn.transaction():
        yield conn


async def _hash(state: LinksState, caller: Caller, password: SecretStr) -> str:
    """Hash a password in the caller's turn, and before a connection is borrowed."""
    async with state.shares.passwords.turn(caller.owner):
        return await state.hashing.hash(password.get_secret_value())
