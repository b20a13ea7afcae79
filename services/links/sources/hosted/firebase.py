"""Firebase Dynamic Links, closed in 2025: the CSV that Google Takeout gave, a file for each domain."""

from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, urlencode

from services.links.sources.drafts import ARCHIVED, find_place, make_link, read_each, read_flag
from services.links.sources.formats import head_of, kind_of
from services.links.sources.found import File, FoundCounts, FoundLink, FoundVisit, Hints, Unusable
from services.links.sources.reading.tables import Layout, Record, read_table, sniff

NAME = "firebase"
TITLE = "Firebase Dynamic Links"

_FIELDS = (
    "short_link", "link", "apn", "afl", "amv", "ibi", "ifl", "ius", "ipfl", "ipbi", "isi", "imv", "efr", "ofl", "st",
    "sd", "si", "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "at", "ct", "mt", "pt",
    "archived", "link_name", "creation_time",
)  # fmt: skip
"""In the order of Google's description, which does not tell their headings."""

_CAMPAIGN = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
_ALIASES = {name: (name.replace("_", ""),) for name in _FIELDS} | {
    "short_link": ("shortlink", "shorturl", "shortdynamiclink"),
    "link": ("link", "deeplink", "longlink"),
    "archived": ("archived", "isarchived"),
    "link_name": ("linkname", "name"),
    "creation_time": ("creationtime", "createtime", "created", "createdat"),
}


def recognise(head: bytes, name: str) -> bool:
    if kind_of(head) != "csv":
        return False
    layout = sniff(head)
    return {"apn", "ibi"} <= layout.headings or len(layout.first) == len(_FIELDS)


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    layout = sniff(head_of(file))
    first = () if _has_known_headings(layout) else _FIELDS
    records = read_table(file, _ALIASES, [("short_link",), ("link", "ofl")], first=first)
    return read_each(_without_headings(records), lambda record: _link(record, file.hints))


def read_visits(_file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    return iter(())


def _has_known_headings(layout: Layout) -> bool:
    return not layout.headings.isdisjoint(_ALIASES["short_link"]) and not layout.headings.isdisjoint(
        {"link", "ofl", "deeplink"}
    )


def _without_headings(records: Iterator[Record | Unusable]) -> Iterator[Record | Unusable]:
    """Read by position, the first row may be headings that nobody knows."""
    for record in records:
        if isinstance(record, Record) and record.line == 1 and "." not in record.cells.get("short_link", ""):
            continue
        yield record


def _link(record: Record, hints: Hints) -> Iterable[FoundLink]:
    cells = record.cells
    short_url = cells.get("short_link", "")
    if not short_url:
        raise ValueError("has no short link")
    domain, code = find_place(short_url)
    notices = []
    apps = [name for name in ("ifl", "afl", "ipfl") if cells.get(name)]
    if apps:
        notices.append(f"It has targets for devices there ({', '.join(apps)}), which opened apps; they are left out.")
    if read_flag(cells.get("archived"), "archived"):
        notices.append(ARCHIVED)
    target = next((cells[name] for name in ("link", "ofl", "ifl", "afl") if cells.get(name)), "")
    yield make_link(
        record.line,
        hints,
        code=code,
        url=_with_campaign(target, {name: cells[name] for name in _CAMPAIGN if cells.get(name)}),
        domain=domain,
        short_url=short_url,
        created=cells.get("creation_time"),
        title=cells.get("st") or cells.get("link_name"),
        notes=cells.get("sd"),
        notices=notices,
    )


def _with_campaign(target: str, campaign: dict[str, str]) -> str:
    """Add the parameters of a campaign that the target has not."""
    base, hash_, fragment = target.partition("#")
    has = {name for name, _ in parse_qsl(base.partition("?")[2], keep_blank_values=True)}
    added = urlencode([pair for pair in campaign.items() if pair[0] not in has])
    if not added or not target:
        return target
    return f"{base}{'&' if '?' in base else '?'}{added}{hash_}{fragment}"
