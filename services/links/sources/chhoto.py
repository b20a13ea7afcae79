"""chhoto-url and simply-shorten: their SQLite file, and what `/api/all` answers."""

from collections.abc import Iterable, Iterator

from services.links.sources.drafts import make_link, read_each, text_of
from services.links.sources.formats import dump_of, head_of, is_json_of, kind_of
from services.links.sources.found import File, FoundCounts, FoundLink, FoundVisit, Hints, Unusable
from services.links.sources.reading.dumps import read_tables
from services.links.sources.reading.json_rows import JsonRow, read_json
from services.links.sources.reading.sql_tables import Row, Wanted

NAME = "chhoto"
TITLE = "chhoto-url"

LINKS = Wanted(
    "urls", ("id", "short_url", "long_url", "hits", "expiry_time", "notes"), frozenset({"short_url", "long_url"})
)


def recognise(head: bytes, name: str) -> bool:
    return is_json_of(NAME, head, frozenset({"shortlink", "longlink"})) or dump_of(head, name) == NAME


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    if kind_of(head_of(file)) == "json":
        return read_each(read_json(file), lambda row: _told_link(row, file.hints))
    return read_each(read_tables(file, LINKS), lambda row: _link(row, file.hints))


def read_visits(_file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    return iter(())


def _link(row: Row, hints: Hints) -> Iterable[FoundLink]:
    values = row.values
    if not values["short_url"]:
        raise ValueError("has no short_url")
    yield make_link(
        row.line,
        hints,
        code=values["short_url"],
        url=values["long_url"] or "",
        clicks=values.get("hits"),
        expires=values.get("expiry_time"),
        notes=values.get("notes"),
    )


def _told_link(row: JsonRow, hints: Hints) -> Iterable[FoundLink]:
    code = text_of(row.members, "shortlink")
    if not code:
        raise ValueError("has no shortlink")
    yield make_link(
        row.number,
        hints,
        code=code,
        url=text_of(row.members, "longlink"),
        clicks=row.members.get("hits"),
        expires=text_of(row.members, "expiry_time"),
        notes=text_of(row.members, "notes"),
    )
