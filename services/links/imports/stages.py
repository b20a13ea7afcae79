"""What a step of an import does: it checks a slice of the file, or stores it, in the transaction of its caller.

First all of the file is read, so that one that is broken makes nothing; then come the links, and then their visits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.links.archive.restoring import Restored
from services.links.imported.batches import StoredImport
from services.links.imports.archives import restore_slice
from services.links.imports.counting import VisitCounter
from services.links.imports.drafts import DraftMaker, FoundDraft, FoundRoot, Refused
from services.links.imports.rows import MOST_REFUSALS, Counts, ImportRow, RefusalRow
from services.links.imports.storing import Stored, check_slice, list_refused, store_slice
from services.links.sources import SOURCES, archive, recognise
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
from shared.postgres import Connection
from shared.records import LinkKey

HEAD_BYTES = 64 * 1024

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

STEP_ROWS = {Stage.CHECK_LINKS: 2_000, Stage.CHECK_VISITS: 5_000, Stage.LINKS: 1_000, Stage.VISITS: 5_000}
"""Links of a step take some 50 ms, in which nobody else gets their codes."""

ARCHIVE_ROWS = 1_000
"""Days of an archive take some 80 ms, in which no click is counted."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a step has done.

    Attributes:
        listed: Rows that were left out or changed.
        changed: Links that redirectors may know as they were before.
    """

    counts: Counts
    listed: Sequence[RefusalRow] = ()
    changed: Sequence[LinkKey] = ()


def find_source(file: File, name: str | None) -> Source:
    """Find out whose file it is.

    Raises:
        UnusableFile: It is of no source that is known here.
    """
    known = {source.NAME: source for source in SOURCES}
    if name in known:
        return known[name]
    head = b""
    for block in file.blocks():
        head += block
        if len(head) >= HEAD_BYTES:
            break
    if not head:
        raise UnusableFile("The file is empty.")
    found = recognise(head[:HEAD_BYTES], file.name)
    if found is None:
        raise UnusableFile(f"It is not clear whose file this is. Say format=…, one of {', '.join(known)}.")
    return found


class Steps:
    """The steps of one import.

    Args:
        job: The import.
        source: Who reads its file.
        maker: Makes drafts of what is found.
        counter: Stores visits.
    """

    def __init__(self, job: ImportRow, source: Source, maker: DraftMaker, counter: VisitCounter) -> None:
        self._job = job
        self._source = source
        self._maker = maker
        self._counter = counter

    @property
    def checks(self) -> bool:
        """Whether the first reading looks for conflicts, which needs the table of `begin_checking`."""
        return self._job.dry_run or self._job.options.on_conflict == "fail"

    def size(self, stage: Stage) -> int:
        """So many rows are a step."""
        return ARCHIVE_ROWS if self._source.NAME == archive.NAME and stage is Stage.VISITS else STEP_ROWS[stage]

    def read(self, stage: Stage, file: File) -> Iterator[object]:
        """Read rows of a stage, ready to be stored. It is called in a thread.

        Raises:
            UnusableFile: The file cannot be read on.
        """
        if stage in (Stage.CHECK_VISITS, Stage.VISITS):
            return map(_refuse_unusable, self._source.read_visits(file))
        links = self._source.read_links(file)
        if stage is Stage.CHECK_LINKS and not self.checks:
            return iter(links)
        return map(self._make, links)

    async def work(self, conn: Connection, stage: Stage, rows: Sequence[object], listed: int) -> Done:
        """Do a step.

        Args:
            conn: In a transaction.
            stage: The stage.
            rows: A slice of what was read.
            listed: How many rows are listed already.
        """
        job, source = self._job, self._source.NAME
        refused = [each for each in rows if isinstance(each, Refused)]
        if stage is Stage.CHECK_VISITS or (stage is Stage.CHECK_LINKS and not self.checks):
            return Done(Counts(rows_read=len(rows)))
        if stage is Stage.VISITS:
            visits = [each for each in rows if isinstance(each, FoundVisit | FoundCounts)]
            taken = await self._counter.store(conn, job, source, visits) if visits else StoredImport()
            surplus = []
            if taken.surplus:
                reason = (
                    f"{taken.surplus:,} visits from here on are more than the clicks of their links, and were left out"
                )
                surplus.append(RefusalRow(visits[0].line, visits[0].code, reason))
            records = [each for each in rows if isinstance(each, FoundRecord)]
            restored = await restore_slice(conn, job, source, records, self._maker) if records else Restored()
            refused += [Refused(record.line, "", reason) for record, reason in restored.refused]
            dated = taken.dated + restored.clicks
            counts = Counts(rows_read=len(rows), visits=dated, refused=len(refused), notices=len(surplus))
            return Done(counts, [*await list_refused(conn, refused), *surplus], restored.changed)
        work = check_slice if stage is Stage.CHECK_LINKS else store_slice
        links = [each for each in rows if isinstance(each, FoundDraft | FoundRoot | Refused)]
        stored: Stored = await work(conn, job, source, links)
        left_out = await list_refused(conn, stored.refused) if listed < MOST_REFUSALS else []
        return Done(stored.counts(len(rows)), [*left_out, *stored.notices], stored.announced)

    def refuse(self, row: object, reason: str) -> Refused:
        """Return a row as one that is left out."""
        if isinstance(row, FoundDraft | FoundRoot | Refused):
            return Refused(row.line, row.input, reason)
        return Refused(getattr(row, "line", 0), getattr(row, "code", ""), reason)

    def _make(self, found: FoundLink | Unusable) -> object:
        return _refuse_unusable(found) if isinstance(found, Unusable) else self._maker.make(found)


def _refuse_unusable(found: Found) -> object:
    return Refused(found.line, found.text, found.reason) if isinstance(found, Unusable) else found
