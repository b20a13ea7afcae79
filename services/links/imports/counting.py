"""Hands clicks of before to the tables of counts: single visits and counts of days, of links that an import has made."""

from collections.abc import Sequence
from datetime import UTC, datetime

from services.links.clicks.enrichment import Enricher
from services.links.imported.batches import StoredImport
from services.links.imported.keys import VisitorKey, open_visitor_key
from services.links.imported.storing import store_imported
from services.links.imported.visits import VisitReader
from services.links.imports.drafts import origin_of
from services.links.imports.link_rows import select_imported_ids
from services.links.imports.rows import ImportRow
from services.links.sources.found import FoundCounts, FoundVisit
from shared.countries import COUNTRIES
from shared.postgres import Connection
from shared.settings import LinksSettings


class VisitCounter:
    """Stores the visits of imports. It loads the parsers when there are some.

    Args:
        settings: How long raw clicks stay, and where countries are told.
    """

    def __init__(self, settings: LinksSettings) -> None:
        self._kept_days = settings.clicks_retention_days
        self._countries = settings.country_database or COUNTRIES
        self._enricher: Enricher | None = None
        self._reader: tuple[VisitorKey, VisitReader] | None = None

    async def store(
        self, conn: Connection, job: ImportRow, source: str, visits: Sequence[FoundVisit | FoundCounts]
    ) -> StoredImport:
        """Store visits of links that this import has made; others had theirs before, so they do not count again."""
        origins = [origin_of(each.domain, each.code) for each in visits]
        ids = await select_imported_ids(conn, job.owner, source, job.number, list(set(origins)))
        reader = self._reader_of(await open_visitor_key(conn, job.id))
        found = ((ids[origin], each) for origin, each in zip(origins, visits, strict=True) if origin in ids)
        batch = reader.read_batch(job.owner, found)
        return await store_imported(conn, batch, today=datetime.now(UTC).date(), kept_days=self._kept_days)

    def _reader_of(self, key: VisitorKey) -> VisitReader:
        if self._reader is None or self._reader[0] != key:
            self._enricher = self._enricher or Enricher(self._countries)
            self._reader = key, VisitReader(self._enricher, key)
        return self._reader[1]
