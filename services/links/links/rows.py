"""The links table, as the write service sees it: its columns, and the statements that store, find, change and delete links.

A column is spelled once, as a field of `LinkFields` or `LinkRow`; the statements are filled in from these when this module is
imported. Callers are in a transaction. Lists are in `lists.py`; redirect reads the view in `shared/records.py`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from operator import attrgetter, itemgetter

import asyncpg
from pydantic import SecretStr

from services.links.codes.stems import SHADOWS
from shared.postgres import Connection
from shared.records import LinkKey, Record


@dataclass(frozen=True, slots=True)
class LinkFields:
    """What a client decides about a link: a column for each field.

    Attributes:
        rules, split: As JSON in one spelling (`spell_json`).
        given_url: The target as it was written, where `url`, which is parsed of it, differs. It comes and goes with `url`.
    """

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
    forward_path: bool = False
    crawlable: bool = False
    preview: bool = True
    notes: str | None = None
    max_clicks: int | None = None
    rules: str | None = None
    split: str | None = None
    visitor_query_wins: bool = False
    # Not in any text or log, though nobody guesses a good password from it.
    password_hash: str | None = field(default=None, repr=False)
    given_url: str | None = None

    @property
    def url_as_given(self) -> str:
        return self.given_url or self.url


@dataclass(frozen=True, slots=True)
class LinkDraft:
    """A link that is not stored yet.

    Attributes:
        code: Empty if one is to be drawn.
        find_existing: Whether a link of the owner with the same fields is as good as a new one.
        folds_case: Whether visitors may write the code, which is in lower case (`fold_code`), in any.
        password: To be hashed before the link is stored (`hashed`).
    """

    domain: str
    owner: str
    fields: LinkFields
    code: str = ""
    find_existing: bool = False
    password: SecretStr | None = None
    folds_case: bool = False

    def hashed(self, password_hash: str) -> "LinkDraft":
        """Return the draft with the hash of its password."""
        return replace(self, fields=replace(self.fields, password_hash=password_hash), password=None)

    @property
    def key(self) -> LinkKey:
        return self.domain, self.code

    @property
    def likeness(self) -> tuple[str, LinkFields]:
        """What makes two links of an owner the same, as `find_links` asks it of Postgres: tags are a set."""
        return self.domain, replace(self.fields, tags=tuple(sorted(set(self.fields.tags))), given_url=None)


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A stored link: what a client decided, and a column for each other field.

    Attributes:
        clicks_sorted: By which lists are sorted; `humans_sorted` the same. Some seconds behind the counters.
        clicks_left: Of a limit, which the room of claims counts.
        imported_clicks: Of `clicks`, those that were counted elsewhere.
        folds_case: Whether visitors may write the code in any case.
    """

    fields: LinkFields
    id: int
    domain: str
    code: str
    owner: str
    clicks: int
    humans: int
    version: int
    created_at: datetime
    updated_at: datetime
    clicks_sorted: int
    humans_sorted: int
    clicks_left: int | None
    imported_clicks: int
    folds_case: bool = False

    @property
    def key(self) -> LinkKey:
        return self.domain, self.code


DECIDED = tuple(each.name for each in fields(LinkFields))
"""The columns that a client decides about."""

KEPT = tuple(each.name for each in fields(LinkRow) if each.name != "fields")
"""The columns beside them."""

_decided = itemgetter(*DECIDED)
_values = attrgetter(*DECIDED)
_kept = itemgetter(*KEPT)
_TAGS = DECIDED.index("tags")
_JSON = tuple((name, DECIDED.index(name)) for name in ("rules", "split"))

_CLICKS_LEFT = """CASE WHEN max_clicks IS NOT NULL THEN greatest(
    max_clicks - coalesce((SELECT used FROM link_claims WHERE link_id = links.id), 0), 0) END AS clicks_left"""

write_json = json.JSONEncoder(ensure_ascii=False, default=datetime.isoformat).encode


