"""The click worker's process, as the service sees it: it is started, gets batches, is watched while it works, and is killed.

`queue.py` has one of them. `worker.py` is the program that runs in it.
"""

import asyncio
import contextlib
import math
import mmap
import tempfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

import structlog

from services.links.clicks.pipe import BatchPart, TakenBatch, WorkerMark, WorkerPlace, WorkerStage
from shared.frames import pack_frame, read_frame
from shared.settings import LinksSettings

CLICK_TIMEOUT_S = 2.0
"""The time for one click, or for unpacking one record. Either takes milliseconds at most."""

LOOK_INTERVAL_S = 0.25
"""The time between two looks at the worker. Looks are counted, not seconds: a machine that is suspended takes none."""

END_TIMEOUT_S = 5.0

log = structlog.get_logger()


class WorkerLost(Exception):
    """The worker died, hangs, or could not be started."""

    def __init__(self, *, hangs: bool = False) -> None:
        super().__init__()
        self.hangs = hangs


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A worker that was started, and its note of what it is doing."""

    process: asyncio.subprocess.Process
    mark: WorkerMark

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.returncode is None

    @property
    def place(self) -> WorkerPlace:
        """What it is doing, or was doing when it died."""
        return self.mark.read()

    async def take(
        self, segment: UUID, offset: int, is_gzip: bool, body: bytes, part: BatchPart, *, timeout_s: float
    ) -> TakenBatch:
        """Have a part of a batch taken.

        Raises:
            WorkerLost: The worker died, or did not answer in time; it has to be ended.
        """
        message = pack_frame((segment.bytes, offset, is_gzip, body, astuple(part)))
        self.mark.rest()
        talking = asyncio.create_task(self._talk(message))
        try:
            await self._watch(talking, timeout_s)
            status, *rest = talking.result()
        except (OSError, asyncio.IncompleteReadError) as error:
            log.error("click_worker_lost", error=type(error).__name__, stage=self.place.stage.name.lower())
            raise WorkerLost(hangs=isinstance(error, TimeoutError)) from error
        finally:
            talking.cancel()
        return TakenBatch(HTTPStatus(status), *rest)

    async def wait(self) -> int:
        """Wait until the process has ended.

        Returns:
            Its exit status.
        """
        return await self.process.wait()

    async def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        # One that waits for a disk that hangs dies later.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                await self.process.wait()

    async def _talk(self, message: bytes) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(message)
        await self.process.stdin.drain()
        return await read_frame(self.process.stdout)

    async def _watch(self, talking: asyncio.Task[Any], timeout_s: float) -> None:
        """Wait until the worker has answered.

        Raises:
            TimeoutError: The worker takes too long for the batch, or for one click.
        """
        looks, place = 0, self.place
        for _ in range(math.ceil(timeout_s / LOOK_INTERVAL_S)):
            await asyncio.wait({talking}, timeout=LOOK_INTERVAL_S)
            if talking.done():
                return
            before, place = place, self.place
            looks = looks + 1 if place.stage is WorkerStage.READING and place == before else 0
            if looks >= CLICK_TIMEOUT_S / LOOK_INTERVAL_S:
                break
        raise TimeoutError


async def start_worker(command: Sequence[str], settings: LinksSettings) -> WorkerProcess:
    """Start a worker.

    Args:
        command: The worker's command line.
        settings: The service's settings.

    Raises:
        WorkerLost: The worker cannot be started.
    """
    try:
        with tempfile.TemporaryFile(buffering=0) as file:
            # Written, not only made longer: there must be room for it.
            file.write(bytes(WorkerMark.SIZE))
            mark = WorkerMark(mmap.mmap(file.fileno(), WorkerMark.SIZE))
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, pass_fds=(file.fileno(),)
            )
            mark_file = file.fileno()
    except OSError as error:
        log.error("click_worker_not_started", error=type(error).__name__)
        raise WorkerLost from error
    assert process.stdin is not None
    country_database = settings.country_database
    # Through the pipe: a command line is for everyone to read.
    process.stdin.write(
        pack_frame(
            (
                settings.links_database_url.get_secret_value(),
                str(country_database) if country_database else None,
                {"log_format": settings.log_format, "log_level": settings.log_level},
                mark_file,
            )
        )
    )
    return WorkerProcess(process, mark)
