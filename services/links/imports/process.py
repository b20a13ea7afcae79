"""The importing process: one in all, beside one of the write services, and only while there is something to import.

`starter.py` starts it by `web/aside.py`, asks it for one turn after the other, and ends it. A session lock keeps others out.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from operator import attrgetter
from time import monotonic
from uuid import UUID

import structlog

from services.links.imported.keys import close_visitor_key
from services.links.imports.rows import (
    AdvancedByOthers,
    ImportRow,
    has_work,
    note_failure,
    postpone,
    select_due,
    update_state,
)
from services.links.imports.running import Run
from services.links.imports.spool import FileConnection
from services.links.imports.undoing import Undoing
from shared.backoff import Backoff
from shared.postgres import UNAVAILABLE, OwnConnection, open_connection
from shared.settings import LinksSettings

TURN_S = 2.0
"""After a turn the next owner has one."""

OPEN_AT_ONCE = 4
"""Imports of several owners whose files are open, so that each goes on where it was. Others wait until one of these ends."""

STATEMENT_TIMEOUT_S = 30.0
PATIENCE_S = 30.0
NEW_OBJECTS = 500_000
"""The collector looks at new objects so rarely: it finds nothing, and took half of the time of storing visits."""

RESTS = 0.5
"""While others are there, it rests after each step for this part of the time that the step took."""

MOST_FAILURES = 8
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0

MOST_CHANGES = 30_000
CHANGES_PER_S = 90.0
"""Redirectors remember 100,000 changes of the last 11 minutes. An import leaves a tenth of that to others."""

_LOCK = 0x696D_706F

log = structlog.get_logger()

MORE, IDLE, ELSEWHERE = "more", "idle", "elsewhere"
"""What a turn answers: there is more to do; there is nothing now; another process does it."""


class Importer:
    """Gives imports their turns.

    Args:
        conn: A connection for the steps. It has the lock.
        file_conn: The connection for files.
        settings: Of the service.
    """

    def __init__(self, conn: OwnConnection, file_conn: FileConnection, settings: LinksSettings) -> None:
        self._conn = conn
        self._file_conn = file_conn
        self._settings = settings
        self._runs: dict[UUID, Run | Undoing] = {}
        self._changes = Allowance(MOST_CHANGES, CHANGES_PER_S)

    async def turn(self, others: bool) -> tuple[str, str]:
        """Work on an import for two seconds.

        Args:
            others: Whether requests of others are there.

        Returns:
            Whether there is more, and the owner who had the turn.
        """
        due = await select_due(self._conn, OPEN_AT_ONCE, list(self._runs))
        await self._close_others(due)
        if not due:
            # Who waits for its next changes waits here: another process would not know how many there were.
            if await has_work(self._conn, PATIENCE_S):
                await asyncio.sleep(TURN_S / 4)
                return MORE, ""
            return IDLE, ""
        job = min(due, key=attrgetter("changed_at"))
        try:
            await self._work(job, others)
        except AdvancedByOthers:
            await self._drop(job.id)
        return MORE, job.owner

    async def close(self) -> None:
        """Wait for the threads that read."""
        for import_id in list(self._runs):
            await self._drop(import_id)

    async def _work(self, job: ImportRow, others: bool) -> None:
        run = self._runs.get(job.id)
        if run is None:
            # A process that dies of this import must not be started for it for ever. The first step counts from 0 again.
            if await note_failure(self._conn, job.id, 0) > MOST_FAILURES:
                await self._give_up(job)
                return
            run = self._open(job)
        until = monotonic() + TURN_S
        try:
            while (began := monotonic()) < until:
                announced = await run.step()
                if announced is None:
                    await self._drop(job.id)
                    return
                pause_s = self._changes.take(announced)
                if pause_s:
                    await postpone(self._conn, job.id, pause_s)
                    return
                if others:
                    await asyncio.sleep((monotonic() - began) * RESTS)
        except (*UNAVAILABLE, AdvancedByOthers):
            raise
        except Exception as error:
            log.exception("import_step_failed", import_id=str(job.id), exc_info=error)
            await self._drop(job.id)
            backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
            for _ in range(job.failures + 1):
                pause_s = backoff.record_failure()
            await postpone(self._conn, job.id, pause_s)

    def _open(self, job: ImportRow) -> Run | Undoing:
        is_undone = job.state == "undoing"
        run = Undoing(self._conn, job) if is_undone else Run(self._conn, self._file_conn, job, self._settings)
        self._runs[job.id] = run
        return run

    async def _give_up(self, job: ImportRow) -> None:
        async with self._conn.transaction():
            await update_state(
                self._conn, job.id, "failed", error="Something went wrong here, again and again. The log has it."
            )
            await close_visitor_key(self._conn, job.id)
        log.error("import_given_up", import_id=str(job.id))

    async def _close_others(self, due: list[ImportRow]) -> None:
        """Close the runs of imports that have ended or pause, or that are to be undone now."""
        states = {job.id: job.state for job in due}
        for import_id, run in list(self._runs.items()):
            state = states.get(import_id)
            if state is None or (state == "undoing") is not isinstance(run, Undoing):
                await self._drop(import_id)

    async def _drop(self, import_id: UUID) -> None:
        run = self._runs.pop(import_id, None)
        if run is not None:
            await run.close()


class Allowance:
    """So many at once, and so many a second.

    Args:
        most: At once.
        per_s: Added again each second.
        clock: Seconds that only go forward.
    """

    def __init__(self, most: float, per_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._per_s = per_s
        self._clock = clock
        self._left = most
        self._at = clock()

    def take(self, number: float) -> float:
        """Take some; return the seconds until there are any again."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._per_s) - number
        self._at = now
        return max(0.0, -self._left / self._per_s)


@asynccontextmanager
async def open_importer(settings: LinksSettings) -> AsyncIterator[Callable[[bool], Awaitable[tuple[str, str]]]]:
    """Yield the work of the process: from whether others are there to whether there is more."""
    url = settings.links_database_url.get_secret_value()
    async with AsyncExitStack() as stack:
        conn, file_conn = [
            await stack.enter_async_context(open_connection(url, application, statement_timeout_s=STATEMENT_TIMEOUT_S))
            for application in ("links imports", "links import files")
        ]
        has_lock = bool(await conn.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK))
        gc.set_threshold(NEW_OBJECTS)
        importer = Importer(conn, FileConnection(file_conn), settings)
        stack.push_async_callback(importer.close)

        async def turn(others: bool) -> tuple[str, str]:
            return await importer.turn(others) if has_lock else (ELSEWHERE, "")

        yield turn
