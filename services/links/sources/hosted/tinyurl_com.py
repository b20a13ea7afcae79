"""TinyURL.com: what its API answers, and CSV of the same members."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.links.sources.drafts import clean_host, decode_code, find_place, make_link, read_each, text_of, texts_of
from services.links.sources.formats import head_of, is_json_of, kind_of
from services.links.sources.found import File, FoundCounts, FoundLink, FoundVisit, Hints, Unusable
from services.links.sources.reading.json_rows import read_json
from services.links.sources.reading.tables import read_table, sniff

NAME = "tinyurl.com"
TITLE = "TinyURL.com"

_ALIASES = {
    "alias": ("alias",),
    "tiny_url": ("tinyurl", "shorturl"),
    "domain": ("domain",),
    "url": ("url", "longurl", "destination", "targeturl"),
    "description": ("description",),
    "tags": ("tags",),
    "created_at": ("createdat", "created"),
    "expires_at": ("expiresat", "expires"),
    "hits": ("hits", "clicks"),
}


def recognise(head: bytes, name: str) -> bool:
    if is_json_of(NAME, head, frozenset({"tiny_url", "url"})):
        return True
    if kind_of(head) != "csv":
        return False
    headings = sniff(head).headings
    return not headings.isdisjoint(_ALIASES["url"]) and not headings.isdisjoint({"tinyurl", "alias"})


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    if kind_of(head_of(file)) == "json":
        return read_each(read_json(file), lambda row: [_make(row.number, row.members, file.hints)])
    records = read_table(file, _ALIASES, [("alias", "tiny_url"), ("url",)])
    return read_each(records, lambda record: [_make(record.line, record.cells, file.hints)])


def read_visits(_file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    return iter(())


def _make(line: int, members: Mapping[str, Any], hints: Hints) -> FoundLink:
    short_url = text_of(members, "tiny_url")
    host, path = find_place(short_url) if short_url else (None, "")
    code = decode_code(text_of(members, "alias")) or path
    if not code:
        raise ValueError("has no alias")
    return make_link(
        line,
        hints,
        code=code,
        url=text_of(members, "url"),
        domain=clean_host(text_of(members, "domain")) or host,
        short_url=short_url or None,
        created=text_of(members, "created_at"),
        clicks=members.get("hits"),
        notes=text_of(members, "description"),
        tags=texts_of(members, "tags"),
        expires=text_of(members, "expires_at"),
    )
