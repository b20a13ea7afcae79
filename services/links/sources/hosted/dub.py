"""Dub: CSV of its export, and what its API answers."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from services.links.sources.drafts import (
    ARCHIVED,
    clean_host,
    decode_code,
    find_place,
    make_link,
    object_of,
    read_each,
    read_flag,
    text_of,
    texts_of,
)
from services.links.sources.formats import head_of, is_json_of, kind_of
from services.links.sources.found import ROOT, File, FoundCounts, FoundLink, FoundVisit, Hints, Unusable
from services.links.sources.reading.json_rows import JsonRow, read_json
from services.links.sources.reading.tables import read_table, sniff
from shared.api import LONGEST_PASSWORD

NAME = "dub"
TITLE = "Dub"

_ALIASES = {
    "shortLink": ("shortlink",),
    "domain": ("domain",),
    "key": ("key",),
    "url": ("destinationurl", "url"),
    "title": ("title",),
    "description": ("description",),
    "comments": ("comments",),
    "tags": ("tags",),
    "clicks": ("clicks",),
    "createdAt": ("createdat",),
    "expiresAt": ("expiresat",),
    "expiredUrl": ("expiredurl",),
    "archived": ("archived",),
}


def recognise(head: bytes, name: str) -> bool:
    if is_json_of(NAME, head, frozenset({"shortLink", "key", "url"})):
        return True
    if kind_of(head) != "csv":
        return False
    headings = sniff(head).headings
    has_target = {"shortlink", "destinationurl"} <= headings or {"domain", "key", "url"} <= headings
    return has_target and headings.isdisjoint({"customlink", "campaign", "group", "apn"})


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    if kind_of(head_of(file)) == "json":
        return read_each(read_json(file), lambda row: _told_link(row, file.hints))
    records = read_table(file, _ALIASES, [("shortLink", "key"), ("url",)])
    return read_each(records, lambda record: [_make(record.line, record.cells, file.hints, {}, [])])


def read_visits(_file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    return iter(())


def _told_link(row: JsonRow, hints: Hints) -> Iterable[FoundLink]:
    members = row.members
    notices: list[str] = []
    fields: dict[str, object] = {}
    rules: list[dict[str, object]] = [
        {"if": {"os": [system]}, "url": target} for system in ("ios", "android") if (target := text_of(members, system))
    ]
    # Dub asks for the system first, and for the country then.
    places = object_of(members, "geo")
    rules += [{"if": {"country": [country.upper()]}, "url": text_of(places, country)} for country in places]
    if rules:
        fields["rules"] = rules
    password = text_of(members, "password")
    if password and len(password) <= LONGEST_PASSWORD:
        fields["password"] = password
    elif password:
        fields["enabled"] = False
        notices.append("Its password is too long for one here: it comes switched off.")
    if read_flag(members.get("disabledAt") is not None, "disabledAt"):
        fields["enabled"] = False
        notices.append("It is disabled there: it comes switched off.")
    yield _make(row.number, members, hints, fields, notices)


def _make(
    line: int, members: Mapping[str, Any], hints: Hints, fields: dict[str, object], notices: list[str]
) -> FoundLink:
    short_url = text_of(members, "shortLink")
    host, path = find_place(short_url) if short_url else (None, "")
    key = text_of(members, "key")
    code = decode_code(key) or path
    if not code:
        raise ValueError("has no short link")
    if text_of(members, "expiredUrl"):
        fields["expired_url"] = text_of(members, "expiredUrl")
    if read_flag(members.get("archived"), "archived"):
        notices.append(ARCHIVED)
    texts = (text_of(members, "comments"), text_of(members, "description"))
    return make_link(
        line,
        hints,
        code=ROOT if code == "_root" else code,
        url=text_of(members, "url"),
        domain=clean_host(text_of(members, "domain")) or host,
        short_url=short_url or None,
        created=text_of(members, "createdAt"),
        clicks=members.get("clicks"),
        title=text_of(members, "title"),
        tags=texts_of(members, "tags"),
        notes="\n".join(text for text in texts if text),
        expires=text_of(members, "expiresAt"),
        fields=fields,
        notices=notices,
    )
