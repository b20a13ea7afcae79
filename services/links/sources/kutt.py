"""Kutt: what its API answers, dumps of its database with passwords and hourly counts, and CSV of the same columns."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC
from functools import cache

from publicsuffixlist import PublicSuffixList

from services.links.sources.drafts import (
    LOCKED,
    clean_host,
    find_place,
    make_link,
    read_each,
    read_flag,
    read_number,
    text_of,
)
from services.links.sources.formats import dump_of, head_of, is_json_of, kind_of
from services.links.sources.found import File, FoundCounts, FoundLink, FoundVisit, Hints, Unusable
from services.links.sources.reading.dumps import LinkNumbers, number_of, read_tables
from services.links.sources.reading.json_rows import read_json
from services.links.sources.reading.sql_tables import Row, Wanted
from services.links.sources.reading.tables import Record, read_table, sniff
from services.links.sources.reading.times import read_time

NAME = "kutt"
TITLE = "Kutt"

LINKS = Wanted(
    "links",
    (
        "id", "address", "description", "banned", "banned_by_id", "domain_id", "password", "expire_in", "target",
        "user_id", "visit_count", "uuid", "created_at", "updated_at",
    ),
    frozenset({"id", "address", "target"}),
)  # fmt: skip
DOMAINS = Wanted(
    "domains",
    ("id", "banned", "banned_by_id", "address", "homepage", "user_id", "uuid", "created_at", "updated_at"),
    frozenset({"id", "address", "homepage"}),
)
VISITS = Wanted(
    "visits",
    (
        "id", "countries", "created_at", "updated_at", "link_id", "user_id", "referrers", "total", "br_chrome",
        "br_edge", "br_firefox", "br_ie", "br_opera", "br_other", "br_safari", "os_android", "os_ios", "os_linux",
        "os_macos", "os_other", "os_windows",
    ),
    frozenset({"link_id", "created_at", "total"}),
)  # fmt: skip

BROWSERS = {
    "br_chrome": "Chrome", "br_edge": "Edge", "br_firefox": "Firefox", "br_ie": "IE", "br_opera": "Opera",
    "br_safari": "Safari",
}  # fmt: skip
SYSTEMS = {
    "os_android": "Android", "os_ios": "iOS", "os_linux": "Linux", "os_macos": "Mac OS X", "os_windows": "Windows"
}  # fmt: skip
"""As `shared/agents.py` names them. What is left, `br_other` and `os_other`, is unknown."""

MOST_REFERRERS = 200
"""Of an hour."""

_UNLOCKED = frozenset({"", "f", "false", "0", "no"})

_ALIASES = {
    "address": ("address", "customurl"),
    "link": ("link", "shorturl", "shortlink"),
    "target": ("target",),
    "description": ("description", "title"),
    "domain": ("domain",),
    "domain_id": ("domainid",),
    "visit_count": ("visitcount", "visits", "clicks", "views"),
    "expire_in": ("expirein",),
    "password": ("password",),
    "banned": ("banned",),
    "created_at": ("createdat", "created"),
}


def recognise(head: bytes, name: str) -> bool:
    if is_json_of(NAME, head, frozenset({"address", "target"})):
        return True
    if kind_of(head) == "csv":
        return {"address", "target"} <= sniff(head).headings
    return dump_of(head, name) == NAME


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    match kind_of(head_of(file)):
        case "json":
            rows = read_json(file)
            yield from read_each(rows, lambda row: _told_link(row.number, row.members, file.hints))
        case "sql" | "sqlite" as kind:
            domains, hints = _domains(file), _hints(file, kind)
            yield from read_each(read_tables(file, LINKS), lambda row: _link(row, domains, hints))
        case _:
            records = read_table(file, _ALIASES, [("address", "link"), ("target",)])
            yield from read_each(records, lambda record: _record(record, file.hints))


def read_visits(file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    kind = kind_of(head_of(file))
    if kind not in ("sql", "sqlite"):
        return
    domains, hints = _domains(file), _hints(file, kind)
    links = LinkNumbers()
    for row in read_tables(file, LINKS):
        if isinstance(row, Row):
            links.note(number_of(row, "id"), domains.get(row.values.get("domain_id")), row.values["address"] or "")

    def make(row: Row) -> Iterable[FoundCounts]:
        domain, code = links.find(number_of(row, "link_id"))
        yield _counts(row, code, domain, hints)

    yield from read_each(read_tables(file, VISITS, beside=[LINKS]), make)


def _hints(file: File, kind: str) -> Hints:
    """Kutt writes UTC into SQLite, whatever the zone of the server is."""
    return replace(file.hints, zone=UTC) if kind == "sqlite" else file.hints


def _domains(file: File) -> dict[str | None, str | None]:
    rows = (row for row in read_tables(file, DOMAINS, beside=[LINKS]) if isinstance(row, Row))
    return {row.values["id"]: clean_host(row.values["address"] or "") for row in rows}


def _link(row: Row, domains: Mapping[str | None, str | None], hints: Hints) -> Iterable[FoundLink]:
    values = row.values
    domain_id = values.get("domain_id")
    if domain_id is not None and domain_id not in domains:
        raise ValueError(f"has the domain number {domain_id}, which is not in this file")
    password = values.get("password")
    is_hash = _is_hash(password)
    yield _make(
        row.line,
        hints,
        code=values["address"] or "",
        target=values["target"] or "",
        domain=domains.get(domain_id),
        created=values.get("created_at"),
        clicks=values.get("visit_count"),
        description=values.get("description"),
        expires=values.get("expire_in"),
        is_banned=read_flag(values.get("banned"), "banned"),
        is_locked=bool(password) and not is_hash,
        password_hash=password if is_hash else None,
    )


def _is_hash(password: str | None) -> bool:
    return password is not None and password[:4] in ("$2a$", "$2b$", "$2y$") and len(password) == 60


def _told_link(
    number: int, members: Mapping[str, object], hints: Hints, password_hash: str | None = None
) -> Iterable[FoundLink]:
    short_url = text_of(members, "link", "shortUrl")
    host = find_place(short_url)[0] if short_url else None
    yield _make(
        number,
        hints,
        code=text_of(members, "address"),
        target=text_of(members, "target"),
        domain=clean_host(text_of(members, "domain")) or host,
        short_url=short_url,
        created=text_of(members, "created_at"),
        clicks=members.get("visit_count"),
        description=text_of(members, "description"),
        expires=text_of(members, "expire_in"),
        is_banned=read_flag(members.get("banned"), "banned"),
        is_locked=read_flag(members.get("password"), "password"),
        password_hash=password_hash,
    )


def _record(record: Record, hints: Hints) -> Iterable[FoundLink]:
    members = {name: text for name, text in record.cells.items() if text.lower() != "null"}
    if not members.get("address"):
        host, code = find_place(members.get("link", ""))
        members |= {"address": code} | ({} if host is None else {"domain": host})
    if members.get("domain_id") and not members.get("domain"):
        raise ValueError(f"has the domain number {members['domain_id']}, which is not in this file")
    password = members.pop("password", "")
    # A table of the database has hashes, where the API tells that there is one.
    is_hash = _is_hash(password)
    is_locked = not is_hash and password.lower() not in _UNLOCKED
    yield from _told_link(record.line, {**members, "password": is_locked}, hints, password if is_hash else None)


def _make(
    line: int,
    hints: Hints,
    *,
    code: str,
    target: str,
    domain: str | None,
    created: str | None,
    clicks: object,
    description: str | None,
    expires: str | None,
    is_banned: bool,
    is_locked: bool,
    short_url: str | None = None,
    password_hash: str | None = None,
) -> FoundLink:
    if not code:
        raise ValueError("has no address")
    notices = []
    if is_banned:
        notices.append("It is banned there: it comes switched off.")
    if is_locked:
        notices.append(LOCKED)
    return make_link(
        line,
        hints,
        code=code,
        url=target,
        domain=domain,
        short_url=short_url or None,
        created=created,
        clicks=clicks,
        # Kutt counts no bots at all.
        bots=0,
        notes=description,
        expires=expires,
        password_hash=password_hash,
        fields={"enabled": False} if is_banned or is_locked else {},
        notices=notices,
    )


def _counts(row: Row, code: str, domain: str | None, hints: Hints) -> FoundCounts:
    values = row.values
    since = read_time(values["created_at"], hints)
    if since is None:
        raise ValueError("has no hour")
    found = {
        "browser": _named(values, BROWSERS),
        "os": _named(values, SYSTEMS),
        "country": _countries(values.get("countries")),
        "referrer": _referrers(values.get("referrers")),
    }
    return FoundCounts(
        row.line,
        code,
        since.replace(minute=0, second=0, microsecond=0),
        read_number(values["total"], "total"),
        domain,
        is_hour=True,
        values={name: counts for name, counts in found.items() if counts},
    )


def _named(values: Mapping[str, str | None], names: Mapping[str, str]) -> dict[str, int]:
    counts = {name: read_number(values.get(column), column) for column, name in names.items()}
    return {name: count for name, count in counts.items() if count}


def _countries(text: str | None) -> dict[str, int]:
    return {
        name.upper(): count
        for name, count in _pairs(text, "countries")
        if len(name) == 2 and name.isascii() and name.isalpha()
    }


def _referrers(text: str | None) -> dict[str, int]:
    """Hosts are keys of JSON, with their dots written `[dot]`; ours are registrable domains."""
    counts: dict[str, int] = {}
    for name, count in _pairs(text, "referrers")[:MOST_REFERRERS]:
        host = clean_host(name.replace("[dot]", "."))
        if host is None or "." not in host:
            # None is written `Direct`.
            continue
        domain = _suffixes().privatesuffix(host) or host
        counts[domain] = counts.get(domain, 0) + count
    return counts


def _pairs(text: str | None, what: str) -> list[tuple[str, int]]:
    if not text:
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"has {what} that are no JSON") from None
    if not isinstance(found, dict):
        raise ValueError(f"has {what} that are no object")
    return [(name, count) for name, value in found.items() if (count := read_number(value, what)) > 0]


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()
