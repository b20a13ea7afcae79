"""What Shlink's tags and visits ask of the links table: tags as a whole, sums of clicks, and links by how they were clicked.

`tags.py` and `visits.py` call these.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from services.links.compat.shlink.rows import containing, say_whose
from shared.postgres import Connection
from shared.records import LinkKey

MOST_RETAGGED = 10_000
"""Links whose tags change in one request: as many as a batch has."""

MOST_CLICKED = 1_000
"""Links whose clicks are read together."""


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


TAG_ORDERS = {
    "tag": 'tag COLLATE "C"',
    "shortUrlsCount": "links",
    "visits": "clicks",
    "nonBotVisits": "humans",
}


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
    statement = say_whose(_TAGS, owner).replace("<column>", TAG_ORDERS[name])
    statement = statement.replace("<order>", "DESC" if is_descending else "ASC")
    rows = await conn.fetch(statement, owner, containing(search), start, count)
    if rows or not start:
        return [TagCount(*list(row)[:4]) for row in rows], rows[0]["total"] if rows else 0
    first = await conn.fetch(statement, owner, containing(search), 0, 1)
    return [], first[0]["total"] if first else 0


async def find_tagged(
    conn: Connection, owner: str | None, tags: Sequence[str], *, most: int = MOST_RETAGGED + 1
) -> dict[int, list[str]]:
    """Find links with one of some tags: those tags of each, by the links' ids. No index has the tags, so ask once."""
    rows = await conn.fetch(say_whose(_TAGGED, owner), owner, list(tags), most)
    return {row["id"]: row["tags"] for row in rows}


async def rename_tag(conn: Connection, ids: Collection[int], old: str, new: str) -> None:
    """Give a tag of some links another name. No redirector reads tags, so nothing is announced."""
    await conn.execute(_RETAG.replace("<tags>", "array_replace(tags, $3, $4)"), [*ids], [old], old, new)


async def remove_tags(conn: Connection, ids: Collection[int], tags: Sequence[str]) -> None:
    """Take tags away from some links."""
    await conn.execute(_RETAG.replace("<tags>", _LEFT), [*ids], [*tags])


async def select_clicked(
    conn: Connection, owner: str | None, *, tag: str | None = None, domain: str | None = None
) -> list[int]:
    """Find the links that were clicked most, one more than `MOST_CLICKED` if there are so many."""
    return [
        row["id"]
        for row in await conn.fetch(say_whose(_CLICKED, owner), owner, tag and [tag], domain, MOST_CLICKED + 1)
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


async def sum_clicks(conn: Connection, owner: str | None) -> tuple[int, int]:
    """Add up the clicks of an owner's links, or of all, and those of people."""
    row = await conn.fetchrow(say_whose(_SUMS, owner), owner)
    assert row is not None, "an aggregate has one row"
    return row["clicks"], row["humans"]


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
    SELECT id, ARRAY(SELECT unnest(tags) INTERSECT SELECT unnest($2::text[])) AS tags
    FROM links WHERE deleted_at IS NULL AND <owner> AND tags && $2 LIMIT $3
"""

_LEFT = "ARRAY(SELECT tag FROM unnest(tags) WITH ORDINALITY AS kept (tag, place) WHERE tag <> ALL ($2) ORDER BY place)"

# The rows are locked in the order in which batches lock them.
_RETAG = """
    WITH tagged AS MATERIALIZED (
        SELECT domain, code FROM links WHERE id = ANY ($1::bigint[]) AND deleted_at IS NULL AND tags && $2::text[]
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
