"""A process beside the write service, for work that would block its event loop and its interpreter for all owners.

`Aside` is the service's end and asks one question after another. The other end is this module as a program. It has a lower
priority, so that short requests go first, and ends when its input ends.
"""

import asyncio
import contextlib
import pickle
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any, TypeAlias

import structlog
import uvloop

from services.links.web.errors import Unavailable
from shared.child import ChildProcess, limit_child, open_pipes, start_child
from shared.frames import read_frame, write_frame
from shared.logs import configure_logs
from shared.settings import LinksSettings

NICENESS = 10
"""Lower than that of the click worker, whose clicks belong to many owners."""
MEMORY_BYTES = 448 * 2**20
"""The limit of its data. At rest it has 60 MiB."""

Work: TypeAlias = Callable[[LinksSettings], AbstractAsyncContextManager[Callable[..., Awaitable[Any]]]]
"""Opens what the work needs, and yields a function from a question to its answer. Both are values that msgpack can pack."""

log = structlog.get_logger()


class Aside:
    """The process. The first question starts it, and so does the first one after it has died.

    Args:
        work: The `module:name` of a `Work`.
        settings: The settings of the service.
    """

    def __init__(self, work: str, settings: LinksSettings) -> None:
        self._work = work
        self._settings = settings
        self._child: ChildProcess | None = None

    async def ask(self, *question: object, timeout_s: float) -> Any:
        """Ask a question and wait for its answer. Only one question may be asked at a time.

        Raises:
            Unavailable: The process died, or did not answer in time. Nobody knows what it has done.
        """
        message = (structlog.contextvars.get_contextvars(), question)
        try:
            async with asyncio.timeout(timeout_s):
                child = self._child = self._child or await self._start()
                return await child.ask(message)
        except (OSError, asyncio.IncompleteReadError) as error:
            log.error("aside_lost", work=self._work, error=type(error).__name__)
            await self.end()
            raise Unavailable("This took too long, or was broken off. Whether it was done is not known.") from error
        except BaseException:
            # The rest of this conversation must not stay in the pipe.
            await self.end()
            raise

    async def end(self) -> None:
        """End the process, also while it works."""
        child, self._child = self._child, None
        if child is not None:
            await child.end()

    async def _start(self) -> ChildProcess:
        command = (sys.executable, "-m", __name__, self._work)
        starting = asyncio.create_task(start_child(command, pickle.dumps(self._settings)))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # It starts all the same, and nobody else would end it.
            with contextlib.suppress(OSError):
                await (await starting).end()
            raise


async def _answer_all(open_work: Work) -> None:
    """Answer questions until the input ends."""
    reader, answers = await open_pipes()
    with contextlib.suppress(asyncio.IncompleteReadError, BrokenPipeError):
        settings: LinksSettings = pickle.loads(await read_frame(reader))  # noqa: S301  # the service wrote it
        configure_logs(settings)
        async with open_work(settings) as answer:
            while True:
                context, question = await read_frame(reader)
                with structlog.contextvars.bound_contextvars(**context):
                    write_frame(answers, await answer(*question))
                del question


def main(work: str) -> None:
    """Run the process until its input ends."""
    limit_child(niceness=NICENESS, memory_bytes=MEMORY_BYTES)
    module, _, name = work.partition(":")
    uvloop.run(_answer_all(getattr(import_module(module), name)))


if __name__ == "__main__":
    main(sys.argv[1])
