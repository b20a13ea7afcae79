"""Short.io: what its API answers, and CSV of the same members."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.links.sources.drafts import (
    ARCHIVED,
    LOCKED,
    clean_host,
    decode_code,
    find_place,
    make_link,
    read_each,
    read_flag,
    text_of,
    texts_of,
)
from services.links.sources.formats import head_of, is_json_of, kind_of
from services.links.sources.found import ROOT, File, FoundCounts, FoundLink, FoundVisit, Hints, Unusable
from services.links.sources.reading.json_rows import read_json
from services.links.sources.reading.tables import read_table, sniff

NAME = "shortio"
TITLE = "Short.io"

_ALIASES = {
    "originalURL": ("originalurl", "originallink", "longurl"),
    "path": ("path", "slug"),
    "shortURL": ("secureshorturl", "shorturl", "shortlink"),
    "domain": ("domain", "hostname"),
    "title": ("title",),
    "tags": ("tags",),
    "clicks": ("clicks", "totalclicks", "humanclicks"),
    "createdAt": ("createdat", "created", "creationdate"),
    "expiresAt": ("expiresat", "expirationdate"),
    "expiredURL": ("expiredurl",),
    "clicksLimit": ("clickslimit",),
    "archived": ("archived",),
    "iphoneURL": ("iphoneurl",),
    "androidURL": ("androidurl",),
}


def recognise(head: bytes, name: str) -> bool:
    if is_json_of(NAME, head, frozenset({"originalURL", "path"}), frozenset({"originalURL", "shortURL"})):
        return True
    if kind_of(head) != "csv":
        return False
    headings = sniff(head).headings
    has_place = not headings.isdisjoint({"path", "shorturl", "secureshorturl"})
    return "originalurl" in headings and has_place and headings.isdisjoint({"ip", "campaign", "group", "customlink"})


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    if kind_of(head_of(file)) == "json":
        yield from read_each(read_json(file), lambda row: [_make(row.number, row.members, file.hints)])
        return
    records = read_table(file, _ALIASES, [("path", "shortURL"), ("originalURL",)])
    yield from read_each(records, lambda record: [_make(record.line, record.cells, file.hints)])


def read_visits(_file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    return iter(())


def _make(line: int, members: Mapping[str, Any], hints: Hints) -> FoundLink:
    short_url = text_of(members, "secureShortURL", "shortURL")
    host, place = find_place(short_url) if short_url else (None, "")
    path = text_of(members, "path").strip("/")
    if not path and not place and "path" not in members:
        raise ValueError("has no path")
    notices: list[str] = []
    fields: dict[str, object] = {}
    rules = [
        {"if": {"os": [system]}, "url": target}
        for system, name in (("ios", "iphoneURL"), ("android", "androidURL"))
        if (target := text_of(members, name))
    ]
    if rules:
        fields["rules"] = rules
    if text_of(members, "expiredURL"):
        fields["expired_url"] = text_of(members, "expiredURL")
    if text_of(members, "splitURL"):
        notices.append("It has a second target for a split there, which is left out.")
    if read_flag(members.get("archived"), "archived"):
        notices.append(ARCHIVED)
    if any(text_of(members, name) not in ("", "False") for name in ("hasPassword", "passwordContact", "password")):
        fields["enabled"] = False
        notices.append(LOCKED)
    return make_link(
        line,
        hints,
        code=decode_code(path) or place or ROOT,
        url=text_of(members, "originalURL"),
        domain=clean_host(text_of(members, "domain")) or host,
        short_url=short_url or None,
        created=text_of(members, "createdAt", "DT"),
        clicks=members.get("clicks", members.get("totalClicks")),
        title=text_of(members, "title"),
        tags=texts_of(members, "tags"),
        expires=text_of(members, "expiresAt"),
        most=members.get("clicksLimit"),
        fields=fields,
        notices=notices,
    )
