"""One run of wrk against a candidate, and what several of them come to."""

import asyncio
import statistics
from collections.abc import Iterable
from pathlib import Path

from tests.bench.candidates import HOT_LINKS, Candidate
from tests.bench.measure import Measurement, measure
from tests.bench.report import Result

ROUNDS = 3


async def run(
    candidate: Candidate, request: Path, order: str, seconds: int, *, links: int = HOT_LINKS, connections: int = 64
) -> Measurement:
    """Load a candidate for some seconds."""
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


def summarise(name: str, load: str, runs: list[Measurement], limit: float | None = None) -> Result:
    """The medians of some runs; `limit` is what `share` is of."""
    rate = median(each.requests_per_second for each in runs)
    parts = {part: median(each.cpu_us[part] for each in runs) for part in runs[0].cpu_us}
    return Result(
        name=name,
        load=load,
        requests_per_second=rate,
        share=rate / limit if limit else None,
        p50_ms=median(each.p50_ms for each in runs),
        p99_ms=median(each.p99_ms for each in runs),
        cpu_us=median(sum(each.cpu_us.values()) for each in runs),
        errors=sum(each.errors for each in runs),
        parts=parts,
        late_s=max((each.late_s for each in runs if each.late_s is not None), default=None),
    )


def median(values: Iterable[float]) -> float:
    """0 of nothing."""
    found = list(values)
    return statistics.median(found) if found else 0.0
