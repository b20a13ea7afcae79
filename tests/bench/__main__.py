"""`tinyurl bench`: how fast it is, beside nginx's own `return 302` and the naive design, in one interleaved run."""

import asyncio
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deploy.local import nginx
from deploy.local.programs import StartFailed
from tests.bench import stats
from tests.bench.candidates import run_servers
from tests.bench.creations import measure_creations
from tests.bench.imports import ImportResult, measure_imports, show_imports
from tests.bench.intake import measure_intake
from tests.bench.measure import MeasuringFailed
from tests.bench.memory import measure_memory_at_rest, show_weights
from tests.bench.misses import measure_misses
from tests.bench.one_day import FULL, QUICK, measure_one_day, show_costs
from tests.bench.redirects import measure_journal, measure_memory, measure_redirects
from tests.bench.report import Report, say, show
from tests.bench.tenants import measure_tenants
from tests.bench.whole import measure_whole

LETTERS = "abcdefghijk"


def main(  # noqa: PLR0917  # options, by name
    quick: Annotated[bool, typer.Option("--quick", help="About a minute: fewer kinds of load.")] = False,
    large: Annotated[bool, typer.Option("--large", help="Misses with 20 million links too; minutes more.")] = False,
    clicks: Annotated[
        bool,
        typer.Option(
            "--clicks", help="Statistics alone, with 50 million clicks: half an hour, 35 GB; less with --quick."
        ),
    ] = False,
    packed: Annotated[
        bool, typer.Option("--packed", help="With --clicks: the clicks are packed; 10 minutes, 5 GB.")
    ] = False,
    one_day: Annotated[
        bool,
        typer.Option(
            "--one-day",
            help="Packed clicks of one day alone: 5 million of one link, and of one owner; 20 minutes, less with --quick.",
        ),
    ] = False,
    memory: Annotated[
        bool, typer.Option("--memory", help="The memory of a `tinyurl up` at rest alone, after a million clicks.")
    ] = False,
    imports: Annotated[
        bool,
        typer.Option("--import", help="An import of a million links alone, beside others; a tenth of it with --quick."),
    ] = False,
    lonely: Annotated[bool, typer.Option("--alone", help="With --import: there are no others.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    nginx_path: Annotated[
        str | None, typer.Option("--nginx", help="Path of another nginx, or `wheel` for the wheel's.")
    ] = None,
    only: Annotated[
        str,
        typer.Option(
            help="Letters to measure: a to d redirects, e creations, f misses, g clicks, h rules, i owners, j all, k with TLS."
        ),
    ] = LETTERS,
) -> None:
    """Measure speed side by side; medians of three interleaved rounds with 64 connections, one nginx worker, one process.

    \b
    a  nginx `return 302`, the limit
    b  the redirect process by itself
    c  the redirect process behind our nginx; its clicks go to a sink, so storing them,
       more than half of a visit's CPU, is left out
    d  a FastAPI route with a Redis GET, the naive design
    e  creations through the API
    f  misses that go to Postgres, by the number of links
    g  clicks that links takes, as rows and packed, and with user agents
       made to be dear;
       creations beside them; from a click to its count
    h  the redirect process, for links of which the last of ten rules holds, and for links
       with a split of four
    i  creations while another owner, of a million links, does its worst
    j  the whole path on the same cores, until the click is in Postgres, as rows or packed, beside
       (a) with the same requests; only visits whose click is stored count, and the time ends
       with the last
    k  the same with TLS 1.3: a new connection for each visit, and kept ones

    The limits of our nginx are off. `share` is of (a) under the same load, CPU is microseconds per request of all server
    processes. With (g), p99 is the slowest batch or click. Machines are noisy: compare within one run.

    \b
    Examples:
      tinyurl bench --quick
      tinyurl bench --nginx /usr/sbin/nginx --json > bench.json
    """
    if packed and not clicks:
        _fail("--packed needs --clicks: only its data can be packed.")
    if clicks:
        _statistics(stats.QUICK if quick else stats.FULL, packed=packed, as_json=as_json)
        return
    if one_day:
        _one_day(quick=quick, as_json=as_json)
        return
    if shutil.which("wrk") is None:
        _fail("wrk is missing: install it, for example with `apt-get install wrk`.")
    if imports:
        _imports(quick=quick, others=not lonely, as_json=as_json)
        return
    if memory:
        _memory(as_json=as_json)
        return
    try:
        report = asyncio.run(_bench(nginx.choose_binary(nginx_path), quick=quick, large=large, only=only))
    except (StartFailed, MeasuringFailed) as error:
        _fail(str(error))
    typer.echo(json.dumps(asdict(report), indent=2) if as_json else show(report))


def _statistics(size: stats.Size, *, packed: bool, as_json: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="tinyurl-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        try:
            answers = asyncio.run(stats.measure_statistics(Path(name), size, say, packed=packed))
        except StartFailed as error:
            _fail(str(error))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in answers], indent=2))
        return
    typer.echo(f"{'statistics of':34} {'questions':>9} {'p50 ms':>8} {'p95 ms':>8} {'longest':>8}")
    for each in answers:
        typer.echo(f"{each.name:34} {each.questions:9} {each.p50_ms:8.1f} {each.p95_ms:8.1f} {each.longest_ms:8.1f}")


def _one_day(*, quick: bool, as_json: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="tinyurl-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        try:
            costs = asyncio.run(measure_one_day(Path(name), QUICK if quick else FULL))
        except StartFailed as error:
            _fail(str(error))
    typer.echo(json.dumps([asdict(each) for each in costs], indent=2) if as_json else show_costs(costs))


def _imports(*, quick: bool, others: bool, as_json: bool) -> None:
    async def measure(folder: Path) -> ImportResult:
        async with run_servers(folder, None, say) as servers:
            return await measure_imports(servers, quick=quick, others=others)

    with tempfile.TemporaryDirectory(prefix="tinyurl-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        try:
            result = asyncio.run(measure(Path(name)))
        except (StartFailed, MeasuringFailed) as error:
            _fail(str(error))
    typer.echo(json.dumps(asdict(result), indent=2) if as_json else show_imports(result))


def _memory(*, as_json: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="tinyurl-bench-", ignore_cleanup_errors=True) as name:
        try:
            weights = asyncio.run(measure_memory_at_rest(Path(name)))
        except MeasuringFailed as error:
            _fail(str(error))
    typer.echo(json.dumps([asdict(each) for each in weights], indent=2) if as_json else show_weights(weights))


async def _bench(binary: nginx.NginxBinary, *, quick: bool, large: bool, only: str) -> Report:
    report = Report(nginx=str(binary).removeprefix("nginx "))
    with tempfile.TemporaryDirectory(prefix="tinyurl-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        async with run_servers(folder, binary.path, say) as servers:
            await measure_redirects(servers, report, quick=quick, only=only)
            if "b" in only:
                await measure_journal(servers, report)
            if "j" in only or "k" in only:
                await measure_whole(servers, report, quick=quick, only=only)
            if "b" in only and not quick:
                await measure_memory(servers, report)
            if "e" in only:
                await measure_creations(servers, report, seconds=2 if quick else 5)
            if "f" in only:
                sizes = [10**4] if quick else [10**4, 10**6]
                await measure_misses(
                    servers, report, [*sizes, *([2 * 10**7] if large else [])], seconds=2 if quick else 3
                )
            if "g" in only:
                await measure_intake(servers, report, quick=quick)
            if "i" in only:
                await measure_tenants(servers, report, quick=quick)
    return report


def _fail(message: str) -> None:
    typer.echo(f"tinyurl bench: {message}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(main)
    app()
