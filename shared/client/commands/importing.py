"""`tinyurl import`: moves in with a file of this or another shortener, or takes back what an import did."""

import csv
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated
from uuid import UUID, uuid4

import typer

from ..client import Client
from ..imports import Import, ImportOptions, is_packed, send_file
from ..problems import ApiError, Unreachable
from ..words import OnConflict
from .instance import Key, Url, asking, fail, tell
from .output import printable
from .progress import Progress, clock_text
from .pulled import is_address, pulled_file

COMMAND = "import"
LOOK_EVERY_S = 0.5
LONGEST_AWAY_S = 60.0
SHOWN_REFUSALS = 5
LONGEST_SHOWN = 80
MOST_SHOWN = 64 * 1024
"""Bytes of the refused rows that are read to show the first ones."""


def import_command(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE|URL", help="A file, which may be packed with gzip (.gz), or a shortener that has an API."
        ),
    ] = None,
    *,
    format: Annotated[str | None, typer.Option(help="What it is, where that is not told right.")] = None,  # noqa: A002
    source_key: Annotated[
        str | None,
        typer.Option(
            envvar="SOURCE_KEY",
            help="Of a shortener's API; asked for if left out. YOURLS: its signature, or USER:PASSWORD.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would become of it, and create nothing.")
    ] = False,
    on_conflict: Annotated[
        OnConflict | None, typer.Option(help="What to do where another link has the code; else `skip`.")
    ] = None,
    domains: Annotated[
        list[str] | None,
        typer.Option(
            "--domain", metavar="FROM=TO", help="Put links of a host under a domain; TO alone: those of none."
        ),
    ] = None,
    zone: Annotated[str | None, typer.Option(help="Of times without one, such as Europe/Berlin.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a file that is not in UTF-8, such as windows-1252.")] = None,
    day_first: Annotated[bool | None, typer.Option("--day-first/--month-first", help="How to read 3/4/2024.")] = None,
    fold_case: Annotated[
        bool, typer.Option("--fold-case", help="Codes were the same in upper and lower case.")
    ] = False,
    scheme: Annotated[str | None, typer.Option(help="Of targets without one, such as https.")] = None,
    slashes: Annotated[str | None, typer.Option(help="What takes the place of / in codes, such as -.")] = None,
    refused: Annotated[Path | None, typer.Option(help="Write the rows that were refused to a CSV file.")] = None,
    resume: Annotated[
        UUID | None, typer.Option(metavar="ID", help="Go on sending the file of a broken import.")
    ] = None,
    follow: Annotated[UUID | None, typer.Option(metavar="ID", help="Watch an import that was begun before.")] = None,
    start: Annotated[UUID | None, typer.Option(metavar="ID", help="Do what a dry run has shown.")] = None,
    undo: Annotated[UUID | None, typer.Option(metavar="ID", help="Take back what an import did.")] = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Import the links of a file, or of a shortener at an address, with their counts.

    It can be interrupted at any time: what was sent goes on by itself, --resume sends the rest. The exit status is 3 if rows
    were refused.

    Examples: tinyurl import yourls.sql --dry-run;  tinyurl import https://old.example --domain old.example=go.example;
    tinyurl import --undo ID
    """
    known = [each for each in (follow, start, undo) if each is not None]
    if len(known) + (file is not None) != 1 or (resume is not None and file is None):
        fail(COMMAND, "give a file, or one of --follow, --start and --undo", status=2)
    with asking(COMMAND, url, key) as client:
        if file is not None:
            options = ImportOptions(
                format=format,
                on_conflict=on_conflict,
                dry_run=dry_run,
                domains=tuple(domains or ()),
                zone=zone,
                encoding=encoding,
                day_first=day_first,
                fold_case=fold_case,
                scheme=scheme,
                slashes=slashes,
            )
            found = _send(client, file, source_key, options, resume)
        elif start is not None:
            found = client.begin_after_dry_run(str(start))
        elif undo is not None:
            undone = client.undo_import(str(undo))
            if undone is None:
                typer.echo("undone: it had made nothing")
                return
            found = undone
        else:
            found = client.read_import(str(follow))
        found = _watch(client, found)
        if refused is not None:
            _write_refused(client, found, refused)
        elif found.refused and found.state != "undone":
            _show_refused(client, found)
    _report(found)


def _send(client: Client, file: str, source_key: str | None, options: ImportOptions, resume: UUID | None) -> Import:
    """Send a file, or what is pulled from another shortener, until all of it has arrived."""
    if not is_address(file):
        path = Path(file)
        return _send_file(
            client, path, replace(options, filename=path.stem if is_packed(path.name) else path.name), resume
        )
    with pulled_file(file, source_key, options.format) as path:
        # A pulled file says itself what it is.
        return _send_file(client, path, replace(options, format=None, filename=file), resume)


def _send_file(client: Client, path: Path, options: ImportOptions, resume: UUID | None) -> Import:
    import_id = str(resume or uuid4())
    progress = Progress()
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            return send_file(
                client,
                file,
                options,
                is_packed=is_packed(path.name),
                import_id=import_id,
                progress=lambda sent: progress.show_bytes(sent, size),
            )
    except OSError as error:
        fail(COMMAND, f"{path}: {error.strerror}")
    except (ApiError, KeyboardInterrupt) as error:
        progress.end()
        if not isinstance(error, ApiError) or isinstance(error, Unreachable):
            tell(COMMAND, f"not all was sent; go on with: tinyurl import {path} --resume {import_id}")
        raise
    finally:
        progress.end()


def _watch(client: Client, found: Import) -> Import:
    """Show how far an import is, until it is over."""
    progress = Progress()
    away_since: float | None = None
    try:
        while not found.is_over:
            sleep(LOOK_EVERY_S)
            try:
                found, away_since = client.read_import(found.id), None
            except Unreachable:
                away_since = away_since or monotonic()
                if monotonic() - away_since > LONGEST_AWAY_S:
                    raise
            progress.show(_progress_text(found))
    except (Unreachable, KeyboardInterrupt):
        progress.end()
        tell(COMMAND, f"it goes on by itself; watch it with: tinyurl import --follow {found.id}")
        raise
    progress.end()
    return found


def _progress_text(found: Import) -> str:
    left = "" if found.seconds_left is None else f", {clock_text(found.seconds_left)} left"
    pace = "" if found.rows_per_second is None else f", {found.rows_per_second:,.0f} rows/s"
    counts = f"{found.rows_read:,} rows, {found.made:,} made, {found.refused:,} refused"
    return f"{found.state}: {counts}{pace}{left}"


def _write_refused(client: Client, found: Import, path: Path) -> None:
    with client.refused(found.id) as parts, path.open("wb") as file:
        for part in parts:
            file.write(part)


def _show_refused(client: Client, found: Import) -> None:
    """Show the first rows that were refused."""
    text = b""
    with client.refused(found.id) as parts:
        for part in parts:
            text += part
            if len(text) > MOST_SHOWN:
                break
    rows = list(csv.DictReader(text.decode("utf-8-sig", "replace").splitlines(keepends=True)))
    for row in rows[:SHOWN_REFUSALS]:
        proposed = f" (proposed: {row['proposed_code']})" if row.get("proposed_code") else ""
        shown = f"row {row.get('row')} ({(row.get('input') or '')[:LONGEST_SHOWN]}): {row.get('reason')}{proposed}"
        tell(COMMAND, printable(shown))
    if found.refused > len(rows[:SHOWN_REFUSALS]):
        tell(COMMAND, f"all rows that were refused: tinyurl import --follow {found.id} --refused refused.csv")


def _report(found: Import) -> None:
    """Say what became of an import, and end with its status."""
    counts = f"{found.rows_read} rows read: {found.made} made, {found.found} found, {found.replaced} replaced"
    typer.echo(f"{found.state}: {counts}, {found.refused} refused, {found.visits} visits")
    if found.kept:
        typer.echo(f"{found.kept} links were edited or clicked since, and are kept; --refused names them", err=True)
    if found.notices:
        typer.echo(f"{found.notices} rows come with a change, such as another code; --refused names them", err=True)
    if found.state == "failed":
        fail(COMMAND, printable(found.error or "it failed"))
    if found.state == "done" and found.dry_run:
        typer.echo(f"Nothing was created yet. Do it with: tinyurl import --start {found.id}", err=True)
    elif found.state == "done" and (found.made or found.replaced or found.visits):
        typer.echo(f"Take it back with: tinyurl import --undo {found.id}", err=True)
    if found.refused and found.state == "done":
        raise typer.Exit(3)
