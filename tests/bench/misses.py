"""`tinyurl bench`, f: visits of links that only Postgres knows."""

from tests.bench.candidates import BARE_BEHIND_NGINX, Candidate, Servers, fill, free_port
from tests.bench.measure import Measurement
from tests.bench.report import Report, say
from tests.bench.rounds import ROUNDS, run, summarise

MISS_CONNECTIONS = 8


async def measure_misses(servers: Servers, report: Report, sizes: list[int], seconds: int) -> None:
    """A process that remembers no link and has no Redis, so that every visit goes to Postgres."""
    for size in sizes:
        say(f"f  {size:,} links: filling")
        database = f"bench_{size}"
        await fill(servers.postgres, database, size)
        port = free_port()
        name = f"redirect-{size}"
        await servers.start(
            servers.redirect(
                name, f"127.0.0.1:{port}", database=database, MEMORY_MB="0", REDIS_URL="unix:///nonexistent"
            )
        )
    request = servers.folder / "miss.http"
    request.write_text(BARE_BEHIND_NGINX)
    measured: dict[int, list[Measurement]] = {}
    for number in range(ROUNDS):
        for size in sizes:
            say(f"round {number + 1} of {ROUNDS}: f  {size:,} links")
            name = f"redirect-{size}"
            address = servers.supervisor.programs[name].address
            assert isinstance(address, int)
            parts = {"redirect": servers.pids(name), "postgres": servers.pids("postgres")}
            candidate = Candidate(name, address, {}, parts)
            measured.setdefault(size, []).append(
                await run(candidate, request, "fresh", seconds, links=size, connections=MISS_CONNECTIONS)
            )
    for size, runs in measured.items():
        report.candidates.append(summarise("f  misses", f"{size:,} links, {MISS_CONNECTIONS} clients", runs))
