"""Hands clicks of before to the tables of counts: single visits and counts of days, of links that an import has made."""

from collections.abc import Sequence

from services.links.imports.drafts import origin_of
from services.links.imports.link_rows import select_imported_ids
from services.links.imports.rows import ImportRow
from services.links.sources.found import FoundCounts, FoundVisit
from shared.postgres import Connection


async def store_visits(
    conn: Connection, job: ImportRow, source: str, visits: Sequence[FoundVisit | FoundCounts]
) -> int:
    """Store visits of links that this import has made; others had theirs before, so they do not count again.

    Returns:
        How many were stored.
    """
    origins = {origin_of(each.domain, each.code) for each in visits}
    ids = await select_imported_ids(conn, job.owner, source, job.number, list(origins))
    return sum(
        each.clicks if isinstance(each, FoundCounts) else 1
        for each in visits
        if origin_of(each.domain, each.code) in ids
    )
