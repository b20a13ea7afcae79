"""Bitly: CSV of both generations, and what its API answers. A link with a second code is two links of one target."""

import re
from collections.abc import Iterable, Iterator

from services.links.sources.drafts import ARCHIVED, find_place, make_link, read_each, read_flag, text_of, texts_of
from services.links.sources.formats import head_of, is_json_of, kind_of
from services.links.sources.found import File, FoundCounts, FoundLink, FoundVisit, Hints, Unusable
from services.links.sources.reading.json_rows import JsonRow, read_json
from services.links.sources.reading.tables import Record, read_table, sniff

NAME = "bitly"
TITLE = "Bitly"

_ALIASES = {
    "link": ("bitlink", "link", "shorturl", "shortlink"),
    "custom": ("customlink", "custombitlink", "custombitlinks", "customlinks"),
    "url": ("longurl", "destinationurl", "originalurl"),
    "title": ("title",),
    "tags": ("tags",),
    "created": ("created", "createdat", "datecreated", "createddate"),
    "clicks": ("totalclicks", "clicks", "engagements", "totalengagements"),
    "archived": ("archived",),
}
_TARGETS = frozenset(_ALIASES["url"])

_between = re.compile(r"[\s,;|]+")


def recognise(head: bytes, name: str) -> bool:
    members = (frozenset({"custom_bitlinks", "long_url"}), frozenset({"long_url", "link", "references"}))
    if is_json_of(NAME, head, *members):
        return True
    if kind_of(head) != "csv":
        return False
    headings = sniff(head).headings
    if headings.isdisjoint(_TARGETS):
        return False
    is_named = not headings.isdisjoint({"bitlink", *_ALIASES["custom"]})
    return is_named or (
        not headings.isdisjoint({"campaign", "group"}) and not headings.isdisjoint({"link", "shorturl", "shortlink"})
    )


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    if kind_of(head_of(file)) == "json":
        return read_each(read_json(file), lambda row: _told_link(row, file.hints))
    records = read_table(file, _ALIASES, [("link", "custom"), ("url",)])
    return read_each(records, lambda record: _record(record, file.hints))


def read_visits(_file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    return iter(())


def _record(record: Record, hints: Hints) -> Iterable[FoundLink]:
    cells = record.cells
    short_urls = [cells.get("link", ""), *_between.split(cells.get("custom", ""))]
    yield from _links(
        record.line,
        hints,
        short_urls,
        url=cells["url"],
        created=cells.get("created", ""),
        clicks=cells.get("clicks"),
        title=cells.get("title", ""),
        tags=re.split(r"[,;|]", cells.get("tags", "")),
        is_archived=read_flag(cells.get("archived"), "column Archived"),
    )


def _told_link(row: JsonRow, hints: Hints) -> Iterable[FoundLink]:
    members = row.members
    notices = []
    if members.get("deeplinks"):
        notices.append("It has deep links into apps there, which have no place here.")
    yield from _links(
        row.number,
        hints,
        [text_of(members, "link", "id"), *texts_of(members, "custom_bitlinks")],
        url=text_of(members, "long_url"),
        created=text_of(members, "created_at"),
        clicks=members.get("clicks", members.get("total_clicks")),
        title=text_of(members, "title"),
        tags=texts_of(members, "tags"),
        is_archived=read_flag(members.get("archived"), "archived"),
        notices=notices,
    )


def _links(
    line: int,
    hints: Hints,
    short_urls: Iterable[str],
    *,
    url: str,
    created: str,
    clicks: object,
    title: str,
    tags: Iterable[str],
    is_archived: bool,
    notices: Iterable[str] = (),
) -> Iterator[FoundLink]:
    """One link for each code; the first one has the clicks, which Bitly counts together."""
    places = dict[tuple[str | None, str], str]()
    for short_url in short_urls:
        if short_url.strip():
            places.setdefault(find_place(short_url), short_url)
    if not places:
        raise ValueError("has no short URL")
    told = [*notices, *([ARCHIVED] if is_archived else [])]
    for number, ((domain, code), short_url) in enumerate(places.items()):
        yield make_link(
            line,
            hints,
            code=code,
            url=url,
            domain=domain,
            short_url=short_url,
            created=created,
            clicks=clicks if number == 0 else 0,
            title=title,
            tags=tags,
            notices=told
            if number == 0
            else [*told, "It is a second code of the link before it, which has their clicks."],
        )
