"""`tinyurl bench`, a to d and h: every candidate for redirects under every kind of load."""

from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.bench.candidates import MEMORY_LINKS, Candidate, Servers
from tests.bench.measure import Measurement
from tests.bench.memory import pss_mb
from tests.bench.report import Report, say
from tests.bench.rounds import ROUNDS, median, run, summarise


async def measure_redirects(servers: Servers, report: Report, *, quick: bool, only: str) -> None:
    """Every candidate under every load, in rounds, so that a noisy minute hits all of them."""
    loads = [("zipf", "browser")]
    if not quick:
        loads += [("random", "bare"), ("random", "browser"), ("zipf", "bare")]
    candidates = [candidate for candidate in servers.candidates if candidate.name[0] in only]
    measured: dict[tuple[str, str], list[Measurement]] = {}
    for number in range(ROUNDS):
        for order, kind in loads:
            for candidate in candidates:
                say(f"round {number + 1} of {ROUNDS}: {candidate.name}, {order}, {kind}")
                request = _request_file(servers, candidate, kind)
                # Every candidate starts warm; what is in memory lives longer than a quick run.
                if number == 0 or not quick:
                    await run(candidate, request, "once", 1, links=candidate.links)
                one = await run(candidate, request, order, 1 if quick else 2, links=candidate.links)
                measured.setdefault((candidate.name, f"{order}, {kind}"), []).append(one)
    for (name, load), runs in measured.items():
        limit = median(each.requests_per_second for each in measured.get((_limit_name(servers), load), []))
        report.candidates.append(summarise(name, load, runs, limit))


async def measure_journal(servers: Servers, report: Report) -> None:
    """What the clicks measured so far have put into the journal's folder, each."""
    candidate = next(each for each in servers.candidates if each.name == "b  redirect, clicks on")
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"http://127.0.0.1:{candidate.port}/metrics")).text
    values = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    clicks = values["redirect_clicks_recorded_total"]
    report.journal_bytes_per_click = values["redirect_journal_written_bytes_total"] / clicks if clicks else None


async def measure_memory(servers: Servers, report: Report) -> None:
    """What a redirect process weighs that remembers all links."""
    candidate = next(each for each in servers.candidates if each.name == "b  redirect, clicks off")
    (pid, *_) = candidate.parts["redirect"]
    say(f"memory with {MEMORY_LINKS:,} links")
    request = _request_file(servers, candidate, "bare")
    await run(candidate, request, "once", 6, links=MEMORY_LINKS)
    report.memory_mb[f"redirect with {MEMORY_LINKS:,} links"] = pss_mb(pid)


def _request_file(servers: Servers, candidate: Candidate, kind: str) -> Path:
    path = servers.folder / f"{candidate.name.replace(' ', '-')}-{kind}.http"
    path.write_text(candidate.requests[kind])
    return path


def _limit_name(servers: Servers) -> str:
    return servers.candidates[0].name
