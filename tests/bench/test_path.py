"""What `tinyurl bench` says of the whole path is true of each visit."""

import os
import shutil
import signal
import socket
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.candidates import DOMAIN, HOT_LINKS, PACKED_DATABASE, make_packed_links, run_servers
from tests.bench.encrypted import start_encrypted
from tests.bench.measure import Load, MeasuringFailed, children
from tests.bench.path import NAME, WholePath, start_path
from tests.bench.traffic import make_requests


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, which PostgreSQL and nginx may enter under other users."""
    path = Path(tempfile.mkdtemp(prefix="tinyurl-bench-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def visit(path: WholePath, count: int, *, over_tls: bool = False) -> Load:
    """Visits one after the other on one connection, as wrk reports them."""
    with connect(path.port, over_tls=over_tls) as conn, conn.makefile("rb") as answers:
        for request in make_requests(count, HOT_LINKS, count):
            conn.sendall(request)
            assert answers.readline() == b"HTTP/1.1 302 Found\r\n"
            while answers.readline() != b"\r\n":
                pass
    return Load(requests=count, seconds=1.0, p50_ms=0.1, p99_ms=0.1, errors=0)


def connect(port: int, *, over_tls: bool) -> socket.socket:
    plain = socket.create_connection((DOMAIN, port), timeout=10)
    if not over_tls:
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context.wrap_socket(plain, server_hostname="localhost")


async def test_a_visit_counts_only_once_its_click_is_stored(folder: Path) -> None:
    """The rate and the CPU of each part are of the visits whose clicks are stored; the others are errors."""
    async with run_servers(folder, None, print) as servers:
        path = await start_path(servers)
        _, _, encrypted = await start_encrypted(servers, path)
        (worker,) = children(servers.supervisor.processes[f"links-{NAME}"].pid)

        def visit_without_worker() -> Load:
            os.kill(worker, signal.SIGSTOP)
            return visit(path, 1_000)

        all_stored = await path.measure(lambda: visit(path, 1_000))
        over_tls = await encrypted.measure(lambda: visit(encrypted, 10, over_tls=True))
        partly_stored = await path.measure(lambda: replace(visit(path, 10), requests=13))
        with pytest.raises(MeasuringFailed, match="No click"):
            await path.measure(visit_without_worker, stored_timeout_s=0.1)
        os.kill(worker, signal.SIGCONT)
        await path.close()

    assert (all_stored.errors, over_tls.errors, partly_stored.errors) == (0, 0, 3)
    assert all_stored.late_s is not None
    assert all_stored.requests_per_second == pytest.approx(1_000 / (1 + all_stored.late_s))
    assert all(all_stored.cpu_us[part] > 0 for part in ("nginx", "redirect", "worker", "postgres"))


async def test_a_path_that_packs_clicks_packs_all_of_them(folder: Path) -> None:
    """It stores in a database of its own, where every click is in a chunk and none is a row."""
    async with run_servers(folder, None, print) as servers:
        await make_packed_links(servers)
        path = await start_path(servers, "packed", PACKED_DATABASE, PACKED_CLICKS="true")
        seen = await path.measure(lambda: visit(path, 200))
        rows, chunks = [
            await path.conn.fetchval(f"SELECT count(*) FROM {table}") for table in ("clicks", "click_chunks")
        ]
        await path.close()

    assert seen.errors == 0
    assert (rows, chunks > 0) == (0, True)
