"""What Shlink's lists ask of the links table, and nobody else: pages by number, its filters and orders, and tags as a whole.

`short_urls.py`, `tags.py` and `visits.py` call these. Single links go through `services/links/links/`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.links.links.rows import SELECT, LinkDraft, LinkRow, link_of
from services.links.links.search import Search
from shared.postgres import Connection
from shared.records import LinkKey

READ_AT_ONCE = 500

MOST_RETAGGED = 10_000
"""Links whose tags change in one request: as many as a batch has."""

MOST_CLICKED = 1_000
"""Links whose clicks are read together."""


@dataclass(frozen=True, slots=True)
class ShortUrlFilter:
    """Which links a list shows; None and nothing do not restrict.

    Attributes:
        owner: None for everybody's.
        all_tags: All of them.
        any_tags: At least one of them.
        without_all: Not all of them.
        without_any: None of them.
    """

    owner: str | None
    domain: str | None = None
    all_tags: Sequence[str] = ()
    any_tags: Sequence[str] = ()
    without_all: Sequence[str] = ()
    without_any: Sequence[str] = ()
    search: Search | None = None
    since: datetime | None = None
    until: datetime | None = None
    not_used_up: bool = False
    not_expired: bool = False


class TagCount(NamedTuple):
    """A tag, how many links have it, and their clicks."""

    tag: str
    links: int
    clicks: int
    humans: int


class Visited(NamedTuple):
    """A link that was clicked; it may be deleted.

    Attributes:
        target: Where it leads; None if it decides at each visit.
    """

    key: LinkKey
    target: str | None


ORDERS = {
    "dateCreated": "id",
    "shortCode": "code",
    "longUrl": "url",
    "title": "title",
    "visits": "clicks_sorted",
    "nonBotVisits": "humans_sorted",
}
"""The columns that a list is sorted by."""

TAG_ORDERS = {
    "tag": 'tag COLLATE "C"',
    "shortUrlsCount": "links",
    "visits": "clicks",
    "nonBotVisits": "humans",
}


async def count_short_urls(conn: Connection, wanted: ShortUrlFilter) -> int:
    """Count the links that match a filter."""
    count: int = await conn.fetchval(_whose(_COUNT, wanted.owner), *_arguments(wanted))
    return count


async def select_short_urls(
    conn: Connection, wanted: ShortUrlFilter, order: tuple[str, bool], *, start: int, count: int
) -> list[LinkRow]:
    """Read a page of a list by its place.

    The ids are found first: those before the page are passed over in an index alone where nothing is filtered.

    Args:
        conn: In a snapshot.
        wanted: Which links.
        order: A name of `ORDERS`, and whether the largest is first.
        start: Links before the page.
        count: Links at most.
    """
    name, is_descending = order
    statement = _IDS.replace("<column>", ORDERS[name]).replace("<order>", "DESC" if is_descending else "ASC")
    ids = [row["id"] for row in await conn.fetch(_whose(statement, wanted.owner), *_arguments(wanted), start, count)]
    found: dict[int, LinkRow] = {}
    for first in range(0, len(ids), READ_AT_ONCE):
        rows = await conn.fetch(SELECT + "WHERE id = ANY ($1)", ids[first : first + READ_AT_ONCE])
        found |= {row["id"]: link_of(row) for row in rows}
        await asyncio.sleep(0)
    return [found[each] for each in ids]


async def find_similar(conn: Connection, draft: LinkDraft) -> LinkRow | None:
    """Find the owner's oldest link that Shlink takes for the same: target, code if there is one, limit, dates and tags."""
    fields = draft.fields
    row = await conn.fetchrow(
        _SIMILAR,
        draft.owner,
        fields.url,
        draft.domain,
        draft.code,
        fields.max_clicks,
        fields.valid_from,
        fields.expires_at,
        list(fields.tags),
    )
    return None if row is None else link_of(row)


async def sum_clicks(conn: Connection, owner: str | None) -> tuple[int, int]:
    """Add up the clicks of an owner's links, or of all, and those of people."""
    row = await conn.fetchrow(_whose(_SUMS, owner), owner)
    assert row is not None, "an aggregate has one row"
    return row["clicks"], row["humans"]


