"""What a step of an import does: it checks a slice of the file, or stores it, in the transaction of its caller.

First all of the file is read, so that one that is broken makes nothing; then come the links, and then their visits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from services.links.archive.restoring import restore_domains
from services.links.clicks.enrichment import Enricher
from services.links.imported.batches import StoredImport
from services.links.imported.keys import VisitorKey, open_visitor_key
from services.links.imported.storing import store_imported
from services.links.imported.visits import VisitReader
from services.links.imports.archives import destination_of, restore_slice
from services.links.imports.drafts import DraftMaker, FoundDraft, FoundRoot, Refused
from services.links.imports.rows import MOST_REFUSALS, Counts, ImportRow, RefusalRow
from services.links.imports.source_rows import select_imported_ids
from services.links.imports.storing import Stored, check_slice, list_refused, store_slice
from services.links.sources import SOURCES, archive, recognise
from services.links.sources.archive_lines import DomainLine
from services.links.sources.formats import head_of
from services.links.sources.found import (
    File,
    FoundCounts,
    FoundLink,
    FoundRecord,
    FoundVisit,
    Source,
    Unusable,
    UnusableFile,
)
from shared.countries import COUNTRIES
from shared.postgres import Connection
from shared.records import LinkKey
from shared.settings import LinksSettings

Found = FoundLink | FoundVisit | FoundCounts | FoundRecord | Unusable


class Stage(StrEnum):
    """What of the file comes now, as the table has it."""

    CHECK_LINKS = "reading"
    CHECK_VISITS = "reading visits"
    LINKS = "links"
    VISITS = "visits"

    @property
    def makes(self) -> bool:
        """Whether it makes anything. What makes nothing begins anew in another process."""
        return self in (Stage.LINKS, Stage.VISITS)


NEXT = {Stage.CHECK_LINKS: Stage.CHECK_VISITS, Stage.CHECK_VISITS: Stage.LINKS, Stage.LINKS: Stage.VISITS}

STEP_ROWS = {Stage.CHECK_LINKS: 5_000, Stage.CHECK_VISITS: 5_000, Stage.LINKS: 4_000, Stage.VISITS: 5_000}
"""Links of a step take some 200 ms, in which nobody else gets their codes. Fewer of them take longer."""

ARCHIVE_ROWS = 1_000
"""Days of an archive take some 80 ms, in which no click is counted."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a step has done.

    Attributes:
        listed: Rows that were left out or changed.
        changed: Links that redirectors may know as they were before.
        new: New links with codes of their own.
    """

    counts: Counts
    listed: Sequence[RefusalRow] = ()
    changed: Sequence[LinkKey] = ()
    new: Sequence[FoundDraft] = ()


def find_source(file: File, name: str | None) -> Source:
    """Find out whose file it is.

    Raises:
        UnusableFile: It is of no source that is known here.
    """
    head = head_of(file)
    if not head:
        raise UnusableFile("The file is empty.")
    if name is None:
        found = recognise(head, file.name)
    else:
        # A source may have several kinds of files.
        named = [source for source in SOURCES if name == source.NAME]
        found = next((source for source in named if source.recognise(head, file.name)), named[0] if named else None)
    if found is None:
        known = ", ".join(dict.fromkeys(source.NAME for source in SOURCES))
        raise UnusableFile(f"It is not clear whose file this is. Say format=…, one of {known}.")
    return found


class Steps:
    """The steps of one import.

    Args:
        job: The import.
        source: Who reads its file.
        maker: Makes drafts of what is found.
        settings: For how long clicks are kept, and the database of countries.
    """

    def __init__(self, job: ImportRow, source: Source, maker: DraftMaker, settings: LinksSettings) -> None:
        self._settings = settings
        self._reader: VisitReader | None = None
        self._told = False
        self._job = job
        self._source = source
        self._maker = maker
        self._segmented: set[str] = set()

    @property
    def checks(self) -> bool:
        """Whether the first reading looks for conflicts, which needs the table of `begin_checking`."""
        return self._job.dry_run or self._job.options.on_conflict == "fail"

    def size(self, stage: Stage) -> int:
        """So many rows are a step."""
        return ARCHIVE_ROWS if self._source.NAME == archive.NAME and stage is Stage.VISITS else STEP_ROWS[stage]

    def read(self, stage: Stage, file: File) -> Iterator[object]:
        """Read rows of a stage, ready to be stored, in the thread that asks for them: sources look at the file at once.

        Raises:
            UnusableFile: The file cannot be read on.
        """
        # A generator: a source may read at once, and that must be in the thread, too.
        if stage in (Stage.CHECK_VISITS, Stage.VISITS):
            yield from map(_refuse_unusable, self._source.read_visits(file))
        elif stage is Stage.CHECK_LINKS and not self.checks:
            yield from self._source.read_links(file)
        else:
            yield from map(self._make, self._source.read_links(file))

    async def work(self, conn: Connection, stage: Stage, rows: Sequence[object], listed: int) -> Done:
        """Do a step.

        Args:
            conn: In a transaction.
            stage: The stage.
            rows: A slice of what was read.
            listed: How many rows are listed already.
        """
        job, source = self._job, self._source.NAME
        if stage is Stage.CHECK_VISITS or (stage is Stage.CHECK_LINKS and not self.checks):
            return Done(Counts(rows_read=len(rows)))
        if stage is Stage.VISITS:
            return await self._work_visits(conn, rows)
        links = [each for each in rows if isinstance(each, FoundDraft | FoundRoot | Refused)]
        changed: Sequence[LinkKey] = ()
        if records := [each for each in rows if isinstance(each, FoundRecord)]:
            # Domains come before their links, whose codes they may allow.
            changed, left = await self._decide_domains(conn, records, checks=stage is Stage.CHECK_LINKS)
            links += left
        done: Stored = (
            await check_slice(conn, job, source, links, frozenset(self._segmented))
            if stage is Stage.CHECK_LINKS
            else await store_slice(conn, job, source, links)
        )
        left_out = await list_refused(conn, done.refused) if listed < MOST_REFUSALS else []
        return Done(done.counts(len(rows)), [*left_out, *done.notices], [*done.announced, *changed], done.owned)

    async def _work_visits(self, conn: Connection, rows: Sequence[object]) -> Done:
        """Store the visits and counts of a slice, and what else an archive has."""
        job, source = self._job, self._source.NAME
        refused = [each for each in rows if isinstance(each, Refused)]
        visits = [each for each in rows if isinstance(each, FoundVisit | FoundCounts)]
        stored, of_links = await self._store_visits(conn, visits)
        taken, surplus = stored.dated, []
        if visits and not of_links and not self._told:
            self._told = True
            reason = (
                "Visits from here on are of links that did not come from this source, or have visits of another import"
            )
            surplus.append(RefusalRow(visits[0].line, visits[0].code, reason))
        if stored.surplus:
            reason = (
                f"{stored.surplus:,} visits from here on are more than the clicks of their links, and were left out"
            )
            surplus.append(RefusalRow(visits[0].line, visits[0].code, reason))
        claimed: Sequence[FoundDraft] = ()
        if records := [each for each in rows if isinstance(each, FoundRecord)]:
            restored, claimed = await restore_slice(conn, job, source, records, self._maker)
            taken += restored.clicks
            refused += [Refused(record.line, "", reason) for record, reason in restored.refused]
        counts = Counts(rows_read=len(rows), visits=taken, refused=len(refused), notices=len(surplus))
        return Done(counts, [*await list_refused(conn, refused), *surplus], new=claimed)

    async def _decide_domains(
        self, conn: Connection, records: Sequence[FoundRecord], *, checks: bool
    ) -> tuple[Sequence[LinkKey], list[Refused]]:
        """Decide about domains as an archive says, or only find out what would become of that."""
        destination = destination_of(self._job, self._maker)
        changed, problems = await restore_domains(conn, records, destination, checks=checks)
        if checks:
            wanted = {domain for domain, _ in changed}
            self._segmented |= {
                domain
                for each in records
                if isinstance(each.record, DomainLine) and each.record.decided.get("multi_segment") is True
                if (domain := self._maker.find_domain(each.record.domain)) in wanted and domain is not None
            }
            changed = []
        return changed, [Refused(each.line, "", reason) for each, reason in problems]

    async def _store_visits(
        self, conn: Connection, visits: Sequence[FoundVisit | FoundCounts]
    ) -> tuple[StoredImport, int]:
        """Store visits of links that have come from the same source, now or before, and have no visits of another import.

        Returns:
            What became of them, and how many there were.
        """
        job = self._job
        if not visits:
            return StoredImport(), 0
        # A step that was rolled back has taken the key with it that it had drawn.
        key = await open_visitor_key(conn, job.id)
        if self._reader is None or self._reader.key != key:
            self._reader = open_reader(key, self._settings.country_database)
        origins = [self._maker.origin_of(each.domain, each.code) for each in visits]
        ids = await select_imported_ids(conn, job.owner, self._source.NAME, job.number, list(set(origins)))
        found = [(ids[origin], each) for origin, each in zip(origins, visits, strict=True) if origin in ids]
        batch = replace(self._reader.read_batch(job.owner, found), import_number=job.number)
        kept_days = self._settings.clicks_retention_days
        return await store_imported(conn, batch, today=datetime.now(UTC).date(), kept_days=kept_days), len(found)

    def refuse(self, row: object, reason: str) -> Refused:
        """Return a row as one that is left out."""
        if isinstance(row, FoundDraft | FoundRoot | Refused):
            return Refused(row.line, row.input, reason)
        return Refused(getattr(row, "line", 0), getattr(row, "code", ""), reason)

    def _make(self, found: FoundLink | FoundRecord | Unusable) -> object:
        return self._maker.make(found) if isinstance(found, FoundLink) else _refuse_unusable(found)


def _refuse_unusable(found: Found) -> object:
    return Refused(found.line, found.text, found.reason) if isinstance(found, Unusable) else found


def open_reader(key: VisitorKey, countries: Path | None) -> VisitReader:
    """Open the parsers of visits, with the key of an import. They take some 60 MB."""
    return VisitReader(Enricher(countries or COUNTRIES), key)
