"""Undoes an import, in steps: what it made is deleted, what it replaced is restored. What was edited or clicked since stays.

Deleted links leave tombstones that know where they came from: the same import makes the same links again.
"""

from services.links.domains.rows import lock_domain, select_domain, update_domain
from services.links.imported.keys import close_visitor_key
from services.links.imports.archives import erase_restored
from services.links.imports.rows import Counts, ImportRow, RefusalRow, advance, insert_refusals, update_state
from services.links.imports.source_rows import (
    ImportedRow,
    delete_roots,
    has_brought_clicks,
    leave_sources,
    lock_imported,
    read_before,
    restore_source,
    select_roots,
)
from services.links.imports.spool import delete_parts
from services.links.links.rows import delete_links, update_link
from services.links.packed.imported import leave_dated, lock_imported_clicks
from services.links.packed.taking import take_dates, take_imported
from shared.changes import insert_changes
from shared.postgres import Connection
from shared.records import LinkKey

STEP_LINKS = 500

UNDO = "undo"
"""The stage of an import that is being undone."""


class Undoing:
    """An import that is being undone.

    Args:
        conn: A connection.
        job: The import as it is.
    """

    def __init__(self, conn: Connection, job: ImportRow) -> None:
        self.job = job
        self._conn = conn
        self._position = job.position
        self._listed = job.counts.refused + job.counts.notices + job.counts.kept

    async def step(self) -> int | None:
        """Undo some links.

        Returns:
            The number of changes that were announced; None if all of it is undone.
        """
        conn, job = self._conn, self.job
        async with conn.transaction():
            # Before any link is locked.
            await lock_imported_clicks(conn)
            rows = await lock_imported(conn, job.number, STEP_LINKS)
            taken = [each.id for each in rows if _is_undone(each) and has_brought_clicks(each)]
            # Of links with years of counts there are more of them. Last come dates of clicks that were there before.
            if await (take_imported(conn, taken) if rows else take_dates(conn, job.number)):
                await advance(conn, job.id, UNDO, self._position, Counts(), before=self._position)
                return 0
            if not rows:
                await self._end()
                return None
            changed, kept = await self._undo(rows)
            listed = [RefusalRow(None, each.origin, f"Kept: {_why_kept(each)}") for each in kept]
            await insert_refusals(conn, job.id, listed, self._listed)
            position = self._position + len(rows)
            await advance(conn, job.id, UNDO, position, Counts(kept=len(kept)), before=self._position)
            if changed:
                await insert_changes(conn, sorted(changed))
        self._position = position
        self._listed += len(kept)
        return len(changed)

    async def close(self) -> None:
        """Nothing is open."""

    async def _undo(self, rows: list[ImportedRow]) -> tuple[list[LinkKey], list[ImportedRow]]:
        conn, job = self._conn, self.job
        kept = [each for each in rows if not each.deleted and _why_kept(each)]
        undone = [each for each in rows if _is_undone(each)]
        made = [each for each in undone if each.before is None]
        replaced = [each for each in rows if each.before is not None]
        await delete_links(conn, [each.id for each in made])
        await erase_restored(conn, job.number, [each.id for each in made])
        await leave_dated(conn, job.number, [each.id for each in kept])
        await leave_sources(conn, [each.id for each in rows if each.before is None], job.number)
        for each in replaced:
            version = 0
            if each in undone and each.before is not None:
                version = (await update_link(conn, each.key, read_before(each.before))).version
            await restore_source(conn, job.owner, each, version)
        return [each.key for each in undone], kept

    async def _end(self) -> None:
        conn, job = self._conn, self.job
        restored = []
        for domain, url in await select_roots(conn, job.number):
            await lock_domain(conn, domain)
            if (await select_domain(conn, domain)).root_url == url:
                await update_domain(conn, domain, {"root_url": None})
                restored.append((domain, ""))
        await delete_roots(conn, job.number)
        await update_state(conn, job.id, "undone")
        await close_visitor_key(conn, job.id)
        await delete_parts(conn, job.id)
        if restored:
            await insert_changes(conn, sorted(restored))


def _is_undone(row: ImportedRow) -> bool:
    return not row.deleted and not _why_kept(row)


def _why_kept(row: ImportedRow) -> str:
    if row.version != row.import_version:
        return "it was edited since."
    # What was there before has clicks of its own, and gets back what it was.
    return "it was clicked since." if row.before is None and row.own_clicks else ""
