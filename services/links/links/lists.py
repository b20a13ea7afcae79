"""The lists of links: pages in each order, exports, and the tags in use; how a filter becomes a statement.

`routes.py`, `exports.py`, and the rooms `tags` and `compat` call these, with filters from `checks.py`.
"""

from dataclasses import dataclass
from datetime import datetime

from services.links.links.rows import SELECT, LinkRow, link_of
from services.links.links.search import Search
from services.links.web.cursors import Position
from shared.api import LinkState, Sort, TagMode
from shared.postgres import Connection

LAST_OFFSET = 1_000_000
"""How far a list by number of page goes; the deadline of a statement comes before it where links are large."""


@dataclass(frozen=True, slots=True)
class LinkFilter:
    """Which links a list shows; None does not restrict.

    Attributes:
        tags: All of them, or with the mode `any` at least one; none do not restrict.
        search: Part of the code, the target, the title or the notes, without regard to case, and the same in other spellings.
    """

    owner: str | None = None
    domain: str | None = None
    tags: tuple[str, ...] = ()
    tag_mode: TagMode = "all"
    state: LinkState | None = None
    search: Search | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class LinkCounts:
    """How many links there are, and how often all of them were clicked."""

    links: int
    clicks: int


async def select_links(
    conn: Connection, wanted: LinkFilter, *, sort: Sort, after: Position | None, limit: int, offset: int = 0
) -> list[LinkRow]:
    """Read one page of a list.

    Args:
        conn: Any connection.
        wanted: Which links.
        sort: The column, with a minus for the largest first.
        after: The last row of the page before.
        limit: Rows at most.
        offset: Rows before the first one, for clients that know pages by number alone. They are read, too.
    """
    rows = await conn.fetch(
        _LISTS[sort, wanted.owner is None],
        *_filter_arguments(wanted),
        None if after is None else after.value,
        None if after is None else after.row_id,
        limit,
        offset,
    )
    return [link_of(row) for row in rows]


async def select_link_counts(conn: Connection, *, owner: str | None) -> LinkCounts:
    """Count the links of an owner, or of all, and their clicks: from an index alone, some seconds behind."""
    row = await conn.fetchrow(_COUNTS[owner is None], owner)
    assert row is not None, "an aggregate has one row"
    return LinkCounts(row["links"], row["clicks"])


async def count_links(conn: Connection, wanted: LinkFilter, *, most: int) -> int:
    """Count the links that match a filter, no further than `most`."""
    count: int = await conn.fetchval(_MATCHES[wanted.owner is None], *_filter_arguments(wanted), most)
    return count


async def select_tags(conn: Connection, *, owner: str | None, search: str | None, limit: int) -> list[tuple[str, int]]:
    """Read the tags of an owner, or of all, with the number of their links; in the order of their code points.

    Args:
        conn: Any connection.
        owner: Whose links, or None for everybody's.
        search: Part of the tag, whatever its case.
        limit: Tags at most.
    """
    rows = await conn.fetch(
        _TAGS[owner is None],
        owner,
        _containing(search),
        limit,
    )
    return [(row["tag"], row["links"]) for row in rows]


async def select_links_before(conn: Connection, wanted: LinkFilter, *, before_id: int, limit: int) -> list[LinkRow]:
    """Read the newest links whose id is smaller, the newest first: as quick for the last page as for the first."""
    rows = await conn.fetch(
        _PAGES[wanted.owner is None],
        *_filter_arguments(wanted),
        before_id,
        limit,
    )
    return [link_of(row) for row in rows]


def sort_value(row: LinkRow, sort: Sort) -> object:
    """A row's value of the column that a list is sorted by."""
    match sort.removeprefix("-"):
        case "created_at":
            return row.id
        case "updated_at":
            return row.updated_at
        case "clicks":
            return row.clicks_sorted
        case "humans":
            return row.humans_sorted
        case _:
            return row.code


def _list_statement(column: str, kind: str, order: str, owner: str) -> str:
    """Fill in what a parameter cannot say: the sort column and direction. All of it comes from the table below."""
    compare = ">" if order == "ASC" else "<"
    return (
        _LIST.replace("<column>", column)
        .replace("<kind>", kind)
        .replace("<order>", order)
        .replace("<compare>", compare)
        .replace("<owner>", owner)
    )


