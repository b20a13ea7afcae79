"""All of it as separate processes that a test may kill, stop or cut off: the thing itself, or the naive design as a control."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import asyncpg
import httpx
from redis.asyncio import Redis

from deploy.local.database import prepare
from deploy.local.nginx import Nginx
from deploy.local.postgres import OWNER, ROLES, SUPERUSER, Postgres
from deploy.local.programs import Program, accepts_connections, spawn_options, wait_until
from deploy.local.services import service
from deploy.local.valkey import Valkey
from services.links.keys.rows import create_key
from shared.api import SCOPES
from tests.bench.measure import children
from tests.conftest import memory
from tests.faults import FaultyProxy, faulty_proxy
from tests.nginx.conftest import free_port
from tests.serving import NO_TLS

Kind = Literal["real", "packed", "poisoned", "naive"]

START_TIMEOUT_S = 60
INTERNAL_TOKEN = "known to the services of a test alone"  # noqa: S105  # of no other installation
REDIRECTS = ("redirect-1", "redirect-2", "redirect-3")
STORES = ("postgres", "valkey")

NAIVE_TABLE = """
CREATE TABLE naive_links (code text, url text, max_clicks integer, used integer NOT NULL DEFAULT 0);
GRANT SELECT, INSERT, UPDATE, DELETE ON naive_links TO tinyurl_links, tinyurl_redirect;
"""


class _Transport(httpx.AsyncHTTPTransport):
    """Tells of a connection that breaks while it is made as of every other one."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except AttributeError as error:
            # uvloop has forgotten the socket by then, and anyio asks it who is at the other end.
            raise httpx.ConnectError("broken while it was made", request=request) from error


BACKENDS_END_S = 5.0


