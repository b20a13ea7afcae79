"""Any other CSV with a code and a target, by the headings that such lists usually have; and lists without headings."""

import re
from collections.abc import Iterable, Iterator

from services.links.sources.drafts import clean_host, decode_code, find_place, make_link, read_each
from services.links.sources.formats import head_of, kind_of
from services.links.sources.found import File, FoundCounts, FoundLink, FoundVisit, Hints, Unusable
from services.links.sources.reading.tables import Record, read_table, sniff

NAME = "csv"
TITLE = "CSV"

_ALIASES = {
    "code": (
        "code", "shortcode", "keyword", "slug", "alias", "customalias", "backhalf", "shortid", "key", "address", "path",
        "ending", "customurl", "hash", "token", "name",
    ),
    "short_url": ("shorturl", "shortlink", "short", "tinyurl", "bitlink", "link", "source"),
    "url": (
        "longurl", "targeturl", "target", "destinationurl", "destination", "originalurl", "url", "long", "longlink",
        "originallink", "redirecturl", "redirectto", "redirect", "fullurl", "to",
    ),
    "domain": ("domain", "host", "hostname"),
    "title": ("title",),
    "notes": ("notes", "note", "description", "comment", "comments"),
    "tags": ("tags", "tag", "labels", "categories"),
    "created": ("createdat", "created", "datecreated", "creationdate", "creationtime", "createdon", "timestamp", "date"),
    "expires": ("expiresat", "expires", "expiry", "expirationdate", "expiration", "expirein", "expirydate"),
    "clicks": ("clicks", "totalclicks", "hits", "visits", "views", "visitcount", "clickcount", "count"),
}  # fmt: skip
"""How lists name their columns. In `url` the surest names come first: some have both `url` and `longurl`."""

_tags = re.compile(r"[,;|]")


def recognise(head: bytes, name: str) -> bool:
    return kind_of(head) == "csv"


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    first = _bare_columns(sniff(head_of(file)).first)
    needs = [("url",)] if first else [("code", "short_url"), ("url",)]
    records = read_table(file, _ALIASES, needs, first=first)
    return read_each(records, lambda record: _link(record, file.hints, is_bare=bool(first)))


def read_visits(_file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    return iter(())


def _bare_columns(first: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of a list without headings: the targets alone, or as bulk importers take them, before or after the codes."""
    if first and "://" in first[0]:
        if len(first) > 1 and "://" in first[1]:
            return ("shorturl", "url", "title")[: len(first)]
        return ("url", "code", "title")[: len(first)]
    return ("code", "url", "title")[: len(first)] if len(first) > 1 and "://" in first[1] else ()


def _link(record: Record, hints: Hints, *, is_bare: bool) -> Iterable[FoundLink]:
    cells = record.cells
    short_url = cells.get("short_url", "")
    domain, path = find_place(short_url) if short_url else (None, "")
    code = decode_code(cells.get("code", "").strip("/")) or path
    if not code and not is_bare:
        raise ValueError("has no code")
    yield make_link(
        record.line,
        hints,
        code=code,
        url=cells.get("url", ""),
        domain=clean_host(cells.get("domain", "")) or domain,
        short_url=short_url or None,
        created=cells.get("created"),
        clicks=cells.get("clicks"),
        title=cells.get("title"),
        tags=_tags.split(cells.get("tags", "")),
        notes=cells.get("notes"),
        expires=cells.get("expires"),
    )
