"""YOURLS: dumps of its tables, CSV of phpMyAdmin and of plugins, and what its API answers to `stats`."""

from collections.abc import Iterable, Iterator

from services.links.sources.drafts import find_place, make_link, read_each, text_of
from services.links.sources.formats import dump_of, head_of, is_json_of, kind_of, pulled_of
from services.links.sources.found import File, FoundCounts, FoundLink, FoundVisit, Hints, Unusable
from services.links.sources.reading.dumps import read_tables
from services.links.sources.reading.json_rows import JsonRow, read_json
from services.links.sources.reading.sql_tables import Row, Wanted
from services.links.sources.reading.tables import Record, read_table, sniff
from services.links.sources.reading.times import read_time

NAME = "yourls"
TITLE = "YOURLS"

COLUMNS = ("keyword", "url", "title", "timestamp", "ip", "clicks")

LINKS = Wanted("url", COLUMNS, frozenset({"keyword", "url"}))
LOG = Wanted(
    "log",
    ("click_id", "click_time", "shorturl", "referrer", "user_agent", "ip_address", "country_code"),
    frozenset({"click_time", "shorturl"}),
)

_ALIASES = {
    "keyword": ("keyword",),
    "source": ("source", "shorturl", "shortlink"),
    "url": ("url", "target", "originalurl", "longurl"),
    "title": ("title",),
    "timestamp": ("timestamp", "date"),
    "clicks": ("clicks", "hits"),
}
_HEADINGS = (
    frozenset({"keyword", "url"}),
    frozenset({"source", "target", "hits"}),
    frozenset({"shorturl", "originalurl", "ip", "clicks"}),
)


def recognise(head: bytes, name: str) -> bool:
    told = (frozenset({"shorturl", "url", "timestamp"}), frozenset({"keyword", "url", "timestamp"}))
    if is_json_of(NAME, head, *told):
        return True
    if kind_of(head) == "csv":
        layout = sniff(head)
        return any(each <= layout.headings for each in _HEADINGS) or _is_bare_table(layout.first)
    return dump_of(head, name) == NAME


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    head = head_of(file)
    kind = kind_of(head)
    if kind in ("sql", "sqlite"):
        yield from read_each(read_tables(file, LINKS), lambda row: _link(row, file.hints))
        return
    if kind == "json":
        pulled = pulled_of(head)
        base = "" if pulled is None else pulled.base
        yield from read_each(read_json(file), lambda row: _told_link(row, base, file.hints))
        return
    first = COLUMNS if _is_bare_table(sniff(head).first) else ()
    records = read_table(file, _ALIASES, [("keyword", "source"), ("url",)], first=first, guarded=False)
    yield from read_each(records, lambda record: _record(record, file.hints))


def read_visits(file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    if kind_of(head_of(file)) not in ("sql", "sqlite"):
        return
    yield from read_each(read_tables(file, LOG, beside=[LINKS]), lambda row: _visit(row, file.hints))


def repair(title: str) -> str:
    """Undo the storing of UTF-8 as Latin-1: only where all of the title can be read so."""
    if title.isascii():
        return title
    try:
        # MySQL's latin1 is Windows-1252, with the controls in its gaps.
        raw = b"".join(_LATIN[letter] if letter in _LATIN else letter.encode("cp1252") for letter in title)
        return raw.decode()
    except UnicodeError:
        return title


_LATIN = {chr(number): bytes([number]) for number in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}


def _is_bare_table(first: tuple[str, ...]) -> bool:
    """phpMyAdmin exports a table with or without its headings."""
    return len(first) == len(COLUMNS) and "://" in first[1] and first[5].isdecimal()


def _link(row: Row, hints: Hints) -> Iterable[FoundLink]:
    values = row.values
    keyword = (values["keyword"] or "").strip()
    if not keyword:
        raise ValueError("has no keyword")
    title, notices = _title(values.get("title"))
    yield make_link(
        row.line,
        hints,
        code=keyword,
        url=values["url"] or "",
        created=values.get("timestamp"),
        clicks=values.get("clicks"),
        title=title,
        notices=notices,
    )


def _record(record: Record, hints: Hints) -> Iterable[FoundLink]:
    cells = record.cells
    if cells.get("keyword"):
        domain, code, short_url = None, cells["keyword"], None
    else:
        short_url = cells.get("source", "")
        if not short_url.strip("/"):
            raise ValueError("has no keyword")
        domain, code = find_place(short_url)
        short_url = None if domain is None else short_url
    title, notices = _title(None if cells.get("title") in ("NULL", "\\N") else cells.get("title"))
    yield make_link(
        record.line,
        hints,
        code=code,
        url=cells["url"],
        domain=domain,
        short_url=short_url,
        created=cells.get("timestamp"),
        clicks=cells.get("clicks"),
        title=title,
        notices=notices,
    )


def _told_link(row: JsonRow, base: str, hints: Hints) -> Iterable[FoundLink]:
    """A link of the API. Where the instance is not known, its code is all of the path, as visitors type it."""
    members = row.members
    if members.keys() <= _ASIDE:
        # The counts of the whole site stand beside the links.
        return
    short_url = text_of(members, "shorturl")
    domain, code = find_place(short_url) if short_url else (None, text_of(members, "keyword"))
    if not code:
        raise ValueError("has no shorturl")
    prefix = base.partition("://")[2].partition("/")[2].strip("/")
    if prefix and code.startswith(f"{prefix}/"):
        code = code.removeprefix(f"{prefix}/")
    title, notices = _title(text_of(members, "title"))
    yield make_link(
        row.number,
        hints,
        code=code,
        url=text_of(members, "url", "longurl"),
        domain=domain,
        short_url=short_url or None,
        created=text_of(members, "timestamp", "date"),
        clicks=members.get("clicks"),
        title=title,
        notices=notices,
    )


def _visit(row: Row, hints: Hints) -> Iterable[FoundVisit]:
    values = row.values
    at = read_time(values["click_time"], hints)
    if at is None:
        raise ValueError("has no click_time")
    referrer = values.get("referrer")
    country = values.get("country_code") or ""
    yield FoundVisit(
        row.line,
        values["shorturl"] or "",
        at,
        user_agent=values.get("user_agent") or None,
        referrer=None if referrer in _NO_REFERRERS else referrer,
        address=values.get("ip_address") or None,
        country=country.upper() if len(country) == 2 and country.isalpha() else None,
    )


def _title(title: str | None) -> tuple[str, tuple[str, ...]]:
    if not title:
        return "", ()
    repaired = repair(title)
    return repaired, () if repaired == title else ("Its title was stored in a wrong encoding there, and is repaired.",)


_NO_REFERRERS = frozenset({None, "", "direct"})
_ASIDE = frozenset({"total_links", "total_clicks"})
