"""Rebrandly: what its API answers, and CSV of the same members."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.links.sources.drafts import (
    clean_host,
    decode_code,
    find_place,
    make_link,
    object_of,
    read_each,
    text_of,
    texts_of,
)
from services.links.sources.formats import head_of, is_json_of, kind_of
from services.links.sources.found import File, FoundCounts, FoundLink, FoundVisit, Hints, Unusable
from services.links.sources.reading.json_rows import read_json
from services.links.sources.reading.tables import read_table, sniff

NAME = "rebrandly"
TITLE = "Rebrandly"

_ALIASES = {
    "slashtag": ("slashtag",),
    "shortUrl": ("shorturl", "shortlink", "link"),
    "domainName": ("domain", "domainfullname"),
    "destination": ("destination", "destinationurl", "longurl", "url"),
    "title": ("title",),
    "tags": ("tags",),
    "clicks": ("clicks", "totalclicks"),
    "createdAt": ("createdat", "created", "creationdate"),
}


def recognise(head: bytes, name: str) -> bool:
    if is_json_of(NAME, head, frozenset({"slashtag", "destination"})):
        return True
    return kind_of(head) == "csv" and "slashtag" in sniff(head).headings


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    if kind_of(head_of(file)) == "json":
        return read_each(read_json(file), lambda row: [_make(row.number, row.members, file.hints)])
    records = read_table(file, _ALIASES, [("slashtag", "shortUrl"), ("destination",)])
    return read_each(records, lambda record: [_make(record.line, record.cells, file.hints)])


def read_visits(_file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    return iter(())


def _make(line: int, members: Mapping[str, Any], hints: Hints) -> FoundLink:
    short_url = text_of(members, "shortUrl")
    host, path = find_place(short_url) if short_url else (None, "")
    code = decode_code(text_of(members, "slashtag").strip("/")) or path
    if not code:
        raise ValueError("has no slashtag")
    named = text_of(members, "domainName") or text_of(object_of(members, "domain"), "fullName")
    return make_link(
        line,
        hints,
        code=code,
        url=text_of(members, "destination"),
        domain=clean_host(named) or host,
        short_url=short_url or None,
        created=text_of(members, "createdAt"),
        clicks=members.get("clicks"),
        title=text_of(members, "title"),
        tags=texts_of(members, "tags"),
    )
