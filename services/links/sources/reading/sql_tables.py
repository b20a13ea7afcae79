"""What dumps say of tables: the ones to read, and the columns of their CREATE TABLE."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

IDENTIFIER = r"(?:`(?:[^`]|``)+`|\"(?:[^\"]|\"\")+\"|\[[^\]]+\]|[\w$]+)"
"""A name in the quotes of any database."""

_part = re.compile(rf"\s*({IDENTIFIER})")
_body = re.compile(r"'(?:[^'\\]|\\.|'')*+'|\"[^\"]*+\"|`[^`]*+`|--[^\n]*+|/\*.*?\*/|[(),]|[^'\"`(),\-/]++|.", re.DOTALL)
_NOT_COLUMNS = frozenset(
    [
        "PRIMARY",
        "KEY",
        "UNIQUE",
        "CONSTRAINT",
        "FOREIGN",
        "INDEX",
        "CHECK",
        "FULLTEXT",
        "SPATIAL",
        "EXCLUDE",
        "LIKE",
        "PERIOD",
    ]
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A table to read.

    Attributes:
        name: What its name is, or ends with: prefixes are free.
        columns: Its columns in their usual order, for a dump that names them nowhere.
        needs: Columns that it must have; else it is another table of that name.
    """

    name: str
    columns: tuple[str, ...]
    needs: frozenset[str]


class Row(NamedTuple):
    """A row: the line that it begins in, the name of its `Wanted`, and its values by column; numbers are text, too."""

    line: int
    table: str
    values: dict[str, str | None]


def bare_name(identifier: str) -> str:
    """Take the quotes off a name."""
    return (identifier[1:-1] if identifier[0] in '`"[' else identifier).lower()


def columns_of(body: str) -> Iterator[str]:
    """The names of the columns of a CREATE TABLE."""
    for part in _split(body):
        found = _part.match(part)
        if found is not None and found[1].upper() not in _NOT_COLUMNS:
            yield bare_name(found[1])


def _split(body: str) -> Iterator[str]:
    """Split at the commas that are in no bracket, up to the bracket that closes."""
    depth, part = 0, ""
    for piece in _body.findall(body):
        if piece == ")" and depth == 0:
            break
        if piece == "," and depth == 0:
            yield part
            part = ""
            continue
        depth += (piece == "(") - (piece == ")")
        if not piece.startswith(("--", "/*")):
            part += piece
    yield part
