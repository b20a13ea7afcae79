"""`tinyurl bench --memory`: the memory of a whole `tinyurl up` at rest, after many clicks, process by process."""

import asyncio
import contextlib
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import asyncpg

from services.redirect.journal.intake import IntakeClient
from services.redirect.journal.segments import draw_name
from shared.journal import HEADER
from tests.bench.candidates import BROWSER, DOMAIN, HOT_LINKS, TARGET, free_port
from tests.bench.intake import CLICKS_IN_FULL_BATCH
from tests.bench.measure import MeasuringFailed, children, measure
from tests.bench.report import say
from tests.bench.traffic import make_batches

CLICKS = 10**6
VISITS_S = 10.0
START_TIMEOUT_S = 60
REST_S = 130.0
"""Longer than a click worker waits for more to do."""


@dataclass(frozen=True)
class Weight:
    """The memory of one part of the stack: its share of the pages in RAM (PSS), megabytes."""

    name: str
    mb: float


async def measure_memory_at_rest(folder: Path, *, clicks: int = CLICKS) -> list[Weight]:
    """Start the stack, let visits and clicks through it, wait, and look."""
    async with _running_stack(folder) as (pid, state):
        environment = dict(
            line.split("=", 1) for line in (folder / "services.env").read_text().splitlines() if "=" in line
        )
        conn = await asyncpg.connect(environment["LINKS_DATABASE_URL"], timeout=10)
        try:
            await _make_links(conn)
            await asyncio.to_thread(_visit, folder, state)
            await _send_clicks(conn, environment, clicks)
        finally:
            await conn.close()
        say(f"memory: resting for {REST_S:.0f} s")
        await asyncio.sleep(REST_S)
        named = {each["name"]: each["pid"] for each in state["processes"]}
        weights = [Weight("supervisor", pss_mb(pid))]
        for name, process in _current(folder, named).items():
            own = pss_mb(process)
            below = sum(map(pss_mb, children(process)))
            if name == "links":
                weights += [Weight("links", own), Weight("click worker", below)]
            else:
                weights.append(Weight(name, own + below))
        return weights


def show_weights(weights: list[Weight], clicks: int = CLICKS) -> str:
    """The table."""
    lines = [f"{'memory at rest, PSS':26} {'MB':>6}   after {clicks:,} clicks"]
    lines += [f"{each.name:26} {each.mb:6.0f}" for each in weights]
    return "\n".join([*lines, f"{'total':26} {sum(each.mb for each in weights):6.0f}"])


def pss_mb(pid: int) -> float:
    """A process's own memory and its share of what it has in common with others; 0 of one that is gone."""
    with contextlib.suppress(OSError):
        found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        if found is not None:
            return int(found[1]) / 1024
    return 0.0


@asynccontextmanager
async def _running_stack(folder: Path) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    """Run what `tinyurl up` runs, without limits at nginx, and wait for all of it."""
    command = ["-m", "deploy.local", f"--data={folder}", f"--port={free_port()}", "--workers=1", "--no-limits"]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while not (line := await process.stdout.readline()).startswith(b"Dashboard: "):
                if not line:
                    raise MeasuringFailed("tinyurl up did not start")
        yield process.pid, json.loads((folder / "state.json").read_text())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.communicate()


def _current(folder: Path, started: dict[str, int]) -> dict[str, int]:
    processes = json.loads((folder / "state.json").read_text())["processes"]
    return started | {each["name"]: each["pid"] for each in processes}


async def _make_links(conn: "asyncpg.Connection[asyncpg.Record]") -> None:
    await conn.execute(
        """
        INSERT INTO links (domain, code, owner, url)
        SELECT $1, 'b' || lpad(n::text, 6, '0'), 'bench', $2 || n FROM generate_series(0, $3::bigint - 1) AS n
        """,
        DOMAIN,
        TARGET,
        HOT_LINKS,
    )


def _visit(folder: Path, state: dict[str, Any]) -> None:
    """Follow links for some seconds, through nginx, like many visitors at once."""
    say(f"memory: visits for {VISITS_S:.0f} s")
    request = folder / "browser.txt"
    request.write_text(BROWSER)
    port = next(each["port"] for each in state["processes"] if each["name"] == "nginx")
    measure(port=port, request=request, order="zipf", links=HOT_LINKS, seconds=VISITS_S, processes={})


async def _send_clicks(conn: "asyncpg.Connection[asyncpg.Record]", environment: dict[str, str], clicks: int) -> None:
    """Hand over clicks of many visitors, as redirect does, until there are so many."""
    say(f"memory: {clicks:,} clicks")
    ids = [row["id"] for row in await conn.fetch("SELECT id FROM links WHERE owner = 'bench' ORDER BY id")]
    client = IntakeClient(environment["LINKS_ADDRESS"], environment["INTERNAL_TOKEN"])
    segment, offset = draw_name(), len(HEADER)
    for batch in make_batches(1, ids, clicks, CLICKS_IN_FULL_BATCH):
        receipt = await client.post(segment, offset, batch.body, is_gzip=True)
        offset += batch.length
        if (receipt.status, receipt.offset) != (HTTPStatus.OK, offset):
            raise MeasuringFailed(f"the intake answered {receipt.status} to a batch")
    client.close()
