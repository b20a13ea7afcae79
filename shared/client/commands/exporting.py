"""`tinyurl export`: everything that an owner has as one archive, or all links as CSV or NDJSON."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, BinaryIO

import typer

from ..questions import LinkQuestion
from .instance import Key, Url, asking, fail
from .progress import Progress, size_text

COMMAND = "export"
MEDIA_TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson"}


class ExportFormat(StrEnum):
    ARCHIVE = "archive"
    CSV = "csv"
    NDJSON = "ndjson"


def export_command(
    file: Annotated[Path, typer.Argument(help="The file to write; `-` is stdout. An older one is replaced.")],
    *,
    format: Annotated[  # noqa: A002  # the option's name
        ExportFormat | None, typer.Option(help="Told by the end of the name, else `archive`.")
    ] = None,
    without_passwords: Annotated[
        bool, typer.Option("--without-passwords", help="Archive: no hashes; such links come back switched off.")
    ] = False,
    raw_clicks: Annotated[bool, typer.Option("--raw-clicks", help="Archive: single clicks, too.")] = False,
    owner: Annotated[str | None, typer.Option(help="Of one owner, for admins, who else get everyone's.")] = None,
    search: Annotated[str | None, typer.Option(help="CSV and NDJSON: links that a search finds.")] = None,
    tag: Annotated[str | None, typer.Option(help="CSV and NDJSON: links with a tag.")] = None,
    domain: Annotated[str | None, typer.Option(help="CSV and NDJSON: links of a domain.")] = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Write all that you have to a file, which `tinyurl import` reads back.

    The archive has links with all fields, counts by day, and domains, and hashes of passwords, so only you can read the file.
    It has its name when it is complete: what broke off leaves the file of before.

    Examples: tinyurl export all.tar.gz;  tinyurl export links.csv --tag docs
    """
    chosen = format or (ExportFormat(file.suffix[1:]) if file.suffix[1:] in MEDIA_TYPES else ExportFormat.ARCHIVE)
    of_archives, of_lists = without_passwords or raw_clicks, (search, tag, domain) != (None, None, None)
    if of_archives and chosen is not ExportFormat.ARCHIVE:
        fail(COMMAND, "--without-passwords and --raw-clicks are for the archive", status=2)
    if of_lists and chosen is ExportFormat.ARCHIVE:
        fail(COMMAND, "--search, --tag and --domain are for csv and ndjson", status=2)
    size = 0
    progress = Progress()
    with asking(COMMAND, url, key) as client, _complete_file(file) as output:
        stream = (
            client.archive(passwords=not without_passwords, raw_clicks=raw_clicks, owner=owner)
            if chosen is ExportFormat.ARCHIVE
            else client.export(LinkQuestion(q=search, tag=tag, domain=domain, owner=owner), MEDIA_TYPES[chosen])
        )
        with stream as parts:
            for part in parts:
                output.write(part)
                size += len(part)
                progress.show(f"received {size_text(size)}")
    progress.end()
    typer.echo(f"{file}: {size_text(size)}", err=True)


@contextmanager
def _complete_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that only its owner may read, and that gets its name if all goes well."""
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    before = signal.signal(signal.SIGTERM, _end)
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        fail(COMMAND, f"{path}: {error.strerror}")
    finally:
        signal.signal(signal.SIGTERM, before)
        if temporary is not None:
            with suppress(FileNotFoundError):
                temporary.unlink()


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
