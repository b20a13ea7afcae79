"""Tells what kind of file something is, and which members or tables it has, by its beginning."""

import json
import re
from functools import lru_cache
from typing import Literal, NamedTuple

from services.links.sources.found import File
from services.links.sources.reading.json_rows import PULLED
from services.links.sources.reading.sqlite_files import MAGIC
from services.links.sources.reading.texts import read_head

HEAD_BYTES = 64 * 1024

Kind = Literal["csv", "html", "json", "sql", "sqlite"]

_sql = re.compile(
    r"(?:--|/\*|#|\\|(?:SET|INSERT|REPLACE|CREATE|DROP|ALTER|PRAGMA|BEGIN|START|COPY|USE|LOCK|SELECT)\b[ \t\r\n;])",
    re.IGNORECASE,
).match
_member = re.compile(r'"(\w{1,40})"\s*:')

_SIGNS = (
    ("shlink", r"\b(?:short_urls|api_key_roles|base_url_redirect|visit_locations|short_urls_in_tags)\b"),
    ("polr", r"\b(?:referer_host|secret_key|is_disabled)\b|links[`\"]?\s+VALUES\s*\(\d+,\s*'[^']*',\s*'\w+:"),
    ("kutt", r"\b(?:knex_migrations|visit_count|br_chrome|homepage)\b|links[`\"]?\s+VALUES\s*\(\d+,\s*'[^']*',"),
    ("chhoto", r"\blong_url\b[^;]{0,200}\bhits\b|\burls[`\"]?\s+VALUES\s*\(\d+,\s*'[^']*',\s*'\w+:"),
)
"""Names in dumps; and rows of tables whose columns the dump does not name."""

_signs = tuple((name, re.compile(expression, re.IGNORECASE)) for name, expression in _SIGNS)


def head_of(file: File) -> bytes:
    """Read the beginning of a file."""
    held = b""
    for block in file.blocks():
        held += block[:HEAD_BYTES]
        if len(held) >= HEAD_BYTES:
            break
    return held[:HEAD_BYTES]


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
    text = read_head(head) if kind == "sql" else head.decode("latin-1")
    for source, sign in _signs:
        if sign.search(text):
            return source
    for source, _ in _signs:
        if source in name.lower():
            return source
    return "yourls" if kind == "sql" else "chhoto"
