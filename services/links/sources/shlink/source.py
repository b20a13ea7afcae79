"""Shlink: CSV of its web client and command line, CSV for its importer, what its API answers, and dumps of its database."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from services.links.sources.drafts import (
    clean_host,
    decode_code,
    find_place,
    make_link,
    object_of,
    quote,
    read_each,
    read_flag,
    read_number,
    text_of,
    texts_of,
)
from services.links.sources.formats import dump_of, head_of, is_json_of, kind_of
from services.links.sources.found import File, FoundCounts, FoundLink, FoundVisit, Hints, Unusable
from services.links.sources.reading.json_rows import JsonRow, read_json
from services.links.sources.reading.tables import Record, read_table, sniff
from services.links.sources.reading.times import read_time
from services.links.sources.shlink import dump
from services.links.sources.shlink.countries import find_country
from services.links.sources.shlink.rules import ShlinkRule, turn_rules

NAME = "shlink"
TITLE = "Shlink"

_LINKS = {
    "created": ("createdat", "datecreated"),
    "domain": ("domain",),
    "code": ("shortcode",),
    "short_url": ("shorturl",),
    "url": ("longurl",),
    "title": ("title",),
    "tags": ("tags",),
    "clicks": ("visits",),
}
_VISITS = {
    "date": ("date",),
    "bot": ("potentialbot",),
    "agent": ("useragent",),
    "referrer": ("referer", "referrer"),
    "country": ("country",),
    "visited": ("visitedurl",),
    "type": ("type",),
}
_match_name = re.compile(r"short-url_([^/_]+)[/_](.+)_visits\b.*").match
"""What the web client calls the visits of a link; older ones tell nowhere else which one it is. Browsers write `_` for `/`."""

_NO_LINK = frozenset({"invalid_short_url", "base_url", "regular_404"})
_NOTHING = frozenset({"", "Direct", "Unknown", "direct", "unknown"})


def recognise(head: bytes, name: str) -> bool:
    if is_json_of(NAME, head, frozenset({"shortCode", "longUrl"}), frozenset({"visitedUrl", "potentialBot"})):
        return True
    if kind_of(head) != "csv":
        return dump_of(head, name) == NAME
    headings = sniff(head).headings
    return (
        "longurl" in headings
        and not headings.isdisjoint({"shortcode", "shorturl"})
        and (not headings.isdisjoint({"shortcode", "visits"}))
    ) or _is_visits(head)


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    head = head_of(file)
    match kind_of(head):
        case "json":
            yield from read_each(read_json(file), lambda row: _told_link(row, file.hints))
            return
        case "sql" | "sqlite":
            yield from dump.read_links(file)
            return
        case _ if _is_visits(head):
            return
    is_importers = "visits" not in sniff(head).headings
    records = read_table(file, _LINKS, [("code", "short_url"), ("url",)], guarded=False)
    yield from read_each(_once(records), lambda record: _record(record, file.hints, is_importers=is_importers))


def read_visits(file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    head = head_of(file)
    match kind_of(head):
        case "json":
            yield from read_each(read_json(file), lambda row: _told_visits(row, file.hints))
            return
        case "sql" | "sqlite":
            yield from dump.read_visits(file)
            return
        case _ if _is_visits(head):
            named = _match_name(file.name)
            records = read_table(file, _VISITS, [("date",)] if named else [("date",), ("visited",)], guarded=False)
            visited = f"https://{named[1]}/{named[2]}" if named else ""
            yield from read_each(records, lambda record: _visit_record(record, visited, file.hints))
            return


def _is_visits(head: bytes) -> bool:
    headings = sniff(head).headings
    # The command line of old releases tells nothing of bots.
    return {"useragent", "date"} <= headings and ("potentialbot" in headings or {"referer", "country"} <= headings)


def _once(records: Iterator[Record | Unusable]) -> Iterator[Record | Unusable]:
    """The client asks for pages by number while links may be added: a link on the edge of two pages comes twice, near by."""
    last: dict[tuple[str, ...], None] = {}
    for record in records:
        if isinstance(record, Record):
            key = tuple(record.cells.get(name, "") for name in ("domain", "code", "short_url"))
            if key in last:
                continue
            last[key] = None
            if len(last) > 1000:
                del last[next(iter(last))]
        yield record


def _record(record: Record, hints: Hints, *, is_importers: bool) -> Iterable[FoundLink]:
    cells = record.cells
    short_url = cells.get("short_url", "")
    domain, code = _place(cells.get("domain"), cells.get("code", ""), short_url)
    tags = cells.get("tags", "")
    yield make_link(
        record.line,
        hints,
        code=code,
        url=cells["url"],
        domain=domain,
        short_url=short_url or None,
        created=cells.get("created"),
        clicks=cells.get("clicks"),
        title=cells.get("title"),
        tags=tags.split("," if is_importers and "," in tags else "|"),
    )


def _place(domain: str | None, code: str, short_url: str) -> tuple[str | None, str]:
    """Host and code. A browser has encoded the code; the short URL is as the server has it, and decides what was encoded."""
    host, path = find_place(short_url) if short_url else (None, "")
    # An empty domain is the default one; the short URL counts where there is no such column.
    host = host if domain is None else clean_host(domain)
    if not code:
        if not path:
            raise ValueError("has no code")
        return host, path
    decoded = decode_code(code)
    given = short_url.partition("://")[2].partition("/")[2]
    # A browser leaves a percent sign of the code itself: `a%41` in both is no `aA`.
    return host, code if code == given and decoded.isascii() else decoded


def _told_link(row: JsonRow, hints: Hints) -> Iterable[FoundLink]:
    members = object_of(row.members, "link") or row.members
    if "longUrl" not in members:
        if row.members.keys().isdisjoint({"page", "visitedUrl"}):
            raise ValueError("is no link of Shlink")
        return
    short_url = text_of(members, "shortUrl")
    host, path = find_place(short_url) if short_url else (None, "")
    code = text_of(members, "shortCode") or path
    if not code:
        raise ValueError("has no shortCode")
    summary, meta = object_of(members, "visitsSummary"), object_of(members, "meta")
    notices: list[str] = []
    fields: dict[str, object] = {}
    if read_flag(members.get("crawlable"), "crawlable"):
        fields["crawlable"] = True
    if read_flag(members.get("forwardQuery"), "forwardQuery"):
        fields |= {"forward_query": True, "visitor_query_wins": True}
    rules = turn_rules(_rules(members), hints, notices)
    if rules:
        fields["rules"] = rules
    elif members.get("hasRedirectRules") is True and "redirectRules" not in members:
        notices.append("It has redirect rules there, which are not in this file.")
    bots = summary.get("bots")
    yield make_link(
        row.number,
        hints,
        code=code,
        url=text_of(members, "longUrl"),
        domain=clean_host(text_of(members, "domain")) or host,
        short_url=short_url or None,
        created=text_of(members, "dateCreated"),
        clicks=summary.get("total", members.get("visitsCount")),
        bots=None if bots is None else read_number(bots, "number of bots"),
        title=text_of(members, "title"),
        tags=texts_of(members, "tags"),
        begins=text_of(meta, "validSince"),
        expires=text_of(meta, "validUntil"),
        most=meta.get("maxVisits"),
        fields=fields,
        notices=notices,
    )


def _rules(members: Mapping[str, Any]) -> list[ShlinkRule]:
    rules = members.get("redirectRules") or []
    if not isinstance(rules, list):
        raise ValueError("has redirectRules that are no list")
    made = []
    for rule in rules:
        if not isinstance(rule, dict) or not all(isinstance(each, dict) for each in rule.get("conditions") or []):
            raise ValueError("has a redirect rule that is none")
        made.append(
            (
                read_number(rule.get("priority"), "priority"),
                ShlinkRule(text_of(rule, "longUrl"), rule.get("conditions") or []),
            )
        )
    return [rule for _, rule in sorted(made, key=lambda pair: pair[0])]


def _told_visits(row: JsonRow, hints: Hints) -> Iterator[FoundVisit | Unusable]:
    """The visits of a page of a puller's file, with the short URL that they are of; or one that a client has saved."""
    members = row.members
    if "page" in members:
        domain, code = clean_host(text_of(members, "domain")), text_of(members, "code")
        page = members["page"]
        if not isinstance(page, list) or not all(isinstance(each, dict) for each in page):
            raise ValueError("has a page of visits that is none")
        for visit in page:
            try:
                yield _told_visit(row.number, visit, domain, code, hints)
            except ValueError as error:
                yield Unusable(row.number, quote(visit), str(error))
    elif "visitedUrl" in members:
        if text_of(members, "type") in _NO_LINK:
            raise ValueError("is a visit of no link")
        domain, code = find_place(text_of(members, "visitedUrl"))
        yield _told_visit(row.number, members, domain, code, hints)


