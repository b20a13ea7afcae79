"""The servers that are measured side by side: each is started once, and idles while another one is measured."""

import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import asyncpg
from redis.asyncio import Redis

from deploy.local import nginx, valkey
from deploy.local.database import prepare
from deploy.local.nginx import Nginx
from deploy.local.postgres import OWNER, ROLES, SUPERUSER, Postgres
from deploy.local.programs import Program, accepts_connections
from deploy.local.services import service
from deploy.local.supervisor import Supervisor
from deploy.local.valkey import Valkey
from services.links.keys.rows import create_key
from tests.bench import clicks
from tests.bench.deciding import DECIDING_LINKS, fill_deciding
from tests.bench.measure import children

HOT_LINKS = 10_000
MEMORY_LINKS = 50_000
PACKED_DATABASE = "tinyurl_packed"
DOMAIN = "127.0.0.1"
TARGET = "https://www.example.com/articles/2026/a-page-of-usual-length?utm_source=newsletter&id="

RETURN_302 = """
worker_processes 1;
pid {folder}/return.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    server_tokens off;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/return_body;
    proxy_temp_path {folder}/return_proxy;
    fastcgi_temp_path {folder}/return_fastcgi;
    uwsgi_temp_path {folder}/return_uwsgi;
    scgi_temp_path {folder}/return_scgi;
    server {{ listen 127.0.0.1:{port}; location / {{ return 302 {target}; }} }}
}}
"""

# What a client sends: wrk's least, and what Chrome sends (about 600 bytes).
BARE = "GET /CODE HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
USER_AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)
REFERER = "https://news.example.org/item?id=4242"
LANGUAGE = "en-GB,en;q=0.9,de;q=0.8"
BROWSER = (
    "GET /CODE HTTP/1.1\r\n"
    "Host: 127.0.0.1\r\n"
    "Connection: keep-alive\r\n"
    'sec-ch-ua: "Chromium";v="141", "Not?A_Brand";v="8"\r\n'
    "sec-ch-ua-mobile: ?0\r\n"
    'sec-ch-ua-platform: "Windows"\r\n'
    "Upgrade-Insecure-Requests: 1\r\n"
    f"User-Agent: {USER_AGENT}\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    f"Referer: {REFERER}\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    f"Accept-Language: {LANGUAGE}\r\n"
    "\r\n"
)
# What nginx makes of them for the redirect service.
_FORWARDED = "X-Forwarded-For: 203.0.113.7\r\nX-Request-ID: 0123456789abcdef0123456789abcdef\r\n"
BARE_BEHIND_NGINX = f"GET /CODE HTTP/1.1\r\nHost: 127.0.0.1\r\n{_FORWARDED}X-Error-Format: json\r\n\r\n"
BROWSER_BEHIND_NGINX = (
    f"GET /CODE HTTP/1.1\r\nHost: 127.0.0.1\r\n{_FORWARDED}"
    f"User-Agent: {USER_AGENT}\r\nReferer: {REFERER}\r\nAccept-Language: {LANGUAGE}\r\nX-Error-Format: html\r\n\r\n"
)


@dataclass(frozen=True)
class Candidate:
    """Something to measure.

    Attributes:
        name: As it is printed.
        port: Where it listens.
        requests: The request of each kind (`bare`, `browser`), with CODE where the code goes.
        parts: The process ids of each part.
        links: How many are asked for.
    """

    name: str
    port: int
    requests: Mapping[str, str]
    parts: Mapping[str, Sequence[int]]
    links: int = HOT_LINKS


