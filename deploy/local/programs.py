"""Describes the programs of the local stack: how each is started, how it is asked to stop, and when it is ready.

The supervisor runs them for `tinyurl up`; the tests start the stores on their own.
"""

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UNPRIVILEGED_USER = "nobody"

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
"""Looked up before a process forks: in its child a lock of the loader may be held by a thread that is not there."""


class StartFailed(Exception):
    """A part of the stack cannot start; the message is one line that says what to do."""


@dataclass(frozen=True)
class Program:
    """One process of the stack.

    Attributes:
        name: The name that is shown and recorded.
        command: Program and arguments.
        is_ready: Asked again and again after the start.
        environment: Added to a minimal environment.
        address: The Unix socket (a path) or TCP port where it listens.
        stop_signal: The signal that ends it in order.
        before_start: Removes leftovers, before each start.
    """

    name: str
    command: Sequence[str]
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    address: Path | int | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    before_start: Callable[[], None] = lambda: None


def spawn_options(program: Program) -> dict[str, Any]:
    """Return arguments for `Popen`: the program gets its own process group, which Ctrl-C does not reach, and ends with us."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
    return {
        "env": {**inherited, **program.environment},
        "start_new_session": True,
        "preexec_fn": _end_with_parent if _prctl else None,
    }


def unprivileged(command: Sequence[str]) -> list[str]:
    """Run a command as `nobody` if we are root, because PostgreSQL refuses to be root.

    It keeps one of root's powers, to read and write files whatever their owner. So the data may lie in a folder like /root
    that nobody else can enter, and the folder's permissions stay as they are.
    """
    if os.geteuid() != 0:
        return list(command)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StartFailed("PostgreSQL does not run as root, and `setpriv` (util-linux) is missing: use another user.")
    user = pwd.getpwnam(UNPRIVILEGED_USER)
    return [
        setpriv,
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
        # Without it access(2), which PostgreSQL asks first, ignores the power.
        "--securebits=+no_setuid_fixup",
        "--pdeathsig=INT",
        *command,
    ]


def accepts_connections(address: Path | int) -> bool:
    """Tell whether something listens at a Unix socket or a port of 127.0.0.1."""
    family = socket.AF_INET if isinstance(address, int) else socket.AF_UNIX
    with socket.socket(family) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(("127.0.0.1", address) if isinstance(address, int) else str(address))
        except OSError:
            return False
    return True


async def wait_until(condition: Callable[[], bool], timeout_s: float, step_s: float = 0.02) -> bool:
    """Wait for a condition that is checked in a thread.

    Returns:
        Whether the condition held in time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while not await asyncio.to_thread(condition):
        if loop.time() > deadline:
            return False
        await asyncio.sleep(step_s)
    return True


def _end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies, so that even its SIGKILL leaves no process behind."""
    assert _prctl is not None
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
