"""`tinyurl shorten`: short URLs for addresses that are typed, or come one a line through a pipe."""

import sys
from collections.abc import Iterator, Sequence
from io import BufferedReader
from typing import Annotated, cast

import segno
import typer

from ..client import Client
from ..results import Link
from .instance import Key, Url, asking, fail, tell
from .output import Form, Output, printable, show_link

COMMAND = "shorten"
BLOCK = 64 * 1024
"""Bytes that are read at once; so many lines of a pipe become links together."""
LONGEST_LINE = 64 * 1024


def shorten_command(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET", help="Addresses; `-` reads them from stdin.")],
    *,
    code: Annotated[str | None, typer.Option(help="A code of your own, for one address.")] = None,
    domain: Annotated[str | None, typer.Option(help="One of the instance's domains.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="A tag of all of them; can be repeated.")] = None,
    find_existing: Annotated[bool, typer.Option("--find-existing", help="Or find yours of the same fields.")] = False,
    qr: Annotated[bool, typer.Option("--qr", help="Draw the QR code of each, too.")] = False,
    output: Output = Form.URL,
    url: Url = None,
    key: Key = None,
) -> None:
    """Print a short URL for each address, in their order.

    What cannot be shortened is told on stderr with its line and stops no other; the exit status is 3 then, or 1 if nothing
    could be shortened.

    Examples: tinyurl shorten https://docs.python.org/3/ --qr;  cut -d, -f2 list.csv | tinyurl shorten - >short.txt
    """
    if code and (len(targets) > 1 or targets == ["-"]):
        raise typer.BadParameter("is for one address", param_hint="--code")
    fields: dict[str, object] = {"code": code, "domain": domain, "tags": tags, "find_existing": find_existing}
    fields = {name: value for name, value in fields.items() if value}
    stdin = cast("BufferedReader", sys.stdin.buffer)
    lines = read_lines(stdin) if targets == ["-"] else [[*enumerate(map(str.encode, targets), 1)]]
    made = failed = 0
    with asking(COMMAND, url, key) as client:
        for some in lines:
            for number, link, problem in _shorten(client, some, fields):
                if link is None:
                    failed += 1
                    tell(COMMAND, f"line {number}: {problem}")
                else:
                    made += 1
                    _show(link, output, qr=qr)
            # Whoever reads the other end of the pipe has them now.
            sys.stdout.flush()
    if failed:
        raise typer.Exit(3 if made else 1)


def read_lines(file: BufferedReader) -> Iterator[list[tuple[int, bytes]]]:
    """Read the lines that are there, with their numbers; empty ones are left out."""
    rest, number = b"", 0
    while part := file.read1(BLOCK):
        *lines, rest = (rest + part).split(b"\n")
        if len(rest) > LONGEST_LINE:
            fail(COMMAND, f"line {number + len(lines) + 1} has no end after {LONGEST_LINE} bytes")
        yield [(number + n, line) for n, line in enumerate(lines, 1) if line.strip()]
        number += len(lines)
    if rest.strip():
        yield [(number + 1, rest)]


def _shorten(
    client: Client, lines: Sequence[tuple[int, bytes]], fields: dict[str, object]
) -> Iterator[tuple[int, Link | None, str]]:
    """Create links, all at once, and yield for each line its number, and its link or what is wrong."""
    targets = [(number, _decoded(line)) for number, line in lines]
    rows = [fields | {"url": target} for _, target in targets if target is not None]
    results = iter(client.create_links(rows).results if rows else ())
    for number, target in targets:
        if target is None:
            yield number, None, "is not UTF-8"
        else:
            result = next(results)
            yield number, result.link, str(result.problem or "")


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None


def _show(link: Link, output: Form, *, qr: bool) -> None:
    if output is Form.TABLE:
        typer.echo(f"{link.short_url}  {printable(link.url)}")
    else:
        show_link(link, output)
    if qr:
        segno.make(link.short_url).terminal(sys.stdout, compact=True)