async def select_tag_counts(
    conn: Connection, *, owner: str | None, search: str | None, order: tuple[str, bool], start: int, count: int
) -> tuple[list[TagCount], int]:
    """Read a page of the tags in use.

    Args:
        conn: Any connection.
        owner: Whose links, or None for everybody's.
        search: Part of the tag, whatever its case.
        order: A name of `TAG_ORDERS`, and whether the largest is first.
        start: Tags before the page.
        count: Tags at most.

    Returns:
        The page, and how many tags there are.
    """
    name, is_descending = order
    statement = _whose(_TAGS, owner).replace("<column>", TAG_ORDERS[name])
    statement = statement.replace("<order>", "DESC" if is_descending else "ASC")
    rows = await conn.fetch(statement, owner, _containing(search), start, count)
    if rows or not start:
        return [TagCount(*list(row)[:4]) for row in rows], rows[0]["total"] if rows else 0
    first = await conn.fetch(statement, owner, _containing(search), 0, 1)
    return [], first[0]["total"] if first else 0


async def has_tag(conn: Connection, owner: str | None, tag: str) -> bool:
    statement = _whose("SELECT EXISTS (SELECT FROM links WHERE deleted_at IS NULL AND <owner> AND tags @> $2)", owner)
    return bool(await conn.fetchval(statement, owner, [tag]))


async def count_tagged(conn: Connection, owner: str | None, tags: Sequence[str]) -> int:
    """Count the links with one of the tags, no further than one beyond `MOST_RETAGGED`."""
    count: int = await conn.fetchval(_whose(_TAGGED, owner), owner, list(tags), MOST_RETAGGED + 1)
    return count


async def rename_tag(conn: Connection, owner: str | None, old: str, new: str) -> None:
    """Give a tag another name at all links that have it. No redirector reads tags, so nothing is announced."""
    await conn.execute(_retag("array_replace(tags, $3, $4)", owner), owner, [old], old, new)


async def remove_tags(conn: Connection, owner: str | None, tags: Sequence[str]) -> None:
    """Take tags away from all links that have them."""
    left = (
        "ARRAY(SELECT tag FROM unnest(tags) WITH ORDINALITY AS kept (tag, place) WHERE tag <> ALL ($2) ORDER BY place)"
    )
    await conn.execute(_retag(left, owner), owner, list(tags))


async def select_clicked(
    conn: Connection, owner: str | None, *, tag: str | None = None, domain: str | None = None
) -> list[int]:
    """Find the links that were clicked most, one more than `MOST_CLICKED` if there are so many."""
    return [
        row["id"] for row in await conn.fetch(_whose(_CLICKED, owner), owner, tag and [tag], domain, MOST_CLICKED + 1)
    ]


async def select_visited(conn: Connection, ids: Sequence[int]) -> dict[int, Visited]:
    """Read what visits tell of their links."""
    rows = await conn.fetch(
        """
        SELECT id, domain, code,
               CASE WHEN rules IS NULL AND split IS NULL AND deleted_at IS NULL THEN url END AS target
        FROM links WHERE id = ANY ($1)
        """,
        ids,
    )
    return {row["id"]: Visited((row["domain"], row["code"]), row["target"]) for row in rows}


def _whose(statement: str, owner: str | None) -> str:
    """Say whose links; two statements, because a plan for everybody's links would read all of them for one owner's."""
    return statement.replace("<owner>", "$1::text IS NULL" if owner is None else "owner = $1")


def _retag(tags: str, owner: str | None) -> str:
    return _whose(_RETAG, owner).replace("<tags>", tags)


def _arguments(wanted: ShortUrlFilter) -> tuple[object, ...]:
    """$1 to $12 of the statements with `_FILTER`."""
    search = wanted.search
    return (
        wanted.owner,
        wanted.domain,
        list(wanted.all_tags) or None,
        list(wanted.any_tags) or None,
        list(wanted.without_all) or None,
        list(wanted.without_any) or None,
        None if search is None else [_containing(each) for each in (search.text, *search.targets)],
        None if search is None else _containing(search.text),
        wanted.since,
        wanted.until,
        wanted.not_used_up,
        wanted.not_expired,
    )


