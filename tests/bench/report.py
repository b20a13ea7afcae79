"""What was measured, as it is printed: a table, or one JSON object."""

from dataclasses import dataclass, field

import typer


@dataclass
class Result:
    """The median of the rounds of one candidate under one kind of load.

    Attributes:
        late_s: From the load's end until the last click was stored, seconds, in the slowest round.
    """

    name: str
    load: str
    requests_per_second: float
    share: float | None
    p50_ms: float
    p99_ms: float
    cpu_us: float
    errors: int
    parts: dict[str, float] = field(default_factory=dict)
    late_s: float | None = None


@dataclass
class Report:
    """Everything that was measured, as `--json` prints it."""

    nginx: str
    candidates: list[Result] = field(default_factory=list)
    journal_bytes_per_click: float | None = None
    bytes_per_click: dict[str, float] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)


def show(report: Report) -> str:
    """The table."""
    lines = [
        f"nginx: {report.nginx}",
        f"{'candidate':26} {'load':26} {'req/s':>9} {'share':>6} {'p50 ms':>7} {'p99 ms':>7} {'CPU µs':>7}  of which",
    ]
    for each in report.candidates:
        share = "" if each.share is None else f"{each.share:.2f}" if each.share >= 0.1 else f"{each.share:.3f}"
        parts = "" if len(each.parts) < 2 else ", ".join(f"{part} {cost:.1f}" for part, cost in each.parts.items())
        late = "" if each.late_s is None else f"; the last click stored {each.late_s:.1f} s after the load"
        lines.append(
            f"{each.name:26} {each.load:26} {each.requests_per_second:9,.0f} {share:>6} {each.p50_ms:7.2f} "
            f"{each.p99_ms:7.2f} {each.cpu_us:7.1f}  {parts}{late}{f'  {each.errors} ERRORS' if each.errors else ''}"
        )
    lines += [f"memory: {name}: {mb:.0f} MB" for name, mb in report.memory_mb.items()]
    lines += [f"disk: clicks as {name}: {size:.0f} bytes a click" for name, size in report.bytes_per_click.items()]
    if report.journal_bytes_per_click is not None:
        lines.append(f"journal: {report.journal_bytes_per_click:.0f} bytes a visit")
    return "\n".join(lines)


def say(line: str) -> None:
    """Tell whoever waits what is being done."""
    typer.echo(line, err=True)