# A code that begins with a text lies before the same text with the last character of Unicode: an index can be read for that.
_FILTER = """
    WHERE deleted_at IS NULL AND <owner>
      AND ($2::text IS NULL OR domain = $2)
      AND ($3::text[] IS NULL OR tags @> $3)
      AND ($4::text IS NULL OR $4 = CASE
               WHEN NOT enabled THEN 'disabled'
               WHEN expires_at <= now() THEN 'expired'
               WHEN max_clicks IS NOT NULL AND max_clicks <= (SELECT used FROM link_claims WHERE link_id = links.id)
                   THEN 'expired'
               WHEN valid_from > now() THEN 'scheduled'
               ELSE 'active' END)
      AND ($5::text IS NULL OR code ILIKE $5 OR url ILIKE $5 OR title ILIKE $5 OR notes ILIKE $5
           OR url ILIKE ANY ($9) OR (domain = ANY ($10) AND code >= $11 AND code < $11 || chr(1114111)))
      AND ($6::timestamptz IS NULL OR created_at >= $6)
      AND ($7::timestamptz IS NULL OR created_at < $7)
      AND ($8::text[] IS NULL OR tags && $8)
"""

_LIST = (
    SELECT
    + _FILTER
    + """
      AND ($13::bigint IS NULL OR (<column>, id) <compare> ($12::<kind>, $13))
    ORDER BY <column> <order>, id <order>
    LIMIT $14 OFFSET $15
    """
)

# Ids are given in the order of creation. Each column has an index that begins with the owner.
_SORTS = {
    "created_at": ("id", "bigint"),
    "updated_at": ("updated_at", "timestamptz"),
    "clicks": ("clicks_sorted", "bigint"),
    "humans": ("humans_sorted", "bigint"),
    "code": ("code", "text"),
}

_LISTS: dict[tuple[str, bool], str] = {
    (prefix + sort, all_owners): _list_statement(
        column, kind, order, "$1::text IS NULL" if all_owners else "owner = $1"
    )
    for sort, (column, kind) in _SORTS.items()
    for prefix, order in (("", "ASC"), ("-", "DESC"))
    for all_owners in (False, True)
}


# For whoever reads all pages, without an OR that would keep a prepared plan from beginning at the id.
_PAGES: dict[bool, str] = {
    all_owners: (SELECT + _FILTER + "AND id < $12 ORDER BY id DESC LIMIT $13").replace(
        "<owner>", "$1::text IS NULL" if all_owners else "owner = $1"
    )
    for all_owners in (False, True)
}

_MATCHES: dict[bool, str] = {
    all_owners: f"SELECT count(*) FROM (SELECT FROM links {_FILTER} LIMIT $12) AS found".replace(
        "<owner>", "$1::text IS NULL" if all_owners else "owner = $1"
    )
    for all_owners in (False, True)
}

_COUNTS: dict[bool, str] = {
    all_owners: """
    SELECT count(*) AS links, coalesce(sum(clicks_sorted), 0)::bigint AS clicks
    FROM links WHERE deleted_at IS NULL AND <owner>
    """.replace("<owner>", "$1::text IS NULL" if all_owners else "owner = $1")
    for all_owners in (False, True)
}

# Two statements, not one with OR: a plan for everybody's links would read all of them for one owner's, too.
_TAGS: dict[bool, str] = {
    all_owners: """
    SELECT tag, count(*) AS links
    FROM links, unnest(tags) AS tag
    WHERE deleted_at IS NULL AND <owner> AND ($2::text IS NULL OR tag ILIKE $2)
    GROUP BY tag ORDER BY tag COLLATE "C" LIMIT $3
    """.replace("<owner>", "$1::text IS NULL" if all_owners else "owner = $1")
    for all_owners in (False, True)
}


def _filter_arguments(wanted: LinkFilter) -> tuple[object, ...]:
    """$1 to $11 of the statements with `_FILTER`."""
    search = wanted.search
    tags = list(wanted.tags) or None
    return (
        wanted.owner,
        wanted.domain,
        tags if wanted.tag_mode == "all" else None,
        wanted.state,
        None if search is None else _containing(search.text),
        wanted.created_after,
        wanted.created_before,
        tags if wanted.tag_mode == "any" else None,
        None if search is None else [_containing(target) for target in search.targets],
        None if search is None else list(search.domains),
        None if search is None else search.code,
    )


def _containing(text: str | None) -> str | None:
    """The pattern of what contains a text, taken literally."""
    if text is None:
        return None
    return "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