def _containing(text: str | None) -> str | None:
    """The pattern of what contains a text, taken literally."""
    if text is None:
        return None
    return "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


_FILTER = """
    WHERE deleted_at IS NULL AND <owner>
      AND ($2::text IS NULL OR domain = $2)
      AND ($3::text[] IS NULL OR tags @> $3)
      AND ($4::text[] IS NULL OR tags && $4)
      AND ($5::text[] IS NULL OR NOT tags @> $5)
      AND ($6::text[] IS NULL OR NOT tags && $6)
      AND ($7::text[] IS NULL OR url ILIKE ANY ($7) OR given_url ILIKE $8 OR code ILIKE $8 OR title ILIKE $8
           OR domain ILIKE $8 OR EXISTS (SELECT FROM unnest(tags) AS tag WHERE tag ILIKE $8))
      AND ($9::timestamptz IS NULL OR created_at >= $9)
      AND ($10::timestamptz IS NULL OR created_at < $10)
      AND (NOT $11 OR max_clicks IS NULL
           OR max_clicks > coalesce((SELECT used FROM link_claims WHERE link_id = links.id), 0))
      AND (NOT $12 OR expires_at IS NULL OR expires_at > now())
"""

_COUNT = f"SELECT count(*) FROM links{_FILTER}"  # noqa: S608  # of this file
_IDS = f"SELECT id FROM links{_FILTER}ORDER BY <column> <order>, id <order> OFFSET $13 LIMIT $14"  # noqa: S608  # of this file

_SIMILAR = """
    <select>
    WHERE owner = $1 AND hashtextextended(url, 0) = hashtextextended($2, 0) AND url = $2 AND deleted_at IS NULL
      AND domain = $3 AND ($4 = '' OR code = $4) AND max_clicks IS NOT DISTINCT FROM $5
      AND valid_from IS NOT DISTINCT FROM $6 AND expires_at IS NOT DISTINCT FROM $7 AND tags @> $8 AND tags <@ $8
    ORDER BY id LIMIT 1
""".replace("<select>", SELECT)

_SUMS = """
    SELECT coalesce(sum(clicks), 0)::bigint AS clicks, coalesce(sum(humans), 0)::bigint AS humans
    FROM links WHERE deleted_at IS NULL AND <owner>
"""

_TAGS = """
    WITH counted AS (
        SELECT tag, count(*) AS links, sum(clicks)::bigint AS clicks, sum(humans)::bigint AS humans
        FROM links, unnest(tags) AS tag
        WHERE deleted_at IS NULL AND <owner> AND ($2::text IS NULL OR tag ILIKE $2)
        GROUP BY tag
    )
    SELECT tag, links, clicks, humans, count(*) OVER () AS total
    FROM counted ORDER BY <column> <order>, tag COLLATE "C" OFFSET $3 LIMIT $4
"""

_TAGGED = """
    SELECT count(*) FROM (
        SELECT FROM links WHERE deleted_at IS NULL AND <owner> AND tags && $2 LIMIT $3) AS tagged
"""

# The rows are locked in the order in which batches lock them.
_RETAG = """
    WITH tagged AS MATERIALIZED (
        SELECT domain, code FROM links WHERE deleted_at IS NULL AND <owner> AND tags && $2::text[]
        ORDER BY domain, code FOR NO KEY UPDATE
    )
    UPDATE links SET tags = <tags>, version = version + 1, updated_at = now()
    FROM tagged WHERE links.domain = tagged.domain AND links.code = tagged.code
"""

_CLICKED = """
    SELECT id FROM links
    WHERE deleted_at IS NULL AND <owner> AND clicks > 0
      AND ($2::text[] IS NULL OR tags @> $2) AND ($3::text IS NULL OR domain = $3)
    ORDER BY clicks_sorted DESC, id DESC LIMIT $4
"""
