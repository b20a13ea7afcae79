"""A process beside the write service, for what would keep its event loop and its interpreter from the other owners.

`Aside` is the service's end: it asks one question after another. The other end is this module as a program: it ends with
its input, and has a lower priority, so that where processors are short the short requests go first.
"""

import asyncio
import contextlib
import os
import pickle
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any, TypeAlias

import structlog
import uvloop

from services.links.web.errors import Unavailable
from shared.frames import pack_frame, read_frame, write_frame
from shared.logs import configure_logs
from shared.settings import LinksSettings

NICENESS = 10
"""Below the click worker, whose clicks are many owners'."""
MEMORY_BYTES = 448 * 2**20
"""For data. At rest it has 60 MiB."""

END_TIMEOUT_S = 5.0

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
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, *question: object, timeout_s: float) -> Any:
        """Have a question answered; the one before has its answer.

        Raises:
            Unavailable: The process died, or did not answer in time. What it has done is not known.
        """
        message = pack_frame((structlog.contextvars.get_contextvars(), question))
        try:
            async with asyncio.timeout(timeout_s):
                process = self._process = self._process or await self._start()
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(message)
                del message
                await process.stdin.drain()
                return await read_frame(process.stdout)
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
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # One that waits for a disk that hangs dies later.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                await process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __name__, self._work), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdin is not None
        # Through the pipe: a command line is for everyone to read.
        process.stdin.write(pack_frame(pickle.dumps(self._settings)))
        return process


async def _answer_all(open_work: Work) -> None:
    """Answer what comes until the input ends."""
    reader = asyncio.StreamReader(limit=2**20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    # Whatever a library prints must not come between the answers.
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
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
    # Ctrl-C and a stopped container signal whole groups; this process ends after its service, with its input.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(hard, MEMORY_BYTES)
    # Not every system lets it be set.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    module, _, name = work.partition(":")
    uvloop.run(_answer_all(getattr(import_module(module), name)))


if __name__ == "__main__":
    main(sys.argv[1])
