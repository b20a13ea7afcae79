"""One measurement: wrk against a candidate, and the CPU time that the candidate's processes spent meanwhile."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 64
LOAD = Path(__file__).with_name("load.lua")

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measurement:
    """What one run of wrk saw.

    Attributes:
        cpu_us: CPU time per request of each part of the server, microseconds.
        late_s: From the load's end until the last click was stored, seconds; None where nobody waits for that.
        bytes_per_request: How much the database grew, where that was looked at.
    """

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_us: Mapping[str, float]
    late_s: float | None = None
    bytes_per_request: float = 0.0


@dataclass(frozen=True)
class Load:
    """What wrk says of a run."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int


class MeasuringFailed(Exception):
    """wrk could not do its part."""


def measure(
    *,
    port: int,
    request: Path,
    order: str,
    links: int,
    seconds: float,
    processes: Mapping[str, Sequence[int]],
    connections: int = CONNECTIONS,
) -> Measurement:
    """Load a port of 127.0.0.1 for some seconds.

    Args:
        port: Where the candidate listens.
        request: The file with the request.
        order: `random`, `zipf`, `once` for each link in turn, or `listed` if the file has every request as it is sent.
        links: How many of them.
        seconds: How long.
        processes: The process ids of each part of the candidate.
        connections: Kept open at once.
    """
    before = {part: [cpu_seconds(pid) for pid in pids] for part, pids in processes.items()}
    seen = run_wrk(port=port, request=request, order=order, links=links, seconds=seconds, connections=connections)
    spent = {part: sum(map(cpu_since, pids, before[part])) for part, pids in processes.items()}
    return Measurement(
        requests_per_second=seen.requests / seen.seconds,
        p50_ms=seen.p50_ms,
        p99_ms=seen.p99_ms,
        errors=seen.errors,
        cpu_us={part: seconds / max(1, seen.requests) * 1e6 for part, seconds in spent.items()},
    )


def run_wrk(
    *,
    port: int,
    request: Path,
    order: str,
    links: int,
    seconds: float,
    connections: int = CONNECTIONS,
    scheme: str = "http",
) -> Load:
    """Load a port of 127.0.0.1 for some seconds (`measure`)."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "5s", "-s", str(LOAD)]
    command += [f"{scheme}://127.0.0.1:{port}/", "--", str(links), order, str(request)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines or not lines[-1].startswith("{"):
        raise MeasuringFailed(f"wrk failed: {(done.stderr or done.stdout).strip()}")
    return Load(**json.loads(lines[-1]))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its threads; 0 of one that is gone."""
    return sum(_times(pid)[:2])


def tree_cpu_seconds(pid: int) -> float:
    """The same of a process, its children, and the children that ended, such as the vacuum workers of PostgreSQL."""
    return sum(_times(pid)) + sum(map(cpu_seconds, children(pid)))


def cpu_since(pid: int, before: float) -> float:
    """What a process used since; of one that ended meanwhile, such as a vacuum worker of PostgreSQL, nothing is known."""
    return max(0.0, cpu_seconds(pid) - before)


def children(pid: int) -> list[int]:
    """The process ids of a process's children, such as the workers of nginx or the backends of PostgreSQL."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _times(pid: int) -> list[float]:
    """User and system time of a process, and those of its children that ended (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(field) / _TICKS_PER_S for field in fields[11:15]]
