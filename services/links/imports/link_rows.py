"""Links of imports, and where they came from: they are found again by that, stored in one statement, revived, and undone.

Beside what a client decides they have the time at which they were made, and clicks of before. Callers are in a transaction.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import asyncpg

from services.links.imports.drafts import FoundDraft
from services.links.links.rows import (
    DECIDED,
    SELECT,
    LinkFields,
    LinkRow,
    decided_columns,
    link_of,
    spell_json,
    write_json,
)
from shared.postgres import Connection
from shared.records import LinkKey

NO_LINK = 0
"""The id of what a domain itself leads to."""

_BESIDE = (
    "created_at",
    "folds_case",
    "clicks",
    "humans",
    "bots",
    "clicks_sorted",
    "humans_sorted",
    "imported_clicks",
    "imported_humans",
)
_USUAL = decided_columns(LinkFields("")) | dict.fromkeys(_BESIDE, 0) | {"folds_case": False}
_JSON = ("rules", "split")
_TIMES = ("valid_from", "expires_at")


def _fill_in(statement: str) -> str:
    return (
        statement.replace("<columns>", ", ".join((*DECIDED, *_BESIDE)))
        .replace("<assigned>", ", ".join(f"{name} = new.{name}" for name in (*DECIDED, *_BESIDE)))
        .replace("<new>", "json_populate_recordset(json_populate_record(NULL::links, $1::json), $2::json)")
        .replace("<salt>", "CASE WHEN new.rules IS NOT NULL OR new.split IS NOT NULL THEN gen_random_uuid() END")
    )


# What the first JSON says holds for each link that does not say otherwise.
_INSERT = _fill_in("""
    INSERT INTO links (domain, code, owner, <columns>, split_salt)
    SELECT domain, code, owner, <columns>, <salt> FROM <new> AS new
    ON CONFLICT (domain, code) DO NOTHING
    RETURNING id, domain, code
