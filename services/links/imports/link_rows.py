"""Links of imports, and where they came from: they are found again by that, stored in one statement, revived, and undone.

Beside what a client decides they have the time at which they were made, and clicks of before. Callers are in a transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from services.links.codes.stems import SHADOWS
from services.links.imported.batches import ImportedTotal, total_columns
from services.links.imports.drafts import FoundDraft
from services.links.links.rows import (
    DECIDED,
    SELECT,
    LinkFields,
    LinkRow,
    decided_columns,
    link_of,
    write_json,
)
from shared.postgres import Connection
from shared.records import LinkKey

_COUNTED = (
    "clicks",
    "humans",
    "bots",
    "clicks_sorted",
    "humans_sorted",
    "imported_clicks",
    "imported_humans",
)
_USUAL = decided_columns(LinkFields("")) | dict.fromkeys(_COUNTED, 0) | {"folds_case": False}


def _fill_in(statement: str) -> str:
    return (
        statement.replace("<columns>", ", ".join((*DECIDED, "created_at", "folds_case", *_COUNTED)))
        .replace("<assigned>", ", ".join(f"{name} = wanted.{name}" for name in (*DECIDED, "created_at")))
        .replace("<new>", "json_populate_recordset(json_populate_record(NULL::links, $1::json), $2::json)")
        .replace("<salt>", "CASE WHEN wanted.rules IS NOT NULL OR wanted.split IS NOT NULL THEN gen_random_uuid() END")
        .replace("<shadows>", SHADOWS)
    )


# What the first JSON says holds for each link that does not say otherwise.
_INSERT = _fill_in("""
    INSERT INTO links (domain, code, owner, <columns>, split_salt)
    SELECT domain, code, owner, <columns>, <salt> FROM <new> AS wanted
    WHERE NOT <shadows>
    ON CONFLICT (domain, code) DO NOTHING
    RETURNING id, domain, code
""")

_REVIVE = _fill_in("""
    UPDATE links SET <assigned>, split_salt = <salt>, deleted_at = NULL, version = links.version + 1, updated_at = now()
    FROM <new> AS wanted
    WHERE links.domain = wanted.domain AND links.code = wanted.code AND links.owner = wanted.owner
      AND links.deleted_at IS NOT NULL
    RETURNING links.id, links.domain, links.code, links.version
""")


@dataclass(frozen=True, slots=True)
class KnownLink:
    """A link that has or had a code, or that came from somewhere.

    Attributes:
        url: Its target.
        came: How it came from there, as `SourceRow.before` keeps it; None if it did not.
    """

    id: int
    key: LinkKey
    owner: str
    url: str
    deleted: bool
    came: dict[str, Any] | None = None


async def insert_imported(
    conn: Connection, owner: str, now: datetime, drafts: Mapping[LinkKey, FoundDraft]
) -> dict[LinkKey, int]:
    """Store links, each under the key that is given for it.

    Returns:
        Their ids; a link whose code is taken is left out.
    """
    usual = write_json({**_USUAL, "owner": owner, "created_at": now})
    # In one order in every statement, so that no two wait for each other.
    rows = await conn.fetch(_INSERT, usual, write_json([_columns(drafts[key], key) for key in sorted(drafts)]))
    return {(row["domain"], row["code"]): row["id"] for row in rows}


async def revive_links(
    conn: Connection, owner: str, now: datetime, drafts: Mapping[LinkKey, FoundDraft]
) -> dict[LinkKey, tuple[int, int]]:
    """Make links of tombstones of the same owner.

    Returns:
        Their ids and versions.
    """
    usual = write_json({**_USUAL, "owner": owner, "created_at": now})
    rows = await conn.fetch(_REVIVE, usual, write_json([_columns(drafts[key], key) for key in sorted(drafts)]))
    return {(row["domain"], row["code"]): (row["id"], row["version"]) for row in rows}


async def select_known(conn: Connection, keys: Sequence[LinkKey]) -> dict[LinkKey, KnownLink]:
    """Find the links that have or had some codes."""
    rows = await conn.fetch(
        """
        SELECT id, domain, code, owner, url, deleted_at IS NOT NULL AS deleted
        FROM unnest($1::text[], $2::text[]) AS wanted (domain, code) JOIN links USING (domain, code)
        """,
        [domain for domain, _ in keys],
        [code for _, code in keys],
    )
    return {link.key: link for link in map(known_of, rows)}


async def lock_links(conn: Connection, link_ids: Sequence[int]) -> dict[LinkKey, LinkRow]:
    """Read links that are not deleted, and keep others from changing them until the transaction ends."""
    rows = await conn.fetch(
        SELECT + "WHERE id = ANY ($1::bigint[]) AND deleted_at IS NULL ORDER BY id FOR NO KEY UPDATE", link_ids
    )
    return {link.key: link for link in map(link_of, rows)}


async def set_used(conn: Connection, used: Mapping[int, int]) -> None:
    """Note how many visitors the limits of new links have let through."""
    await conn.execute(
        """
        INSERT INTO link_claims AS counts (link_id, used) SELECT * FROM unnest($1::bigint[], $2::bigint[])
        ON CONFLICT (link_id) DO UPDATE SET used = excluded.used
        """,
        list(used),
        list(used.values()),
    )


def known_of(row: asyncpg.Record) -> KnownLink:
    return KnownLink(row["id"], (row["domain"], row["code"]), row["owner"], row["url"], row["deleted"])


def _columns(found: FoundDraft, key: LinkKey) -> dict[str, object]:
    domain, code = key
    decided = decided_columns(found.draft.fields)
    columns: dict[str, object] = {name: value for name, value in decided.items() if value != _USUAL[name]}
    columns |= {"domain": domain, "code": code, "owner": found.draft.owner}
    if found.created_at is not None:
        columns["created_at"] = found.created_at
    if found.folds_case:
        columns["folds_case"] = True
    if found.clicks:
        columns |= total_columns(ImportedTotal(0, found.draft.owner, found.clicks, found.bots))
    return columns


async def begin_checking(conn: Connection, number: int) -> None:
    """Make room for what a session has checked of an import, so that two rows with one code are noticed."""
    await conn.execute(
        "CREATE TEMP TABLE IF NOT EXISTS checked (import integer, digest bigint, PRIMARY KEY (import, digest))"
    )
    await end_checking(conn, number)


async def end_checking(conn: Connection, number: int) -> None:
    """Forget what a session has checked of an import."""
    await conn.execute("DELETE FROM pg_temp.checked WHERE import = $1", number)


async def note_checked(
    conn: Connection, number: int, origins: Sequence[str], keys: Sequence[LinkKey]
) -> list[tuple[bool, bool]]:
    """Note what is checked; tell for each whether its origin is new, and whether its code is."""
    texts = [*(f"o{origin}" for origin in origins), *("k" + "/".join(key) for key in keys)]
    rows = await conn.fetch(
        """
        WITH given AS MATERIALIZED (
            SELECT hashtextextended(text, 0) AS digest, min(place) AS place
            FROM unnest($1::text[]) WITH ORDINALITY AS texts (text, place) GROUP BY 1
        ), noted AS (
            INSERT INTO pg_temp.checked SELECT $2, digest FROM given ON CONFLICT DO NOTHING RETURNING digest
        )
        SELECT place FROM given JOIN noted USING (digest)
        """,
        texts,
        number,
    )
    new = {row["place"] - 1 for row in rows}
    return [(place in new, place + len(origins) in new) for place in range(len(origins))]
