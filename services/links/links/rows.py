"""The links table, as the write service sees it: its columns, and the statements that store, read, change and delete links.

The routes call these inside their transactions; lists and searches are `lists.py`, and what redirect reads of the table is the
view in `shared/records.py`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from shared.postgres import Connection
from shared.records import LinkKey

_COLUMNS = """
    id, domain, code, owner, url, title, tags, status_code, cache_control, valid_from, expires_at,
    expired_url, enabled, forward_query, clicks, humans, clicks_sorted, humans_sorted, version, created_at, updated_at
"""
SELECT = "SELECT " + _COLUMNS + " FROM links "


@dataclass(frozen=True, slots=True)
class LinkFields:
    """What a client decides about a link."""

    url: str
    title: str | None = None
    tags: tuple[str, ...] = ()
    status_code: int = 302
    cache_control: int | None = None
    valid_from: datetime | None = None
    expires_at: datetime | None = None
    expired_url: str | None = None
    enabled: bool = True
    forward_query: bool = False


@dataclass(frozen=True, slots=True)
class NewLink:
    """A link that is not stored yet."""

    domain: str
    code: str
    owner: str
    fields: LinkFields

    @property
    def key(self) -> LinkKey:
        return self.domain, self.code

    @property
    def likeness(self) -> tuple[str, LinkFields]:
        """What makes two links of an owner the same, as `find_link` and `find_links` ask it of Postgres: tags are a set."""
        return self.domain, replace(self.fields, tags=tuple(sorted(set(self.fields.tags))))


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A stored link.

    Attributes:
        clicks_sorted: By which lists are sorted; `humans_sorted` the same. Some seconds behind the counters.
    """

    id: int
    domain: str
    code: str
    owner: str
    fields: LinkFields
    clicks: int
    humans: int
    version: int
    created_at: datetime
    updated_at: datetime
    clicks_sorted: int = 0
    humans_sorted: int = 0

    @property
    def key(self) -> LinkKey:
        return self.domain, self.code