@dataclass
class Servers:
    """All that runs for the benchmark."""

    folder: Path
    supervisor: Supervisor
    postgres: Postgres
    cache: Valkey
    nginx_binary: Path | None
    candidates: list[Candidate] = field(default_factory=list)

    def pids(self, name: str) -> list[int]:
        pid = self.supervisor.processes[name].pid
        return [pid, *children(pid)]

    async def start(self, *programs: Program) -> None:
        await self.supervisor.start(*programs)

    def redirect(self, name: str, listen: str, *, database: str = "tinyurl", **settings: str) -> Program:
        """A redirect process."""
        environment = {
            "REDIRECT_DATABASE_URL": self.postgres.url("tinyurl_redirect", database),
            "REDIS_URL": self.cache.url,
            **settings,
        }
        return service(name, ["services.redirect"], listen, **environment)

    def journal(self, name: str) -> dict[str, str]:
        """The settings of a redirect process that records clicks in a journal of its own and ships them."""
        return {
            "JOURNAL_DIR": str(self.folder / name),
            "LINKS_ADDRESS": f"unix:{_sink_socket(self)}",
            "INTERNAL_TOKEN": clicks.TOKEN,
        }

    def front(
        self, name: str, *, redirect: Sequence[str] = (), links: Sequence[str] = (), **options: object
    ) -> tuple[Program, int]:
        """Our nginx with one worker, without limits, in front of services on Unix sockets."""
        port = free_port()
        front = Nginx(
            folder=self.folder / name,
            port=port,
            domains=[DOMAIN],
            links=[Path(path) for path in links or ["/nonexistent"]],
            redirect=[Path(path) for path in redirect or ["/nonexistent"]],
            access_log=f"{self.folder / name}.log json buffer=64k flush=1s",
            options={"limits": False, **options},
            binary=self.nginx_binary,
        )
        return replace(front.program(), name=name), port


@asynccontextmanager
async def run_servers(folder: Path, nginx_binary: Path | None, say: Callable[[str], None]) -> AsyncIterator[Servers]:
    """Start the stores with 50,000 links, and the candidates for redirects."""
    sockets = folder / "postgres-socket"
    sockets.mkdir()
    sockets.chmod(0o777)
    passwords = dict.fromkeys((SUPERUSER, OWNER, *ROLES), "benchmark")
    postgres = Postgres(folder / "postgres", sockets, passwords)
    cache = Valkey(folder / "valkey.sock", "benchmark", "benchmark", maxmemory="512mb")
    supervisor = Supervisor(folder, say, lambda: None)
    servers = Servers(folder, supervisor, postgres, cache, nginx_binary)
    try:
        postgres.init()
        await supervisor.start(postgres.program(), cache.program())
        await prepare(postgres)
        await fill(postgres, "tinyurl", MEMORY_LINKS)
        await _start_candidates(servers)
        yield servers
    finally:
        await supervisor.stop()


async def fill(postgres: Postgres, database: str, links: int) -> None:
    """Fill a database with links b000000, b000001, …; without the indexes that no redirect uses."""
    await prepare(postgres, database)
    conn = await asyncpg.connect(postgres.url(SUPERUSER, database), timeout=10)
    try:
        if database != "tinyurl":
            await conn.execute(
                "DROP INDEX links_by_owner, links_by_target; ALTER TABLE links DROP CONSTRAINT links_id_key"
            )
        await conn.execute(
            """
            INSERT INTO links (domain, code, owner, url)
            SELECT $1, 'b' || CASE WHEN n < 1000000 THEN lpad(n::text, 6, '0') ELSE n::text END, 'bench', $2 || n
            FROM generate_series(0, $3::bigint - 1) AS n
            """,
            DOMAIN,
            TARGET,
            links,
            timeout=900,
        )
        await conn.execute("VACUUM ANALYZE links", timeout=900)
        await conn.execute("CHECKPOINT", timeout=900)
    finally:
        await conn.close()


async def make_packed_links(servers: Servers) -> None:
    """Make the same links once more, in the database of packed clicks, unless they are there."""
    await prepare(servers.postgres, PACKED_DATABASE)
    conn = await asyncpg.connect(servers.postgres.url("tinyurl_links", PACKED_DATABASE), timeout=10)
    await conn.execute(
        """
        INSERT INTO links (domain, code, owner, url)
        SELECT $1, 'b' || to_char(n, 'FM000000'), 'bench', $2 || n FROM generate_series(0, $3::integer - 1) AS n
        ON CONFLICT DO NOTHING
        """,
        DOMAIN,
        TARGET,
        HOT_LINKS,
    )
    await conn.close()


