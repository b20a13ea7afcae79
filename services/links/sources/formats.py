"""Tells what kind of file something is, and which members or tables it has, by its beginning."""

import json
import re
from functools import lru_cache
from typing import Literal, NamedTuple

from services.links.sources.found import File
from services.links.sources.reading.json_rows import PULLED
from services.links.sources.reading.sql_values import find_dialect
from services.links.sources.reading.sqlite_files import MAGIC
from services.links.sources.reading.texts import read_head

HEAD_BYTES = 64 * 1024
SQLITE_HEAD_BYTES = 1024 * 1024
"""A SQLite file has its schema behind the first pages of its tables."""

Kind = Literal["csv", "html", "json", "sql", "sqlite"]

_sql = re.compile(
    r"(?:--|/\*|#|\\|(?:SET|INSERT|REPLACE|CREATE|DROP|ALTER|PRAGMA|BEGIN|START|COPY|USE|LOCK|SELECT)\b[ \t\r\n;])",
    re.IGNORECASE,
).match
_member = re.compile(r'"(\w{1,40})"\s*:')

_SIGNS = (
    ("shlink", r"\b(?:short_urls|api_key_roles|base_url_redirect|visit_locations|short_urls_in_tags)\b"),
    ("yourls", r"\b\w*yourls_(?:url|log|options)\b"),
    ("polr", r"\breferer_host\b|\blong_url\b[^;]{0,600}\bis_(?:disabled|custom)\b"),
    ("kutt", r"\b(?:knex_migrations|visit_count|banned_by_id|br_chrome)\b"),
    ("chhoto", r"\blong_url\b[^;]{0,200}\bhits\b"),
)
"""Names of tables and columns. What is in rows counts for nothing: titles and targets have all of these words."""

_ROWS = (
    ("polr", r"\blinks[`\"]?\s+VALUES\s*\(\d+,\s*'[^':/]*',\s*'\w+:"),
    ("kutt", r"\blinks[`\"]?\s+VALUES\s*\(\d+,\s*'[^':/]*',"),
    ("chhoto", r"\burls[`\"]?\s+VALUES\s*\(\d+,\s*'[^':/]*',\s*'\w+:"),
)
"""Rows of tables whose columns the dump does not name."""

_signs, _rows = (
    tuple((name, re.compile(expression, re.IGNORECASE)) for name, expression in each) for each in (_SIGNS, _ROWS)
)
_ROOT_KIND, _INTERIOR = slice(100, 101), b"\5"
"""Where a SQLite file tells whether its schema has more pages than the first one, and how."""
_schema = re.compile(r"CREATE (?:TABLE|(?:UNIQUE )?INDEX) [^\0]{0,2000}", re.IGNORECASE).findall
_copied = re.compile(r"(?<=FROM stdin;)\r?\n.*?(?:^\\\.\s*$|\Z)", re.DOTALL | re.MULTILINE | re.IGNORECASE).sub


def head_of(file: File) -> bytes:
    """Read the beginning of a file."""
    held, wanted = b"", HEAD_BYTES
    for block in file.blocks():
        held += block[:SQLITE_HEAD_BYTES]
        wanted = SQLITE_HEAD_BYTES if held.startswith(MAGIC) else HEAD_BYTES
        if len(held) >= wanted:
            break
    return held[:wanted]


@lru_cache(4)
def kind_of(head: bytes) -> Kind:
    """Tell what kind of file begins so."""
    if head.startswith(MAGIC):
        return "sqlite"
    text = read_head(head).lstrip()
    if text[:1] in ("{", "["):
        return "json"
    if text[:1] == "<":
        return "html"
    return "sql" if _sql(text) else "csv"


@lru_cache(4)
def members_of(head: bytes) -> frozenset[str]:
    """The names of members of a file of JSON; none of another."""
    return frozenset(_member.findall(read_head(head))) if kind_of(head) == "json" else frozenset()


class Pulled(NamedTuple):
    """What the first line of a file says that `tinyurl import URL` has written: whose API was asked, and where."""

    source: str
    base: str


@lru_cache(4)
def pulled_of(head: bytes) -> Pulled | None:
    """Tell whether a file was written by a puller."""
    if kind_of(head) != "json":
        return None
    try:
        first = json.loads(read_head(head).partition("\n")[0])
    except (ValueError, RecursionError):
        return None
    if not isinstance(first, dict) or first.keys() != PULLED:
        return None
    return Pulled(str(first["source"]), str(first["base"]))


def is_json_of(name: str, head: bytes, *members: frozenset[str]) -> bool:
    """Tell whether a file of JSON is of a source: its puller says so, or it has one of these sets of members."""
    pulled = pulled_of(head)
    if pulled is not None:
        return pulled.source == name
    return any(each <= members_of(head) for each in members)


@lru_cache(4)
def dump_of(head: bytes, name: str) -> str | None:
    """The source of a dump, in SQL or as a SQLite file.

    SQL without a sign is taken for YOURLS', which often lives in the database of another program.
    """
    kind = kind_of(head)
    if kind not in ("sql", "sqlite"):
        return None
    if kind == "sql":
        text = read_head(head)
        found = _find(_signs, _names_in(text)) or _find(_rows, text)
    else:
        found = _find(_signs, "\n".join(_schema(head.decode("latin-1"))))
    if found is not None:
        return found
    for source, _ in _signs:
        if source in name.lower():
            return source
    if kind == "sql":
        return "yourls"
    # chhoto's one table is told on the first page.
    return "shlink" if head[_ROOT_KIND] == _INTERIOR else "chhoto"


def _find(signs: tuple[tuple[str, re.Pattern[str]], ...], text: str) -> str | None:
    return next((source for source, sign in signs if sign.search(text)), None)


def _names_in(text: str) -> str:
    """A dump without its strings, comments and rows of COPY."""
    string = find_dialect(text).string
    # The last string may be cut.
    bare = re.compile(rf"{string}|'.*\Z|--[^\n]*|/\*.*?\*/", re.DOTALL).sub
    return bare("''", _copied("\n", text))
