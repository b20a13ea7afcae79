"""Where links came from, and by which import: they are found again by that, undone, and revived."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from services.links.imports.link_rows import KnownLink, known_of
from services.links.links.rows import DECIDED, LinkFields, LinkRow, decided_columns, spell_json, write_json
from shared.postgres import Connection
from shared.records import LinkKey

NO_LINK = 0
"""The id of what a domain itself leads to."""

_JSON = ("rules", "split")
_TIMES = ("valid_from", "expires_at")


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
            known_of(row),
            came={"import": row["import"], "is_unedited": row["is_unedited"], "before": row["before"]},
        )
        for row in rows
    }


async def select_imported_ids(
    conn: Connection, owner: str, source: str, number: int, origins: Sequence[str]
) -> dict[str, int]:
    """Find links that this import or one before it has made or replaced, but those that have visits of another one."""
    rows = await conn.fetch(
        """
        SELECT short_url, link_id FROM link_sources JOIN links ON id = link_id
        WHERE link_sources.owner = $1 AND source = $2 AND short_url = ANY ($4::text[])
          AND links.owner = $1 AND deleted_at IS NULL
          AND coalesce((SELECT imported_undated.import FROM imported_undated
                        WHERE imported_undated.link_id = id AND imported_undated.owner = ''), $3) = $3
        """,
        owner,
        source,
        number,
        origins,
    )
    return {row["short_url"]: row["link_id"] for row in rows}


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
        """
        UPDATE link_sources SET import = -$2, before = NULL
        WHERE link_id = ANY ($1::bigint[]) AND (import = $2 OR import = 0)
        """,
        link_ids,
        number,
    )


def spell_before(link: LinkRow, came: dict[str, Any] | None, *, brings_clicks: bool) -> str:
    """Return what a link is before it is replaced, and how it came, as JSON."""
    return write_json({"fields": decided_columns(link.fields), "came": came, "brings_clicks": brings_clicks})


def spell_root(domain: str, url: str) -> str:
    """Return where a domain itself leads since an import, as JSON."""
    return write_json({"root": [domain, url]})


def has_brought_clicks(row: ImportedRow) -> bool:
    """Tell whether a link's imported clicks are of this import: one that was replaced may have had them before."""
    return row.before is None or bool(json.loads(row.before)["brings_clicks"])


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