async def make_key(postgres: Postgres) -> str:
    """An API key that may create links and read them."""
    conn = await asyncpg.connect(postgres.url("tinyurl_links"), timeout=10)
    try:
        _, text = await create_key(conn, owner="bench", scopes=["links:read", "links:write"])
    finally:
        await conn.close()
    return text


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _start_candidates(servers: Servers) -> None:
    direct = {"bare": BARE_BEHIND_NGINX, "browser": BROWSER_BEHIND_NGINX}
    client = {"bare": BARE, "browser": BROWSER}
    folder = servers.folder

    returning = _returning_nginx(servers)
    off, on, deciding, naive_port = free_port(), free_port(), free_port(), free_port()
    behind = str(folder / "redirect-behind.sock")
    naive = Program(
        name="naive",
        command=[
            sys.executable,
            "-m",
            "uvicorn",
            "tests.bench.naive:app",
            "--port",
            str(naive_port),
            "--no-access-log",
        ],
        is_ready=lambda: accepts_connections(naive_port),
        environment={"REDIS_URL": f"unix://{_naive_socket(servers)}"},
        address=naive_port,
    )
    await servers.start(_plain_valkey(servers))
    await _fill_naive(servers)
    await fill_deciding(servers.postgres.url(SUPERUSER, "tinyurl"), DOMAIN, TARGET)
    await servers.start(
        returning,
        servers.redirect("redirect-off", f"127.0.0.1:{off}"),
        _sink(servers),
        servers.redirect("redirect-on", f"127.0.0.1:{on}", **servers.journal("journal-direct")),
        servers.redirect("redirect-deciding", f"127.0.0.1:{deciding}", **servers.journal("journal-deciding")),
        servers.redirect("redirect-behind", f"unix:{behind}", **servers.journal("journal-behind")),
        naive,
    )
    front, front_port = servers.front("front", redirect=[behind])
    await servers.start(front)
    assert isinstance(returning.address, int)
    servers.candidates += [
        Candidate("a  nginx return 302", returning.address, client, {"nginx": servers.pids("return")}),
        Candidate("b  redirect, clicks off", off, direct, {"redirect": servers.pids("redirect-off")}),
        Candidate("b  redirect, clicks on", on, direct, {"redirect": servers.pids("redirect-on")}),
        Candidate(
            "c  nginx + redirect",
            front_port,
            client,
            {"nginx": servers.pids("front"), "redirect": servers.pids("redirect-behind")},
        ),
        Candidate(
            "d  naive FastAPI + Redis",
            naive_port,
            client,
            {"service": servers.pids("naive"), "redis": servers.pids("naive-valkey")},
        ),
        *(
            Candidate(
                f"h  redirect, {what}",
                deciding,
                {kind: request.replace("CODE", f"{prefix}CODE") for kind, request in direct.items()},
                {"redirect": servers.pids("redirect-deciding")},
                DECIDING_LINKS,
            )
            for prefix, what in (("r", "ten rules"), ("s", "split of four"))
        ),
    ]


def _returning_nginx(servers: Servers) -> Program:
    """nginx that answers by itself, with one worker: as fast as a redirect can be."""
    port = free_port()
    folder = servers.folder / "return"
    folder.mkdir()
    configuration = folder / "nginx.conf"
    configuration.write_text(RETURN_302.format(folder=folder, port=port, target=TARGET + "1"))
    return Program(
        name="return",
        command=[
            str(servers.nginx_binary or nginx.binary()),
            "-p",
            str(folder),
            "-c",
            str(configuration),
            "-g",
            "daemon off;",
        ],
        is_ready=lambda: accepts_connections(port),
        address=port,
    )


def _sink(servers: Servers) -> Program:
    """Where the clicks go: someone who takes them at once."""
    socket_path = _sink_socket(servers)
    return Program(
        name="sink",
        command=[sys.executable, "-m", "tests.bench.clicks", str(socket_path)],
        is_ready=lambda: accepts_connections(socket_path),
        address=socket_path,
    )


def _sink_socket(servers: Servers) -> Path:
    return servers.folder / "sink.sock"


def _plain_valkey(servers: Servers) -> Program:
    """A Valkey without users, as the naive design has it."""
    socket_path = _naive_socket(servers)
    return Program(
        name="naive-valkey",
        command=[str(valkey.binary()), "--port", "0", "--unixsocket", str(socket_path), "--save", ""],
        is_ready=lambda: accepts_connections(socket_path),
        address=socket_path,
    )


def _naive_socket(servers: Servers) -> Path:
    return servers.folder / "naive-valkey.sock"


async def _fill_naive(servers: Servers) -> None:
    redis = Redis(unix_socket_path=str(_naive_socket(servers)))
    await redis.mset({f"b{n:06d}": f"{TARGET}{n}" for n in range(HOT_LINKS)})
    await redis.aclose()
