"""What keeps the programs of the local stack running, with programs of the test."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from deploy.local.programs import Program
from deploy.local.supervisor import Supervisor

TIMEOUT_S = 30


async def test_what_starts_later_is_tried_until_it_runs_and_then_kept_running(tmp_path: Path) -> None:
    """Each failure is said with the last line of its log; once it is ready it is watched like all others."""
    allowed, running = tmp_path / "allowed", tmp_path / "running"
    code = f"""
import pathlib, time
if not pathlib.Path({str(allowed)!r}).exists():
    raise SystemExit("not allowed yet")
pathlib.Path({str(running)!r}).touch()
time.sleep(600)
"""
    program = Program("late", [sys.executable, "-c", code], is_ready=running.exists)
    said: asyncio.Queue[str] = asyncio.Queue()
    is_ready = asyncio.Event()
    supervisor = Supervisor(tmp_path, said.put_nowait, lambda: None)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            supervisor.start_later(program, is_ready.set)
            failures = [await said.get(), await said.get()]
            allowed.touch()
            await is_ready.wait()
            os.kill(supervisor.processes["late"].pid, signal.SIGKILL)
            while (line := await said.get()) != "late runs again":
                failures.append(line)
    finally:
        await supervisor.stop()

    assert failures[0] == f"late ended with status 1: not allowed yet ({tmp_path / 'late.log'})"
    assert failures[-1] == "late ended with SIGKILL; starting it again"
    assert supervisor.processes["late"].returncode == -signal.SIGTERM
