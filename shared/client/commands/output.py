"""How commands show what they found: as a table for people, as JSON for programs, or as short URLs alone."""

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from ..results import Link

GAP = "  "
SHORTEST_CELL = 20


class Form(StrEnum):
    TABLE = "table"
    JSON = "json"
    URL = "url"


Output = Annotated[Form, typer.Option(help="`table` for people, `json` for programs, `url` for short URLs alone.")]


def show_link(link: Link, form: Form) -> None:
    """Show one link."""
    if form is Form.URL:
        typer.echo(link.short_url)
    elif form is Form.JSON:
        typer.echo(as_json(asdict(link)))
    else:
        rows = [(name, _text(value)) for name, value in asdict(link).items() if value not in (None, (), [])]
        show_table(rows, cut=None)


def show_links(links: Iterable[Link], form: Form) -> None:
    """Show many links, as they come."""
    if form is Form.URL:
        for link in links:
            typer.echo(link.short_url)
    elif form is Form.JSON:
        before = "["
        for link in links:
            typer.echo(before + as_json(asdict(link)), nl=False)
            before = ",\n"
        typer.echo("[]" if before == "[" else "]")
    else:
        rows = [(link.short_url, str(link.clicks), link.url, link.title or "", " ".join(link.tags)) for link in links]
        show_table([("SHORT URL", "CLICKS", "TARGET", "TITLE", "TAGS"), *rows], cut=2)


def show_table(rows: Sequence[Sequence[str]], *, cut: int | None) -> None:
    """Show rows of texts.

    Args:
        rows: With one of names first, if they have names.
        cut: The column that is cut where a line does not fit on the terminal; a file gets all of it.
    """
    cells = [[printable(text) for text in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(*cells, strict=True)]
    if cut is not None and sys.stdout.isatty():
        others = sum(widths) - widths[cut] + len(GAP) * (len(widths) - 1)
        widths[cut] = min(widths[cut], max(shutil.get_terminal_size().columns - others, SHORTEST_CELL))
        for row in cells:
            if len(row[cut]) > widths[cut]:
                row[cut] = row[cut][: widths[cut] - 1] + "…"
    for row in cells:
        typer.echo(GAP.join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def printable(text: str) -> str:
    """Return a text of somebody's that does nothing to a terminal."""
    return "".join(each if each.isprintable() else "�" for each in text)


def as_json(value: Any) -> str:
    return json.dumps(value, default=datetime.isoformat, ensure_ascii=False)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S%z}"
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return " ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
