"""What Shlink's lists ask of the links table, and nobody else: pages by number, its filters and orders.

`short_urls.py` and `creating.py` call these. Single links go through `services/links/links/`; tags are in `tag_rows.py`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.links.links.rows import SELECT, LinkDraft, LinkRow, link_of
from services.links.links.search import Search
from shared.postgres import Connection

READ_AT_ONCE = 500


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


ORDERS = {
    "dateCreated": "id",
    "shortCode": "code",
    "longUrl": "url",
    "title": "title",
    "visits": "clicks_sorted",
    "nonBotVisits": "humans_sorted",
}
"""The columns that a list is sorted by."""


async def count_short_urls(conn: Connection, wanted: ShortUrlFilter) -> int:
    """Count the links that match a filter."""
    count: int = await conn.fetchval(say_whose(_COUNT, wanted.owner), *_arguments(wanted))
    return count


async def limit_statements(conn: Connection, seconds: float) -> None:
    """End each further statement of the transaction after so long; one that is over its time gets a moment."""
    await conn.execute("SELECT set_config('statement_timeout', $1, true)", str(max(1, round(seconds * 1000))))


async def select_short_urls(
    conn: Connection, wanted: ShortUrlFilter, order: tuple[str, bool], *, start: int, count: int, total: int
) -> list[LinkRow]:
    """Read a page of a list by its place.

    The ids are found first, from the nearer end of the list: those before the page are passed over, in an index alone where
    nothing is filtered.

    Args:
        conn: In a snapshot.
        wanted: Which links.
        order: A name of `ORDERS`, and whether the largest is first.
        start: Links before the page.
        count: Links at most.
        total: All links that match, in the same snapshot.
    """
    name, is_descending = order
    count = min(count, total - start)
    if count <= 0:
        return []
    behind = total - start - count
    is_reversed = behind < start
    direction = "DESC" if is_descending != is_reversed else "ASC"
    statement = say_whose(_IDS.replace("<column>", ORDERS[name]).replace("<order>", direction), wanted.owner)
    rows = await conn.fetch(statement, *_arguments(wanted), behind if is_reversed else start, count)
    ids = [row["id"] for row in (reversed(rows) if is_reversed else rows)]
    found: dict[int, LinkRow] = {}
    for first in range(0, len(ids), READ_AT_ONCE):
        rows = await conn.fetch(SELECT + "WHERE id = ANY ($1)", ids[first : first + READ_AT_ONCE])
        found |= {row["id"]: link_of(row) for row in rows}
        await asyncio.sleep(0)
    return [found[each] for each in ids]


async def find_similar(conn: Connection, draft: LinkDraft) -> LinkRow | None:
    """Find the owner's oldest link that Shlink takes for the same: target, code if there is one, limit, dates and tags.

    Shlink knows no link that is switched off or asks for a password, so none of these is what its client wants.
    """
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


async def has_segments(conn: Connection, domain: str) -> bool:
    """Tell whether the codes of a domain may have slashes."""
    return bool(await conn.fetchval("SELECT multi_segment FROM domains WHERE domain = $1", domain))


def say_whose(statement: str, owner: str | None) -> str:
    """Say whose links; two statements, because a plan for everybody's links would read all of them for one owner's."""
    return statement.replace("<owner>", "$1::text IS NULL" if owner is None else "owner = $1")


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
        None if search is None else [containing(each) for each in (search.text, *search.targets)],
        None if search is None else containing(search.text),
        wanted.since,
        wanted.until,
        wanted.not_used_up,
        wanted.not_expired,
    )


def containing(text: str | None) -> str | None:
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
      AND enabled AND password_hash IS NULL
    ORDER BY id LIMIT 1
""".replace("<select>", SELECT)
