"""A process beside the write service, for what would keep its event loop and its interpreter from the other owners.

`Aside` is the service's end: it asks one question after another. The other end is this module as a program: it ends with
its input, and has a lower priority, so that where processors are short the short requests go first.
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
"""Below the click worker, whose clicks are many owners'."""
MEMORY_BYTES = 448 * 2**20
"""For data. At rest it has 60 MiB."""

Work: TypeAlias = Callable[[LinksSettings], AbstractAsyncContextManager[Callable[..., Awaitable[Any]]]]
"""Opens what it needs, and gives a function from a question to its answer, both of what msgpack knows."""

log = structlog.get_logger()


class Aside:
    """The process, which is started by the first question, and by the next one after it has died.

    Args:
        work: `module:name` of what it does, a `Work`.
        settings: Of the service.
    """

    def __init__(self, work: str, settings: LinksSettings) -> None:
        self._work = work
        self._settings = settings
        self._child: ChildProcess | None = None

    async def ask(self, *question: object, timeout_s: float) -> Any:
        """Have a question answered; the one before has its answer.

        Raises:
            Unavailable: The process died, or did not answer in time. What it has done is not known.
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
            # Half a conversation must not stay in the pipe.
            await self.end()
            raise

    async def end(self) -> None:
        """End the process, whatever it is at."""
        child, self._child = self._child, None
        if child is not None:
            await child.end()

    async def _start(self) -> ChildProcess:
        return await start_child((sys.executable, "-m", __name__, self._work), pickle.dumps(self._settings))


async def _answer_all(open_work: Work) -> None:
    """Answer what comes until the input ends."""
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
    """Be the process: with bounds of its own, until the input ends."""
    limit_child(niceness=NICENESS, memory_bytes=MEMORY_BYTES)
    module, _, name = work.partition(":")
    uvloop.run(_answer_all(getattr(import_module(module), name)))


if __name__ == "__main__":
    main(sys.argv[1])