""")

_REVIVE = _fill_in("""
    UPDATE links SET <assigned>, split_salt = <salt>, deleted_at = NULL, version = links.version + 1, updated_at = now()
    FROM <new> AS new
    WHERE links.domain = new.domain AND links.code = new.code AND links.owner = new.owner AND links.deleted_at IS NOT NULL
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


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A link and where it came from.

    Attributes:
        version: Of the link after it was imported.
        before: What was replaced, as JSON.
    """

    origin: str
    link_id: int
    version: int
    before: str | None = None


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """A link that an import made or replaced, as it is now.

    Attributes:
        import_version: Its version after that.
        own_clicks: Those that were counted here.
    """

    source: str
    origin: str
    id: int
    key: LinkKey
    version: int
    import_version: int
    deleted: bool
    own_clicks: int
    before: str | None


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
    return {link.key: link for link in map(_known_of, rows)}


async def select_by_origin(conn: Connection, owner: str, source: str, origins: Sequence[str]) -> dict[str, KnownLink]:
    """Find the links that came from somewhere."""
    rows = await conn.fetch(
        """
        SELECT short_url, id, domain, code, links.owner, url, deleted_at IS NOT NULL AS deleted,
               import, link_sources.version = links.version AS is_unedited, before
        FROM link_sources JOIN links ON id = link_id
        WHERE link_sources.owner = $1 AND source = $2 AND short_url = ANY ($3::text[])
        """,
        owner,
        source,
        origins,
    )
    return {
        row["short_url"]: replace(
            _known_of(row),
            came={"import": row["import"], "is_unedited": row["is_unedited"], "before": row["before"]},
        )
        for row in rows
    }


async def select_imported_ids(
    conn: Connection, owner: str, source: str, number: int, origins: Sequence[str]
) -> dict[str, int]:
    """Find those of some links that this import made or replaced."""
    rows = await conn.fetch(
        """
        SELECT short_url, link_id FROM link_sources
        WHERE owner = $1 AND source = $2 AND import = $3 AND short_url = ANY ($4::text[])
        """,
        owner,
        source,
        number,
        origins,
    )
    return {row["short_url"]: row["link_id"] for row in rows}


async def lock_links(conn: Connection, link_ids: Sequence[int]) -> dict[LinkKey, LinkRow]:
    """Read links that are not deleted, and keep others from changing them until the transaction ends."""
    rows = await conn.fetch(
        SELECT + "WHERE id = ANY ($1::bigint[]) AND deleted_at IS NULL ORDER BY id FOR NO KEY UPDATE", link_ids
    )
    return {link.key: link for link in map(link_of, rows)}


async def upsert_sources(conn: Connection, owner: str, source: str, number: int, rows: Sequence[SourceRow]) -> None:
    """Note where links came from, by which import."""
    await conn.execute(
        """
        INSERT INTO link_sources (owner, source, import, short_url, link_id, version, before)
        SELECT $1, $2, $3, * FROM unnest($4::text[], $5::bigint[], $6::integer[], $7::jsonb[])
        ON CONFLICT (owner, source, short_url) DO UPDATE
        SET link_id = excluded.link_id, import = excluded.import, version = excluded.version, before = excluded.before
        """,
        owner,
        source,
        number,
        [each.origin for each in rows],
        [each.link_id for each in rows],
        [each.version for each in rows],
        [each.before for each in rows],
    )


async def lock_imported(conn: Connection, number: int, limit: int) -> list[ImportedRow]:
    """Read some links of an import that is being undone, in their order, and keep others from changing them."""
    rows = await conn.fetch(
        """
        SELECT source, short_url, link_sources.version AS import_version, before, id, domain, code, links.version,
               deleted_at IS NOT NULL AS deleted, clicks - imported_clicks - link_sources.own_clicks AS own_clicks
        FROM link_sources JOIN links ON id = link_id
        WHERE import = $1 ORDER BY link_id LIMIT $2 FOR NO KEY UPDATE OF links
        """,
        number,
        limit,
    )
    return [
        ImportedRow(
            row["source"],
            row["short_url"],
            row["id"],
            (row["domain"], row["code"]),
            row["version"],
            row["import_version"],
            row["deleted"],
            row["own_clicks"],
            row["before"],
        )
        for row in rows
    ]


async def select_roots(conn: Connection, number: int) -> list[tuple[str, str]]:
    """Read the domains that lead where an import has decided, and where that is."""
    rows = await conn.fetch("SELECT before FROM link_sources WHERE import = $1 AND link_id = $2", number, NO_LINK)
    return [tuple(json.loads(row["before"])["root"]) for row in rows]


async def delete_roots(conn: Connection, number: int) -> None:
    await conn.execute("DELETE FROM link_sources WHERE import = $1 AND link_id = $2", number, NO_LINK)


async def restore_source(conn: Connection, owner: str, row: ImportedRow, version: int) -> None:
    """Let a link that is restored have come from where it came before it was replaced, or from nowhere.

    Args:
        conn: In a transaction.
        owner: The owner of the import.
        row: The link, with what was replaced.
        version: Its version now that it is restored; 0 if it is not.
    """
    came = json.loads(row.before or "{}").get("came")
    if came is None:
        await conn.execute(
            "DELETE FROM link_sources WHERE owner = $1 AND source = $2 AND short_url = $3",
            owner,
            row.source,
            row.origin,
        )
        return
    await conn.execute(
        """
        UPDATE link_sources SET import = $4, version = $5, before = $6::jsonb
        WHERE owner = $1 AND source = $2 AND short_url = $3
        """,
        owner,
        row.source,
        row.origin,
        came["import"],
        version if came["is_unedited"] else 0,
        came["before"],
    )


async def leave_sources(conn: Connection, link_ids: Sequence[int], number: int) -> None:
    """Take links out of the import that is undone. What they came from stays, so that they can be revived."""
    await conn.execute(
        "UPDATE link_sources SET import = -$2, before = NULL WHERE link_id = ANY ($1::bigint[]) AND import = $2",
        link_ids,
        number,
    )


async def set_used(conn: Connection, used: Mapping[int, int]) -> None:
    """Note how many visitors the limits of links have let through."""
    await conn.execute(
        """
        INSERT INTO link_claims AS counts (link_id, used) SELECT * FROM unnest($1::bigint[], $2::bigint[])
        ON CONFLICT (link_id) DO UPDATE SET used = greatest(counts.used, excluded.used)
        """,
        list(used),
        list(used.values()),
    )


def spell_before(link: LinkRow, came: dict[str, Any] | None) -> str:
    """Return what a link is before it is replaced, and how it came, as JSON."""
    return write_json({"fields": decided_columns(link.fields), "came": came})


def spell_root(domain: str, url: str) -> str:
    """Return where a domain itself leads since an import, as JSON."""
    return write_json({"root": [domain, url]})


def brought_clicks(row: ImportedRow) -> bool:
    """Tell whether a link has its imported clicks from this import: one that was replaced may have had others before."""
    return row.before is None or json.loads(row.before)["came"] is None


def read_before(before: str) -> LinkFields:
    """Read what a link was before it was replaced. What another release has kept besides is passed over."""
    fields = {name: value for name, value in json.loads(before)["fields"].items() if name in DECIDED}
    fields["tags"] = tuple(fields["tags"])
    for name in _TIMES:
        if fields[name] is not None:
            fields[name] = datetime.fromisoformat(fields[name])
    for name in _JSON:
        if fields[name] is not None:
            fields[name] = spell_json(fields[name])
    return LinkFields(**fields)


def _known_of(row: asyncpg.Record) -> KnownLink:
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
        humans = found.humans
        columns |= {
            "clicks": found.clicks,
            "humans": humans,
            "bots": found.clicks - humans,
            "clicks_sorted": found.clicks,
            "humans_sorted": humans,
            "imported_clicks": found.clicks,
            "imported_humans": humans,
        }
    return columns