@dataclass
class Cluster:
    """The running processes.

    Attributes:
        folder: Sockets and logs.
        proxies: Before Postgres, as each redirector sees it.
        key: Of an admin.
    """

    folder: Path
    port: int
    postgres: Postgres
    valkey: Valkey
    proxies: dict[str, FaultyProxy] = field(default_factory=dict)
    key: str = ""
    programs: dict[str, Program] = field(default_factory=dict)
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return list(self.programs)

    def socket(self, name: str) -> Path:
        return self.folder / f"{name}.sock"

    def client(self, timeout_s: float = 10.0) -> httpx.AsyncClient:
        """A client that comes through nginx, with the key."""
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self.key}", "Host": "sho.rt"},
            timeout=timeout_s,
            transport=_Transport(verify=NO_TLS),
        )

    async def start(self, name: str) -> None:
        """Start a process and wait until it is ready."""
        await self.launch(name)
        program, process = self.programs[name], self.processes[name]
        if not await wait_until(lambda: program.is_ready() or process.returncode is not None, START_TIMEOUT_S):
            raise TimeoutError(name)
        assert process.returncode is None, (self.folder / f"{name}.log").read_text()[-2000:]

    async def launch(self, name: str) -> None:
        """Start a process without waiting for it."""
        program = self.programs[name]
        program.before_start()
        with (self.folder / f"{name}.log").open("ab") as output:
            self.processes[name] = await asyncio.create_subprocess_exec(
                *program.command, stdout=output, stderr=asyncio.subprocess.STDOUT, **spawn_options(program)
            )

    async def kill(self, name: str) -> None:
        """SIGKILL a process and, as the kernel does not do that, what it started."""
        process = self.processes[name]
        backends = children(process.pid) if name == "postgres" and process.returncode is None else []
        if process.returncode is None:
            process.kill()
        await process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # They lead groups of their own and end by themselves; the next postmaster does not start beside them.
        await wait_until(lambda: not any(map(_is_alive, backends)), BACKENDS_END_S)

    def pause(self, name: str) -> None:
        """SIGSTOP a process and what it started: the backends of PostgreSQL, the workers of nginx."""
        self._signal_all(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._signal_all(name, signal.SIGCONT)

    def _signal_all(self, name: str, number: signal.Signals) -> None:
        pid = self.processes[name].pid
        for each in (pid, *children(pid)):
            os.kill(each, number)

    def admin_redis(self) -> Redis:
        return Redis.from_url(self.valkey.admin_url)

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection to Postgres as its superuser, past the proxies."""
        return await asyncpg.connect(self.postgres.url(SUPERUSER))


def _is_alive(pid: int) -> bool:
    """Whether a process runs: one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@asynccontextmanager
async def run_stores() -> AsyncIterator[Cluster]:
    """Start Postgres and Valkey, both empty, and at the end stop whatever the cluster has by then."""
    folder = Path(tempfile.mkdtemp(prefix="tinyurl-promise-", dir=memory()))
    folder.chmod(0o755)
    sockets = folder / "postgres"
    sockets.mkdir()
    sockets.chmod(0o777)
    passwords = {role: secrets.token_urlsafe(16) for role in (SUPERUSER, OWNER, *ROLES)}
    postgres = Postgres(folder / "data", sockets, passwords, durable=False)
    valkey = Valkey(folder / "valkey.sock", secrets.token_urlsafe(16), secrets.token_urlsafe(16))
    cluster = Cluster(folder, free_port(), postgres, valkey)
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.push_async_callback(_stop, cluster)
        await asyncio.to_thread(postgres.init)
        cluster.programs |= {"postgres": postgres.program(), "valkey": valkey.program()}
        await asyncio.gather(*map(cluster.start, STORES))
        yield cluster


@asynccontextmanager
async def run_cluster(kind: Kind = "real") -> AsyncIterator[Cluster]:
    """Start Postgres, Valkey, the write service, three redirectors and nginx.

    Args:
        kind: The thing itself; the same where clicks are packed, or with a click worker that some user agents harm; or the
            naive design.
    """
    async with run_stores() as cluster, AsyncExitStack() as stack:
        for name in REDIRECTS:
            place = cluster.folder / f"{name}-postgres"
            place.mkdir()
            proxy = faulty_proxy(place / ".s.PGSQL.5432", cluster.postgres.sockets / ".s.PGSQL.5432")
            cluster.proxies[name] = await stack.enter_async_context(proxy)
        await _prepare(cluster)
        cluster.programs |= _services(cluster, kind)
        await asyncio.gather(*map(cluster.start, ("links", *REDIRECTS)))
        await cluster.start("nginx")
        yield cluster


def links_service(cluster: Cluster, name: str, module: str = "services.links", **settings: str) -> Program:
    """The write service, with the domain `sho.rt`."""
    return service(
        name,
        [module],
        f"unix:{cluster.socket(name)}",
        LINKS_DATABASE_URL=cluster.postgres.url("tinyurl_links"),
        FASTAPI_SECRET_KEY="x" * 32,
        PUBLIC_BASE_URL="http://sho.rt",
        INTERNAL_TOKEN=INTERNAL_TOKEN,
        **settings,
    )


def redirect_service(cluster: Cluster, name: str) -> Program:
    """A redirector, behind its proxy before Postgres if it has one."""
    database_url = cluster.postgres.url("tinyurl_redirect")
    if name in cluster.proxies:
        sockets, behind_proxy = (
            quote(str(folder), safe="") for folder in (cluster.postgres.sockets, cluster.folder / f"{name}-postgres")
        )
        database_url = database_url.replace(sockets, behind_proxy)
    return service(
        name,
        ["services.redirect"],
        f"unix:{cluster.socket(name)}",
        REDIRECT_DATABASE_URL=database_url,
        REDIS_URL=cluster.valkey.url,
        JOURNAL_DIR=str(cluster.folder / "journal"),
        LINKS_ADDRESS=f"unix:{cluster.folder}/links*.sock",
        INTERNAL_TOKEN=INTERNAL_TOKEN,
    )


async def _prepare(cluster: Cluster) -> None:
    await prepare(cluster.postgres)
    conn = await asyncpg.connect(cluster.postgres.url(OWNER))
    await conn.execute(NAIVE_TABLE)
    _, cluster.key = await create_key(conn, owner="tests", scopes=SCOPES)
    await conn.close()


def _services(cluster: Cluster, kind: Kind) -> dict[str, Program]:
    programs = {"links": links_service(cluster, "links")}
    programs |= {name: redirect_service(cluster, name) for name in REDIRECTS}
    if kind == "packed":
        programs["links"] = links_service(cluster, "links", PACKED_CLICKS="true")
    if kind == "poisoned":
        programs["links"] = links_service(cluster, "links", "tests.promises.poisoned_links")
    if kind == "naive":
        for name, program in programs.items():
            database_url = program.environment.get("REDIRECT_DATABASE_URL", cluster.postgres.url("tinyurl_links"))
            programs[name] = _naive(name, cluster.socket(name), database_url, cluster.valkey.admin_url)
    nginx = Nginx(
        folder=cluster.folder / "nginx",
        port=cluster.port,
        domains=["sho.rt"],
        links=[cluster.socket("links")],
        redirect=[cluster.socket(name) for name in REDIRECTS],
        access_log=f"{cluster.folder / 'access.log'} json",
        options={"limits": False},
    )
    return {**programs, "nginx": nginx.program()}


def _naive(name: str, socket: Path, database_url: str, redis_url: str) -> Program:
    return Program(
        name=name,
        command=[sys.executable, "-m", "uvicorn", "tests.promises.naive:app", "--uds", str(socket), "--no-access-log"],
        is_ready=lambda: accepts_connections(socket),
        environment={"DATABASE_URL": database_url, "REDIS_URL": redis_url},
        address=socket,
        before_start=lambda: socket.unlink(missing_ok=True),
    )


async def _stop(cluster: Cluster) -> None:
    for name in reversed(list(cluster.processes)):
        with contextlib.suppress(OSError):
            cluster.resume(name)
        await cluster.kill(name)
