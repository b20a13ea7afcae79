"""What `tinyurl bench` says of the whole path is true of each visit."""

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.candidates import DOMAIN, HOT_LINKS, run_servers
from tests.bench.measure import Load, children
from tests.bench.traffic import make_requests
from tests.bench.whole import NAME, WholePath, start_path


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, which PostgreSQL and nginx may enter under other users."""
    path = Path(tempfile.mkdtemp(prefix="tinyurl-bench-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def visit(path: WholePath, count: int) -> Load:
    """Visits one after the other on one connection, as wrk reports them."""
    with closing(socket.create_connection((DOMAIN, path.port), timeout=10)) as conn, conn.makefile("rb") as answers:
        for request in make_requests(count, HOT_LINKS, count):
            conn.sendall(request)
            assert answers.readline() == b"HTTP/1.1 302 Found\r\n"
            while answers.readline() != b"\r\n":
                pass
    return Load(requests=count, seconds=1.0, p50_ms=0.1, p99_ms=0.1, errors=0)


async def test_a_visit_counts_only_once_its_click_is_stored(folder: Path) -> None:
    """The rate and the CPU of each part are of the visits whose clicks are stored; the others are errors."""
    async with run_servers(folder, None, print) as servers:
        path = await start_path(servers)
        all_stored = await path.measure(lambda: visit(path, 1_000))
        (worker,) = children(servers.supervisor.processes[f"links-{NAME}"].pid)
        partly_stored = await path.measure(lambda: replace(visit(path, 10), requests=13))

        def visit_without_worker() -> Load:
            os.kill(worker, signal.SIGSTOP)
            return visit(path, 1_000)

        with pytest.raises(Exception, match="No click"):
            await path.measure(visit_without_worker, stored_timeout_s=0.1)
        os.kill(worker, signal.SIGCONT)
        await path.close()

    assert (all_stored.errors, partly_stored.errors) == (0, 3)
    assert all_stored.late_s is not None
    assert all_stored.requests_per_second == pytest.approx(1_000 / (1 + all_stored.late_s))
    assert all(all_stored.cpu_us[part] > 0 for part in ("nginx", "redirect", "worker", "postgres"))