def _told_visit(number: int, visit: Mapping[str, Any], domain: str | None, code: str, hints: Hints) -> FoundVisit:
    at = read_time(text_of(visit, "date"), hints)
    if at is None:
        raise ValueError("has no date")
    place = visit.get("visitLocation")
    country = text_of(place, "countryCode").upper() if isinstance(place, dict) else ""
    return FoundVisit(
        number,
        code,
        at,
        domain,
        user_agent=text_of(visit, "userAgent") or None,
        referrer=text_of(visit, "referer") or None,
        country=country if len(country) == 2 and country.isalpha() else None,
        is_bot=read_flag(visit.get("potentialBot"), "potentialBot"),
    )


def _visit_record(record: Record, named: str, hints: Hints) -> Iterable[FoundVisit]:
    cells = record.cells
    visited = cells.get("visited") or named
    if cells.get("type") in _NO_LINK or visited in _NOTHING:
        raise ValueError("is a visit of no link")
    domain, code = find_place(visited)
    at = read_time(cells["date"], hints)
    if at is None:
        raise ValueError("has no date")
    referrer = cells.get("referrer", "")
    if referrer in _NOTHING:
        referrer = ""
    elif "://" not in referrer:
        # The web client keeps the host alone.
        referrer = f"https://{referrer}/"
    agent = cells.get("agent", "")
    bot = cells.get("bot")
    yield FoundVisit(
        record.line,
        code,
        at,
        domain,
        user_agent=None if agent in _NOTHING else agent,
        referrer=referrer or None,
        country=find_country(cells.get("country")),
        # The command line writes the words of the heading, or nothing.
        is_bot=None if bot is None else bot.lower() == "potential bot" or read_flag(bot, "potential bot"),
    )
