"""Works an import off: reads its file in a thread, and does one step after another, each in a transaction with how far it is.

A process that dies loses the step that was not committed. The next one reads the file again and passes over what is done.
"""

import asyncio
from collections.abc import Iterator
from itertools import islice
from time import monotonic

import asyncpg
import structlog

from services.links.imported.keys import close_visitor_key
from services.links.imports.drafts import DraftMaker
from services.links.imports.link_rows import begin_checking, end_checking
from services.links.imports.rows import (
    ImportRow,
    advance,
    insert_refusals,
    lock_place,
    reset_counts,
    update_format,
    update_speed,
    update_state,
)
from services.links.imports.spool import FileConnection, SpooledFile, has_parts
from services.links.imports.stages import NEXT, Stage, Steps, find_source
from services.links.imports.storing import Conflict, announce
from services.links.site import Site
from services.links.sources.found import UnusableFile
from shared.postgres import UNAVAILABLE, Connection
from shared.settings import LinksSettings

SPEED_INTERVAL_S = 1.0
WAIT_S = 1.0
"""For so long a step waits for rows. Passing over millions of them takes minutes, and so do the tables of a large dump."""

log = structlog.get_logger()


class Run:
    """An import that this process works off.

    Args:
        conn: A connection for the steps.
        file_conn: The connection for files.
        job: The import as it is.
        settings: Of the service.
    """

    def __init__(self, conn: Connection, file_conn: FileConnection, job: ImportRow, settings: LinksSettings) -> None:
        self.job = job
        self._conn = conn
        self._settings = settings
        self._file = SpooledFile(
            file_conn,
            asyncio.get_running_loop(),
            job.id,
            name=job.options.filename,
            hints=job.options.hints(),
            is_gzip=job.is_gzip,
        )
        self._steps: Steps | None = None
        self._stage = Stage(job.stage)
        self._position = job.position
        self._listed = job.counts.refused + job.counts.notices
        self._rows: Iterator[object] = iter(())
        self._next: asyncio.Future[list[object]] | None = None
        self._begun = (0.0, 0)
        self._told_at = 0.0

    async def step(self) -> int | None:
        """Do a step. A file that cannot be used, or a conflict, ends the import.

        Returns:
            The number of changes that were announced, 0 also if the rows were not read yet; None if the import has ended.
        """
        try:
            if self._steps is None:
                await self._open()
            rows = await self._take()
            if rows is None:
                # Others have their turns meanwhile.
                await update_speed(self._conn, self.job.id, None, None)
                return 0
            if not rows:
                return await self._end_stage()
            announced = await self._work(rows)
            await self._tell_speed()
        except (UnusableFile, Conflict) as error:
            await self._fail(str(error))
            return None
        return announced

    async def close(self) -> None:
        """End the thread that reads, which must not outlive the connection."""
        self._file.close()
        if self._next is not None:
            await asyncio.gather(self._next, return_exceptions=True)
            self._next = None

    async def _open(self) -> None:
        if not await has_parts(self._conn, self.job.id):
            raise UnusableFile("The file is empty.")
        source = await asyncio.to_thread(find_source, self._file, self.job.format)
        maker = DraftMaker(self.job.owner, self.job.options, Site(self._settings), is_admin=self.job.is_admin)
        self._steps = Steps(self.job, source, maker, self._settings)
        if not self._stage.makes:
            async with self._conn.transaction():
                await lock_place(self._conn, self.job.id, self._stage)
                await update_format(self._conn, self.job.id, source.NAME)
            if self._steps.checks:
                await begin_checking(self._conn, self.job.number)
            await self._begin_stage(Stage.CHECK_LINKS)
        else:
            self._read_stage()

    async def _begin_stage(self, stage: Stage) -> None:
        async with self._conn.transaction():
            await lock_place(self._conn, self.job.id, self._stage)
            if stage in (Stage.LINKS, Stage.CHECK_LINKS):
                await reset_counts(self._conn, self.job.id)
                self._listed = 0
            await update_state(self._conn, self.job.id, "importing" if stage.makes else "reading", stage=stage.value)
        self._stage, self._position = stage, 0
        self._read_stage()

    def _read_stage(self) -> None:
        assert self._steps is not None
        self._rows = islice(self._steps.read(self._stage, self._file), self._position, None)
        self._begun = (monotonic(), self._position)
        self._read_on()

    def _read_on(self) -> None:
        """Read the next slice in a thread, while this one is stored."""
        assert self._steps is not None
        rows, size = self._rows, self._steps.size(self._stage)
        self._next = asyncio.ensure_future(asyncio.to_thread(lambda: list(islice(rows, size))))

    async def _take(self) -> list[object] | None:
        """Take the next slice; None if it is not read yet."""
        assert self._next is not None
        if not (await asyncio.wait({self._next}, timeout=WAIT_S))[0]:
            return None
        rows = await self._next
        self._next = None
        if rows:
            self._read_on()
        return rows

    async def _end_stage(self) -> int | None:
        assert self._steps is not None
        if self._stage is Stage.CHECK_LINKS and self._steps.checks:
            await end_checking(self._conn, self.job.number)
        following = NEXT.get(self._stage)
        if following is not None and not (following.makes and self.job.dry_run):
            await self._begin_stage(following)
            return 0
        async with self._conn.transaction():
            await lock_place(self._conn, self.job.id, self._stage)
            await update_state(self._conn, self.job.id, "done")
            await close_visitor_key(self._conn, self.job.id)
        log.info("import_done", import_id=str(self.job.id), dry_run=self.job.dry_run)
        return None

    async def _work(self, rows: list[object]) -> int:
        """Do a step. If Postgres refuses it, do its halves, until the row is found that it refuses, and leave that one out."""
        try:
            return await self._work_once(rows)
        except asyncpg.PostgresError as error:
            if isinstance(error, UNAVAILABLE):
                raise
            if len(rows) > 1:
                half = len(rows) // 2
                return await self._work(rows[:half]) + await self._work(rows[half:])
            log.warning("import_row_refused", import_id=str(self.job.id), error=type(error).__name__)
            assert self._steps is not None
            return await self._work_once([self._steps.refuse(rows[0], "the database does not take it")])

    async def _work_once(self, rows: list[object]) -> int:
        assert self._steps is not None
        position = self._position + len(rows)
        async with self._conn.transaction():
            done = await self._steps.work(self._conn, self._stage, rows, self._listed)
            await insert_refusals(self._conn, self.job.id, done.listed, self._listed)
            await advance(self._conn, self.job.id, self._stage, position, done.counts, before=self._position)
            await announce(self._conn, done.changed, done.new)
        self._position = position
        self._listed += len(done.listed)
        return len(done.changed)

    async def _tell_speed(self) -> None:
        now = monotonic()
        if now - self._told_at < SPEED_INTERVAL_S:
            return
        self._told_at = now
        began, first = self._begun
        took = max(now - began, 0.001)
        read = max(self._file.bytes_read, 1)
        # While it passes over what is done nothing can be said.
        left = took / read * max(self.job.bytes - read, 0) if not first else None
        await update_speed(self._conn, self.job.id, (self._position - first) / took, left)

    async def _fail(self, reason: str) -> None:
        if self._stage.makes:
            reason = f"{reason} Before, {self._position:,} rows were imported; undo takes them away."
        async with self._conn.transaction():
            await lock_place(self._conn, self.job.id, self._stage)
            await update_state(self._conn, self.job.id, "failed", error=reason)
            await close_visitor_key(self._conn, self.job.id)
        log.info("import_failed", import_id=str(self.job.id))
