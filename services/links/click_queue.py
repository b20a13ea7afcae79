"""The way of batches into the click worker: a bounded queue, a deadline for each, and a process that is started again.

`services/links/intake.py` puts them in, `services/links/click_worker.py` is the process. A batch whose end is not known is
simply sent again: its offset tells what was taken.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from uuid import UUID

import structlog

from services.links.click_pipe import Taken, pack_frame, read_frame
from services.links.errors import Unavailable
from services.links.metrics import Metrics
from shared.settings import LinksSettings

WAITING_LIMIT = 16
"""Batches, of at most 8 MiB each."""

BATCH_TIMEOUT_S = 12.0
"""For the worker; longer than its statements may take. A process that misses it is killed."""

WAIT_TIMEOUT_S = 5.0
"""For its turn."""

TRIES = 2
RESTART_PAUSE_S = 0.5

log = structlog.get_logger()


class ClickQueue:
    """One worker process and the batches that wait for it."""

    def __init__(self, settings: LinksSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Of the worker, if there is one."""
        return None if self._process is None else self._process.pid

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one of the places, from before a body is read.

        Raises:
            Unavailable: All are held.
        """
        if self._waiting >= WAITING_LIMIT:
            raise Unavailable("Too many batches of clicks wait already.")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def take(self, segment: UUID, offset: int, *, is_gzip: bool, body: bytes) -> Taken:
        """Have a batch taken; see `take_batch`.

        Raises:
            Unavailable: It took too long, the worker died more than once, or Postgres is away.
        """
        message = pack_frame((segment.bytes, offset, is_gzip, body))
        try:
            async with asyncio.timeout(WAIT_TIMEOUT_S):
                await self._turn.acquire()
        except TimeoutError:
            raise Unavailable("Too many batches of clicks wait already.") from None
        try:
            taken = await self._ask(message)
        finally:
            self._turn.release()
        if taken.status is HTTPStatus.SERVICE_UNAVAILABLE:
            raise Unavailable("The clicks could not be stored.")
        return taken

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have a worker ready before the first batch, and start it again when it dies; end it with this block."""
        keeper = asyncio.create_task(self._keep_running())
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])
            await self._end()

    async def _keep_running(self) -> None:
        while True:
            async with self._turn:
                process = await self._start()
            status = await process.wait()
            log.warning("click_worker_ended", status=status)
            await asyncio.sleep(RESTART_PAUSE_S)

    async def _ask(self, message: bytes) -> Taken:
        for _ in range(TRIES):
            process = await self._start()
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                async with asyncio.timeout(BATCH_TIMEOUT_S):
                    process.stdin.write(message)
                    await process.stdin.drain()
                    status, *rest = await read_frame(process.stdout)
                return Taken(HTTPStatus(status), *rest)
            except asyncio.CancelledError:
                # Half a conversation must not stay in the pipe.
                await self._end()
                raise
            except (OSError, asyncio.IncompleteReadError) as error:
                log.error("click_worker_lost", error=type(error).__name__)
                await self._end()
                if isinstance(error, TimeoutError):
                    break
        raise Unavailable("The clicks could not be stored.")

    async def _start(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        if self._process is not None:
            await self._end()
        settings = self._settings
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.links.click_worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        country_database = settings.country_database
        logs = {"log_format": settings.log_format, "log_level": settings.log_level}
        # Through the pipe: a command line is for everyone to read.
        process.stdin.write(
            pack_frame(
                (
                    settings.links_database_url.get_secret_value(),
                    str(country_database) if country_database else None,
                    logs,
                )
            )
        )
        self._process = process
        self._metrics.count_worker_start()
        return process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
