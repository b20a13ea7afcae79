"""A process beside a service: the service starts it, asks it one question after another, and ends it.

Questions and answers are frames (`frames.py`) on the process's standard input and output. `ChildProcess` is the service's end.
A program that is such a process calls `limit_child` and `open_pipes`, and ends when its input ends.
"""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.frames import pack_frame, read_frame

END_TIMEOUT_S = 5.0

INPUT_BUFFER_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class ChildProcess:
    """A process that was started, and the pipes to it."""

    process: asyncio.subprocess.Process
    input: asyncio.StreamWriter
    output: asyncio.StreamReader

    @property
    def is_running(self) -> bool:
        return self.process.returncode is None

    async def ask(self, question: object) -> Any:
        """Send a question and wait for its answer. After an exception, end the process: half a message may be in the pipe.

        Raises:
            OSError: The process has closed its input.
            asyncio.IncompleteReadError: The process has closed its output.
        """
        self.input.write(pack_frame(question))
        await self.input.drain()
        return await read_frame(self.output)

    async def end(self) -> None:
        """Kill the process, whatever it does."""
        self.input.close()
        await kill(self.process)
        # What is left in its pipe is read, so that the pipe is closed before the loop may be.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                while await self.output.read(INPUT_BUFFER_BYTES):
                    pass


async def kill(process: asyncio.subprocess.Process, *, group: bool = False) -> None:
    """Kill a process and wait for its end, but not for ever.

    A process that waits for a disk dies later, and asyncio waits for everyone who has inherited the process's pipes, too
    (https://github.com/python/cpython/issues/119710).

    Args:
        process: A process that may have ended already.
        group: Whether to kill its whole process group, which it leads.
    """
    with contextlib.suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_TIMEOUT_S):
            await process.wait()


async def start_child(command: Sequence[str], first: object, *, pass_fds: Sequence[int] = ()) -> ChildProcess:
    """Start a process.

    Args:
        command: Its command line, which everyone on the machine can read.
        first: Its first message, such as settings with secrets.
        pass_fds: The files that it inherits.

    Raises:
        OSError: It cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, pass_fds=pass_fds
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(pack_frame(first))
    return ChildProcess(process, process.stdin, process.stdout)


def limit_child(*, niceness: int, memory_bytes: int) -> None:
    """Give this process a lower priority and a limit of its data, and let only its input end it."""
    # Ctrl-C and a stopped container signal whole groups, but the service still needs its process then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(niceness)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = memory_bytes if hard == resource.RLIM_INFINITY else min(hard, memory_bytes)
    # Some systems do not allow it.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


async def open_pipes() -> tuple[asyncio.StreamReader, int]:
    """Open this process's pipes.

    Returns:
        A reader of the questions, and the file descriptor for the answers.
    """
    reader = asyncio.StreamReader(limit=INPUT_BUFFER_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    answers = os.dup(sys.stdout.fileno())
    # Whatever a library prints must not come between the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return reader, answers