def _fill_in(statement: str) -> str:
    compared = [name for name in DECIDED if name not in ("tags", "given_url")]
    # A redirector reads the rest of a tombstone, too: where its visitors go.
    forgotten = [name for name in DECIDED if name not in Record._fields or name in Record._field_defaults]
    kept = ", ".join(_CLICKS_LEFT if name == "clicks_left" else name for name in KEPT)
    return (
        statement.replace("<columns>", "<kept>, <decided>")
        .replace("<kept>", kept)
        .replace("<decided>", ", ".join(DECIDED))
        .replace("<compared>", ", ".join(compared))
        .replace("<wanted>", ", ".join(f"wanted.{name}" for name in compared))
        .replace("<shadows>", SHADOWS)
        .replace("<decides>", "rules IS NOT NULL OR split IS NOT NULL")
        .replace("<forgotten>", ", ".join(f"{name} = DEFAULT" for name in forgotten))
    )


SELECT = _fill_in("SELECT <columns> FROM links ")

_INSERT = _fill_in("""
    INSERT INTO links (domain, code, owner, folds_case, <decided>, split_salt)
    SELECT domain, code, owner, folds_case, <decided>, CASE WHEN <decides> THEN gen_random_uuid() END
    FROM json_populate_recordset(NULL::links, $1::json) AS wanted
    WHERE NOT <shadows>
    ON CONFLICT (domain, code) DO NOTHING
    RETURNING <kept>
""")

# OFFSET keeps it a look-up in the index for each of them, also where statistics are missing or old.
_FIND = _fill_in("""
    SELECT DISTINCT ON (wanted.ordinality) wanted.ordinality - 1 AS place, found.*
    FROM json_populate_recordset(NULL::links, $2::json) WITH ORDINALITY AS wanted
    CROSS JOIN LATERAL (
        SELECT <columns> FROM links
        WHERE owner = $1 AND hashtextextended(url, 0) = hashtextextended(wanted.url, 0) AND deleted_at IS NULL
          AND domain = wanted.domain AND (wanted.code = '' OR code = wanted.code)
          AND (<compared>) IS NOT DISTINCT FROM (<wanted>) AND tags @> wanted.tags AND tags <@ wanted.tags
        OFFSET 0
    ) AS found
    ORDER BY wanted.ordinality, found.id
""")

# A split keeps its salt through every edit, so that its visitors stay where they are.
_UPDATE = _fill_in("""
    UPDATE links
    SET (<decided>, split_salt) = (
            SELECT <decided>, CASE WHEN <decides> THEN coalesce(links.split_salt, gen_random_uuid()) END
            FROM json_populate_record(NULL::links, $3::json)),
        version = version + 1, updated_at = now()
    WHERE domain = $1 AND code = $2 AND deleted_at IS NULL
    RETURNING <columns>
""")

_DELETE = _fill_in("""
    UPDATE links
    SET url = '', <forgotten>, split_salt = NULL, version = version + 1, updated_at = now(), deleted_at = now()
    WHERE domain = $1 AND code = $2 AND deleted_at IS NULL
""")

_DELETE_MANY = _DELETE.replace("domain = $1 AND code = $2", "id = ANY ($1::bigint[])")


async def insert_links(conn: Connection, drafts: Mapping[LinkKey, LinkDraft]) -> dict[LinkKey, LinkRow]:
    """Store links in one statement, each under the key that is given for it.

    Returns:
        The rows that were stored; a link whose code is taken, or could be taken for one of another owner, is left out.
    """
    # In one order in every statement, so that no two wait for each other.
    rows = await conn.fetch(_INSERT, write_json([_columns(drafts[key], key) for key in sorted(drafts)]))
    # What a client decides about is not read again: on the busiest way that is a tenth of what a link costs.
    stored = ((key, row) for row in rows for key in [(row["domain"], row["code"])])
    return {key: LinkRow(drafts[key].fields, *_kept(row)) for key, row in stored}


