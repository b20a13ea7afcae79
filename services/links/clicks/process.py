"""The process of the click worker. The service starts it, sends it batches, watches it while it works, and kills it.

`queue.py` has one of them. `worker.py` is the program that runs in it.
"""

import asyncio
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
from shared.child import ChildProcess, start_child
from shared.settings import LinksSettings

LOOK_INTERVAL_S = 0.25
"""The time between two looks at the worker. Looks are counted instead of seconds, because a suspended machine takes none."""

log = structlog.get_logger()


class WorkerLost(Exception):
    """The worker died, hangs, or could not be started."""

    def __init__(self, *, hangs: bool = False) -> None:
        super().__init__()
        self.hangs = hangs


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A started worker, and the mark with which it tells what it is doing."""

    child: ChildProcess
    mark: WorkerMark

    @property
    def place(self) -> WorkerPlace:
        """What the worker is doing, or was doing when it died."""
        return self.mark.read()

    async def take(
        self,
        segment: UUID,
        offset: int,
        is_gzip: bool,
        body: bytes,
        part: BatchPart,
        *,
        timeout_s: float,
        click_timeout_s: float,
    ) -> TakenBatch:
        """Have a part of a batch taken.

        Args:
            segment: The segment that the batch is of.
            offset: Where in the segment it begins.
            is_gzip: Whether the body is compressed.
            body: The batch.
            part: The part of it.
            timeout_s: The time for the part.
            click_timeout_s: The time for one click, or for unpacking one record.

        Raises:
            WorkerLost: The worker died, or did not answer in time; it has to be ended.
        """
        self.mark.rest()
        talking = asyncio.create_task(self.child.ask((segment.bytes, offset, is_gzip, body, astuple(part))))
        try:
            await self._watch(talking, timeout_s, click_timeout_s)
            status, *rest = talking.result()
        except (OSError, asyncio.IncompleteReadError) as error:
            log.error("click_worker_lost", error=type(error).__name__, stage=self.place.stage.name.lower())
            raise WorkerLost(hangs=isinstance(error, TimeoutError)) from error
        finally:
            talking.cancel()
        return TakenBatch(HTTPStatus(status), *rest)

    async def _watch(self, talking: asyncio.Task[Any], timeout_s: float, click_timeout_s: float) -> None:
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
            if looks >= click_timeout_s / LOOK_INTERVAL_S:
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
            # Zeros are written, because a file that is only made longer may have no room on the disk.
            file.write(bytes(WorkerMark.SIZE))
            mark = WorkerMark(mmap.mmap(file.fileno(), WorkerMark.SIZE))
            country_database = settings.country_database
            first = (
                settings.links_database_url.get_secret_value(),
                str(country_database) if country_database else None,
                {"log_format": settings.log_format, "log_level": settings.log_level},
                file.fileno(),
            )
            return WorkerProcess(await start_child(command, first, pass_fds=(file.fileno(),)), mark)
    except OSError as error:
        log.error("click_worker_not_started", error=type(error).__name__)
        raise WorkerLost from error
