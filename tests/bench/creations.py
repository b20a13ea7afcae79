"""`tinyurl bench`, e: creations through nginx and the API."""

from dataclasses import dataclass
from pathlib import Path

from deploy.local.services import service
from tests.bench.candidates import DOMAIN, Candidate, Servers, make_key
from tests.bench.measure import Measurement
from tests.bench.report import Report, say
from tests.bench.rounds import ROUNDS, run, summarise

CREATE = (
    "POST /api/v1/links HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
)
CREATE_BODY = '{"url": "https://www.example.com/articles/2026/CODE?utm_source=newsletter"}'


@dataclass(frozen=True)
class Creations:
    """A write service behind nginx, and a request that creates a link.

    Attributes:
        name: Of the service's program; nginx's has `-front` behind it.
        socket: Of the service itself.
    """

    name: str
    port: int
    request: Path
    socket: Path


async def measure_creations(servers: Servers, report: Report, seconds: int) -> None:
    """Creations, one link each, by 64 clients."""
    creations = await prepare_creations(servers, "links")
    runs = []
    for number in range(ROUNDS):
        say(f"round {number + 1} of {ROUNDS}: e  creations")
        runs.append(await create(servers, creations, seconds))
    report.candidates.append(summarise("e  creations", "64 clients", runs))


async def prepare_creations(servers: Servers, name: str, **settings: str) -> Creations:
    """Start a write service, and nginx before it."""
    key = await make_key(servers.postgres)
    socket = servers.folder / f"{name}.sock"
    environment = {
        "LINKS_DATABASE_URL": servers.postgres.url("tinyurl_links"),
        "FASTAPI_SECRET_KEY": "benchmark" * 4,
        "PUBLIC_BASE_URL": f"http://{DOMAIN}",
        **settings,
    }
    await servers.start(service(name, ["services.links"], f"unix:{socket}", **environment))
    program, port = servers.front(f"{name}-front", links=[str(socket)])
    await servers.start(program)
    length = len(CREATE_BODY.replace("CODE", "b000000"))
    request = servers.folder / f"{name}.http"
    request.write_text(CREATE.format(key=key, length=length, body=CREATE_BODY))
    return Creations(name, port, request, socket)


async def create(servers: Servers, creations: Creations, seconds: int, *, counts_postgres: bool = True) -> Measurement:
    """Create links for some seconds.

    Args:
        counts_postgres: Whether what Postgres spends is theirs alone.
    """
    parts = {
        "nginx": servers.pids(f"{creations.name}-front"),
        # Without the click worker, its child.
        "links": servers.pids(creations.name)[:1],
    }
    if counts_postgres:
        parts["postgres"] = servers.pids("postgres")
    candidate = Candidate(creations.name, creations.port, {}, parts)
    return await run(candidate, creations.request, "random", seconds)