async def lock_searches(conn: Connection, owner: str, urls: set[str]) -> None:
    """Keep others from searching for the same links until the transaction ends, so that two at once make one link.

    Whoever searches for one target locks that one, whoever searches for several locks the owner's links all at once.
    """
    if len(urls) > 1:
        await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", owner)
        return
    await conn.execute(
        """
        SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0)),
               pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))
        """,
        owner,
        *urls,
    )


async def find_links(conn: Connection, owner: str, drafts: Sequence[LinkDraft]) -> dict[int, LinkRow]:
    """Find for each draft the owner's oldest link with the same fields, and the same code if the draft has one.

    Returns:
        The links by the draft's place; a draft without such a link is left out.
    """
    rows = await conn.fetch(_FIND, owner, write_json([_columns(draft, draft.key) for draft in drafts]))
    return {row["place"]: link_of(row) for row in rows}


async def select_link(conn: Connection, key: LinkKey) -> LinkRow | None:
    """Read a link that is not deleted."""
    row = await conn.fetchrow(SELECT + "WHERE domain = $1 AND code = $2 AND deleted_at IS NULL", *key)
    return None if row is None else link_of(row)


async def select_key(conn: Connection, link_id: int) -> LinkKey | None:
    """Find a link that is not deleted by its number."""
    row = await conn.fetchrow("SELECT domain, code FROM links WHERE id = $1 AND deleted_at IS NULL", link_id)
    return None if row is None else (row["domain"], row["code"])


async def select_password(conn: Connection, key: LinkKey) -> tuple[int, str] | None:
    """Read the id of a link and the hash of its password; None if there is no link or no password."""
    row = await conn.fetchrow(
        """
        SELECT id, password_hash FROM links
        WHERE domain = $1 AND code = $2 AND deleted_at IS NULL AND password_hash IS NOT NULL
        """,
        *key,
    )
    return None if row is None else (row["id"], row["password_hash"])


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


async def lock_link(conn: Connection, key: LinkKey) -> LinkRow | None:
    """Read a link that is not deleted, and keep others from changing it until the transaction ends."""
    row = await conn.fetchrow(
        SELECT + "WHERE domain = $1 AND code = $2 AND deleted_at IS NULL FOR NO KEY UPDATE",
        *key,
    )
    return None if row is None else link_of(row)


async def update_link(conn: Connection, key: LinkKey, decided: LinkFields) -> LinkRow:
    """Replace the fields of a link that is locked; its version goes up by one."""
    row = await conn.fetchrow(_UPDATE, *key, write_json(decided_columns(decided)))
    assert row is not None, "the row was locked before"
    return link_of(row)


async def delete_link(conn: Connection, key: LinkKey) -> None:
    """Make a link a tombstone: its code stays taken, its target goes, and what no redirector reads."""
    await conn.execute(_DELETE, *key)


async def delete_links(conn: Connection, link_ids: Sequence[int]) -> None:
    """Make links that are locked tombstones."""
    await conn.execute(_DELETE_MANY, link_ids)


def link_of(row: asyncpg.Record) -> LinkRow:
    """Read a row that has all columns."""
    decided = list(_decided(row))
    decided[_TAGS] = tuple(decided[_TAGS])
    for _, place in _JSON:
        if decided[place] is not None:
            decided[place] = spell_json(json.loads(decided[place]))
    return LinkRow(LinkFields(*decided), *_kept(row))


def spell_json(value: object) -> str:
    """Spell JSON in one way, however it was written and whatever Postgres made of it."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _columns(draft: LinkDraft, key: LinkKey) -> dict[str, object]:
    domain, code = key
    return {
        "domain": domain,
        "code": code,
        "owner": draft.owner,
        "folds_case": draft.folds_case,
        **decided_columns(draft.fields),
    }


def decided_columns(decided: LinkFields) -> dict[str, object]:
    """Return what a client decides as columns, for JSON: rules and splits are values, not texts."""
    columns: dict[str, object] = dict(zip(DECIDED, _values(decided), strict=True))
    for name, _ in _JSON:
        if isinstance(text := columns[name], str):
            columns[name] = json.loads(text)
    return columns