async def insert_links(conn: Connection, links: Sequence[NewLink]) -> dict[LinkKey, LinkRow]:
    """Store many links in one statement.

    Returns:
        The rows that were stored; a link whose code is taken is left out.
    """
    rows = await conn.fetch(
        """
        INSERT INTO links (domain, code, owner, url, title, tags, status_code, cache_control,
                           valid_from, expires_at, expired_url, enabled, forward_query)
        SELECT domain, code, owner, url, title, tags, status_code, cache_control,
               valid_from, expires_at, expired_url, enabled, forward_query
        FROM json_to_recordset($1::json) AS new (
            domain text, code text, owner text, url text, title text, tags text[], status_code smallint,
            cache_control integer, valid_from timestamptz, expires_at timestamptz, expired_url text,
            enabled boolean, forward_query boolean)
        ON CONFLICT (domain, code) DO NOTHING
        RETURNING id, domain, code, clicks, humans, version, created_at, updated_at
        """,
        json.dumps([_json_row(link) for link in links], ensure_ascii=False),
    )
    by_key = {link.key: link for link in links}
    stored = {}
    for row in rows:
        link = by_key[row["domain"], row["code"]]
        stored[link.key] = LinkRow(
            id=row["id"],
            domain=link.domain,
            code=link.code,
            owner=link.owner,
            fields=link.fields,
            clicks=row["clicks"],
            humans=row["humans"],
            version=row["version"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )
    return stored


async def select_link(conn: Connection, key: LinkKey) -> LinkRow | None:
    """Read a link that is not deleted."""
    row = await conn.fetchrow(
        SELECT + "WHERE domain = $1 AND code = $2 AND deleted_at IS NULL",
        *key,
    )
    return None if row is None else link_of(row)


async def select_link_ids(conn: Connection, keys: Sequence[LinkKey], *, owner: str | None) -> dict[int, LinkKey]:
    """Find many links of an owner, or of anyone if that is None; those that do not exist are left out."""
    rows = await conn.fetch(
        """
        SELECT id, domain, code FROM links JOIN unnest($1::text[], $2::text[]) AS wanted (domain, code) USING (domain, code)
        WHERE deleted_at IS NULL AND ($3::text IS NULL OR owner = $3)
        """,
        [domain for domain, _ in keys],
        [code for _, code in keys],
        owner,
    )
    return {row["id"]: (row["domain"], row["code"]) for row in rows}


async def has_code(conn: Connection, key: LinkKey) -> bool:
    """Tell whether a code is or was in use, by whomever."""
    return bool(await conn.fetchval("SELECT EXISTS (SELECT FROM links WHERE domain = $1 AND code = $2)", *key))


async def lock_link(conn: Connection, key: LinkKey) -> LinkRow | None:
    """Read a link that is not deleted, and keep others from changing it until the transaction ends."""
    row = await conn.fetchrow(
        SELECT + "WHERE domain = $1 AND code = $2 AND deleted_at IS NULL FOR NO KEY UPDATE",
        *key,
    )
    return None if row is None else link_of(row)


async def find_link(conn: Connection, new: NewLink, *, any_code: bool) -> LinkRow | None:
    """Find the owner's oldest link with the same target and fields.

    Other searches for this owner and target wait until the transaction ends, so that two at once make one link.
    """
    await conn.execute(
        """
        SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0)),
               pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))
        """,
        new.owner,
        new.fields.url,
    )
    fields = new.fields
    row = await conn.fetchrow(
        SELECT
        + """
        WHERE owner = $1 AND hashtextextended(url, 0) = hashtextextended($2, 0) AND url = $2 AND deleted_at IS NULL
          AND domain = $3 AND ($4 OR code = $5)
          AND title IS NOT DISTINCT FROM $6 AND tags @> $7 AND tags <@ $7 AND status_code = $8
          AND cache_control IS NOT DISTINCT FROM $9 AND valid_from IS NOT DISTINCT FROM $10
          AND expires_at IS NOT DISTINCT FROM $11 AND expired_url IS NOT DISTINCT FROM $12
          AND enabled = $13 AND forward_query = $14
        ORDER BY id LIMIT 1
        """,
        new.owner,
        fields.url,
        new.domain,
        any_code,
        new.code,
        fields.title,
        list(fields.tags),
        fields.status_code,
        fields.cache_control,
        fields.valid_from,
        fields.expires_at,
        fields.expired_url,
        fields.enabled,
        fields.forward_query,
    )
    return None if row is None else link_of(row)


async def lock_searches(conn: Connection, owner: str) -> None:
    """Keep others from searching links of an owner until the transaction ends: one lock instead of one for each target."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", owner)


async def find_links(conn: Connection, owner: str, wanted: Sequence[NewLink]) -> dict[int, LinkRow]:
    """Find, for each of many links, the owner's oldest link with the same target and fields; call `lock_searches` before.

    Args:
        conn: In a transaction.
        owner: Of all of them.
        wanted: The links; one without a code may have any.

    Returns:
        The rows by the place in `wanted`; what is not found is left out.
    """
    rows = await conn.fetch(
        """
        SELECT DISTINCT ON (w.place) w.place, l.*
        FROM json_to_recordset($2::json) AS w (
            place integer, domain text, code text, url text, title text, tags text[], status_code smallint,
            cache_control integer, valid_from timestamptz, expires_at timestamptz, expired_url text,
            enabled boolean, forward_query boolean)
        -- OFFSET keeps it a look-up in the index for each of them, also where statistics are missing or old.
        CROSS JOIN LATERAL (
            SELECT id, domain, code, owner, url, title, tags, status_code, cache_control, valid_from, expires_at,
                   expired_url, enabled, forward_query, clicks, humans, clicks_sorted, humans_sorted, version, created_at,
                   updated_at
            FROM links
            WHERE owner = $1 AND hashtextextended(url, 0) = hashtextextended(w.url, 0) AND url = w.url
              AND deleted_at IS NULL AND domain = w.domain AND (w.code = '' OR code = w.code)
              AND title IS NOT DISTINCT FROM w.title AND tags @> w.tags AND tags <@ w.tags AND status_code = w.status_code
              AND cache_control IS NOT DISTINCT FROM w.cache_control AND valid_from IS NOT DISTINCT FROM w.valid_from
              AND expires_at IS NOT DISTINCT FROM w.expires_at AND expired_url IS NOT DISTINCT FROM w.expired_url
              AND enabled = w.enabled AND forward_query = w.forward_query
            OFFSET 0
        ) AS l
        ORDER BY w.place, l.id
        """,
        owner,
        json.dumps([{"place": n, **_json_row(link)} for n, link in enumerate(wanted)], ensure_ascii=False),
    )
    return {row["place"]: link_of(row) for row in rows}


async def update_link(conn: Connection, key: LinkKey, fields: LinkFields) -> LinkRow:
    """Replace the fields of a link that is locked; its version goes up by one."""
    row = await conn.fetchrow(
        """
        UPDATE links
        SET url = $3, title = $4, tags = $5, status_code = $6, cache_control = $7, valid_from = $8, expires_at = $9,
            expired_url = $10, enabled = $11, forward_query = $12, version = version + 1, updated_at = now()
        WHERE domain = $1 AND code = $2 AND deleted_at IS NULL
        RETURNING """
        + _COLUMNS,
        *key,
        fields.url,
        fields.title,
        list(fields.tags),
        fields.status_code,
        fields.cache_control,
        fields.valid_from,
        fields.expires_at,
        fields.expired_url,
        fields.enabled,
        fields.forward_query,
    )
    assert row is not None, "the row was locked before"
    return link_of(row)


async def delete_link(conn: Connection, key: LinkKey) -> None:
    """Make a link a tombstone: its code stays taken, its target and texts go."""
    await conn.execute(
        """
        UPDATE links
        SET url = '', title = NULL, tags = '{}', version = version + 1, updated_at = now(), deleted_at = now()
        WHERE domain = $1 AND code = $2 AND deleted_at IS NULL
        """,
        *key,
    )


def _json_row(link: NewLink) -> dict[str, object]:
    fields = link.fields
    return {
        "domain": link.domain,
        "code": link.code,
        "owner": link.owner,
        "url": fields.url,
        "title": fields.title,
        "tags": fields.tags,
        "status_code": fields.status_code,
        "cache_control": fields.cache_control,
        "valid_from": None if fields.valid_from is None else fields.valid_from.isoformat(),
        "expires_at": None if fields.expires_at is None else fields.expires_at.isoformat(),
        "expired_url": fields.expired_url,
        "enabled": fields.enabled,
        "forward_query": fields.forward_query,
    }


def link_of(row: asyncpg.Record) -> LinkRow:
    """The link of a row with the columns of `SELECT`."""
    return LinkRow(
        id=row["id"],
        domain=row["domain"],
        code=row["code"],
        owner=row["owner"],
        fields=LinkFields(
            url=row["url"],
            title=row["title"],
            tags=tuple(row["tags"]),
            status_code=row["status_code"],
            cache_control=row["cache_control"],
            valid_from=row["valid_from"],
            expires_at=row["expires_at"],
            expired_url=row["expired_url"],
            enabled=row["enabled"],
            forward_query=row["forward_query"],
        ),
        clicks=row["clicks"],
        humans=row["humans"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        clicks_sorted=row["clicks_sorted"],
        humans_sorted=row["humans_sorted"],
    )
