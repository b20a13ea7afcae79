"""Keeps the programs of the local stack running: starts them in order, starts again what dies, stops all of it in time."""

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from deploy.local.programs import Program, StartFailed, accepts_connections, spawn_options, wait_until
from shared.backoff import Backoff

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 3.5
"""The deadline for all programs together; a redirect process takes less to hand over its clicks."""

KILL_TIMEOUT_S = 1.0

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
STEADY_S = 10.0
"""A program that ran for so long is started again at once; one that fails earlier waits."""


class Supervisor:
    """Runs programs until it is stopped.

    Args:
        logs: The folder in which each program's output goes to a file of its own.
        say: Tells the user, one line at a time.
        on_change: Called whenever a process was started.
    """

    def __init__(self, logs: Path, say: Callable[[str], None], on_change: Callable[[], None]) -> None:
        self._logs = logs
        self._say = say
        self._on_change = on_change
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.programs: dict[str, Program] = {}

    async def start(self, *programs: Program) -> None:
        """Start programs together and wait until all are ready.

        Raises:
            StartFailed: One ended or was not ready in 30 s; the message ends with the last line of its log.
        """
        for program in programs:
            await self._spawn(program)
        for program in programs:
            await self._wait_ready(program)
            self._watchers[program.name] = asyncio.create_task(self._watch(program))

    def start_later(self, program: Program, on_ready: Callable[[], None]) -> None:
        """Start a program for which nothing waits; if it cannot start, that is said and tried again.

        Args:
            program: The program.
            on_ready: Called when it is ready.
        """
        self._watchers[program.name] = asyncio.create_task(self._start_until_ready(program, on_ready))

    async def stop(self) -> None:
        """Stop every program before those that it uses; kill what is left at the deadline."""
        for watcher in self._watchers.values():
            watcher.cancel()
        await asyncio.gather(*self._watchers.values(), return_exceptions=True)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for _, group in itertools.groupby(sorted(self.processes, key=_stop_order), _stop_order):
            await asyncio.gather(*(self._stop_one(name, deadline) for name in group))

    async def _spawn(self, program: Program) -> None:
        program.before_start()
        with (self._logs / f"{program.name}.log").open("ab") as output:
            self.processes[program.name] = await _spawn(program, output)
        self.programs[program.name] = program
        self._on_change()

    async def _wait_ready(self, program: Program) -> None:
        process = self.processes[program.name]
        await wait_until(lambda: process.returncode is not None or program.is_ready(), START_TIMEOUT_S)
        if process.returncode is not None:
            raise StartFailed(
                f"{program.name} ended with {_status(process.returncode)}: {self._last_line(program.name)}"
            )
        if not await asyncio.to_thread(program.is_ready):
            raise StartFailed(
                f"{program.name} was not ready in {START_TIMEOUT_S:.0f} s: {self._last_line(program.name)}"
            )

    async def _start_until_ready(self, program: Program, on_ready: Callable[[], None]) -> None:
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while True:
            try:
                await self._spawn(program)
                await self._wait_ready(program)
            except (StartFailed, OSError) as error:
                self._say(str(error))
                if program.name in self.processes:
                    _signal_group(self.processes[program.name].pid, signal.SIGKILL)
                await asyncio.sleep(backoff.record_failure())
            else:
                break
        on_ready()
        await self._watch(program)

    async def _watch(self, program: Program) -> None:
        """Start a program again whenever it ends."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        started = time.monotonic()
        while True:
            status = await self.processes[program.name].wait()
            self._say(f"{program.name} ended with {_status(status)}; starting it again")
            # Its children, such as the workers of nginx, would keep its port or files.
            _signal_group(self.processes[program.name].pid, signal.SIGKILL)
            await self._wait_gone(program)
            if time.monotonic() - started < STEADY_S:
                await asyncio.sleep(backoff.record_failure())
            else:
                backoff.reset()
            started = time.monotonic()
            try:
                await self._spawn(program)
                await self._wait_ready(program)
            except (StartFailed, OSError) as error:
                self._say(str(error))
            else:
                self._say(f"{program.name} runs again")

    async def _wait_gone(self, program: Program) -> None:
        """Wait until nothing listens: a dying child would pass for the new process, which could not listen yet."""
        address = program.address
        if address is not None:
            await wait_until(lambda: not accepts_connections(address), KILL_TIMEOUT_S)

    async def _stop_one(self, name: str, deadline: float) -> None:
        process = self.processes[name]
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(self.programs[name].stop_signal)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), max(0.1, deadline - time.monotonic()))
        _signal_group(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), KILL_TIMEOUT_S)

    def _last_line(self, name: str) -> str:
        path = self._logs / f"{name}.log"
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
        return f"{lines[-1] if lines else 'no output'} ({path})"


def _stop_order(name: str) -> int:
    """Return a program's turn: nginx, the redirect processes (they hand their clicks to links), links, and the stores."""
    if name in ("valkey", "postgres"):
        return 3
    return 0 if name == "nginx" else 1 if name.startswith("redirect") else 2


async def _spawn(program: Program, output: IO[bytes]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *program.command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
        **spawn_options(program),
    )


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _status(code: int) -> str:
    return f"status {code}" if code >= 0 else signal.Signals(-code).name
