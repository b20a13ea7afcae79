"""Shlink's database: links with their tags, rules and counts, and single visits, from a dump or a SQLite file."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from services.links.sources.drafts import clean_host, make_link, read_each, read_flag
from services.links.sources.found import File, FoundLink, FoundVisit, Hints, Unusable
from services.links.sources.reading.dumps import LinkNumbers, number_of, read_tables
from services.links.sources.reading.sql_tables import Row, Wanted
from services.links.sources.reading.times import read_time
from services.links.sources.shlink.rules import ShlinkRule, turn_rules

LINKS = Wanted(
    "short_urls",
    (
        "id", "original_url", "long_url_hash", "short_code", "date_created", "valid_since", "valid_until", "max_visits",
        "domain_id", "title", "title_was_auto_resolved", "crawlable", "forward_query", "import_source",
        "import_original_short_code", "author_api_key_id",
    ),
    frozenset({"id", "original_url", "short_code"}),
)  # fmt: skip
DOMAINS = Wanted(
    "domains",
    ("id", "authority", "base_url_redirect", "regular_not_found_redirect", "invalid_short_url_redirect"),
    frozenset({"id", "authority"}),
)
TAGS = Wanted("tags", ("id", "name"), frozenset({"id", "name"}))
IN_TAGS = Wanted("short_urls_in_tags", ("short_url_id", "tag_id"), frozenset({"short_url_id", "tag_id"}))
COUNTS = Wanted(
    "short_url_visits_counts",
    ("id", "potential_bot", "count", "slot_id", "short_url_id"),
    frozenset({"potential_bot", "count", "short_url_id"}),
)
RULES = Wanted(
    "short_url_redirect_rules",
    ("id", "short_url_id", "priority", "long_url"),
    frozenset({"id", "short_url_id", "priority", "long_url"}),
)
CONDITIONS = Wanted(
    "redirect_conditions",
    ("id", "name", "type", "match_key", "match_value"),
    frozenset({"id", "type", "match_key", "match_value"}),
)
IN_RULES = Wanted(
    "redirect_conditions_in_short_url_redirect_rules",
    ("redirect_condition_id", "short_url_redirect_rule_id"),
    frozenset({"redirect_condition_id", "short_url_redirect_rule_id"}),
)
VISITS = Wanted(
    "visits",
    (
        "id", "short_url_id", "referer", "date", "remote_addr", "user_agent", "visit_location_id", "potential_bot",
        "visited_url", "type", "redirect_url",
    ),
    frozenset({"short_url_id", "date", "user_agent"}),
)  # fmt: skip
PLACES = Wanted(
    "visit_locations",
    ("id", "country_code", "country_name", "region_name", "city_name", "lat", "lon", "timezone", "is_empty"),
    frozenset({"id", "country_code"}),
)

_TRUE = frozenset({"1", "t", "true"})

MOST_PLACES = 50_000_000
"""Shlink stores a place for each visit. It takes two bytes here, by its number."""


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    around = _Around(file)
    yield from read_each(read_tables(file, LINKS), lambda row: _link(row, around, file.hints))


def read_visits(file: File) -> Iterator[FoundVisit | Unusable]:
    links = LinkNumbers()
    domains: dict[str | None, str | None] = {}
    places = bytearray()
    for row in read_tables(file, LINKS, DOMAINS, PLACES):
        if isinstance(row, Unusable):
            continue
        values = row.values
        number = number_of(row, "id")
        if row.table == LINKS.name:
            links.note(number, values.get("domain_id"), values["short_code"] or "")
        elif row.table == DOMAINS.name:
            domains[values["id"]] = clean_host(values["authority"] or "")
        elif 0 <= number < MOST_PLACES:
            _note_place(places, number, values["country_code"])

    def make(row: Row) -> Iterable[FoundVisit]:
        values = row.values
        if values["short_url_id"] is None:
            raise ValueError("is a visit of no link")
        domain_id, code = links.find(number_of(row, "short_url_id"))
        at = read_time(values["date"], file.hints)
        if at is None:
            raise ValueError("has no date")
        place = 2 * number_of(row, "visit_location_id")
        country = bytes(places[place : place + 2]) if place > 0 else b""
        bot = values.get("potential_bot")
        yield FoundVisit(
            row.line,
            code,
            at,
            _domain(domain_id, domains),
            user_agent=values["user_agent"] or None,
            referrer=values.get("referer") or None,
            address=values.get("remote_addr"),
            country=country.decode() if country.isalpha() else None,
            is_bot=None if bot is None else read_flag(bot, "potential_bot"),
        )

    yield from read_each(read_tables(file, VISITS, beside=[LINKS]), make)


class _Around:
    """What other tables know of links. Tags that links have in common are kept once."""

    def __init__(self, file: File) -> None:  # noqa: PLR0912  # a branch for each table
        self.domains: dict[str | None, str | None] = {}
        self._tags: dict[int, tuple[int, ...]] = {}
        self._spelled: dict[tuple[int, ...], tuple[str, ...]] = {}
        self.clicks: dict[int, int] = defaultdict(int)
        self.bots: dict[int, int] = defaultdict(int)
        self.rules: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
        self.conditions: dict[int, list[dict[str, str | None]]] = defaultdict(list)
        names, of_rules, kinds = dict[int, str](), list[tuple[int, int]](), dict[int, dict[str, str | None]]()
        shared = dict[tuple[int, ...], tuple[int, ...]]()
        visited, visited_bots = defaultdict[int, int](int), defaultdict[int, int](int)
        has_counts = False
        for row in read_tables(
            file, IN_RULES, RULES, CONDITIONS, DOMAINS, IN_TAGS, TAGS, COUNTS, VISITS, beside=[LINKS]
        ):
            if isinstance(row, Unusable):
                continue
            values = row.values
            match row.table:
                case DOMAINS.name:
                    self.domains[values["id"]] = clean_host(values["authority"] or "")
                case TAGS.name:
                    names[number_of(row, "id")] = values["name"] or ""
                case IN_TAGS.name:
                    link = number_of(row, "short_url_id")
                    both = (*self._tags.get(link, ()), number_of(row, "tag_id"))
                    self._tags[link] = shared.setdefault(both, both)
                case COUNTS.name:
                    has_counts = True
                    _count(row, number_of(row, "count"), self.clicks, self.bots)
                case VISITS.name if not has_counts and values["short_url_id"] is not None:
                    _count(row, 1, visited, visited_bots)
                case RULES.name:
                    link = number_of(row, "short_url_id")
                    self.rules[link].append(
                        (number_of(row, "priority"), number_of(row, "id"), values["long_url"] or "")
                    )
                case CONDITIONS.name:
                    kinds[number_of(row, "id")] = {
                        "type": values["type"], "matchKey": values["match_key"], "matchValue": values["match_value"]
                    }  # fmt: skip
                case IN_RULES.name:
                    of_rules.append(
                        (number_of(row, "short_url_redirect_rule_id"), number_of(row, "redirect_condition_id"))
                    )
        if not has_counts:
            self.clicks, self.bots = visited, visited_bots
        self._spelled = {numbers: tuple(names[each] for each in numbers if each in names) for numbers in shared}
        for rule, condition in of_rules:
            if condition in kinds:
                self.conditions[rule].append(kinds[condition])

    def tags_of(self, link: int) -> tuple[str, ...]:
        return self._spelled[self._tags[link]] if link in self._tags else ()

    def rules_of(self, link: int) -> list[ShlinkRule]:
        return [ShlinkRule(url, self.conditions.get(rule, [])) for _, rule, url in sorted(self.rules.get(link, ()))]


def _link(row: Row, around: _Around, hints: Hints) -> Iterable[FoundLink]:
    values = row.values
    number = number_of(row, "id")
    if not values["short_code"]:
        raise ValueError("has no short_code")
    notices: list[str] = []
    fields: dict[str, object] = {}
    if read_flag(values.get("crawlable"), "crawlable"):
        fields["crawlable"] = True
    if read_flag(values.get("forward_query"), "forward_query"):
        fields |= {"forward_query": True, "visitor_query_wins": True}
    rules = turn_rules(around.rules_of(number), hints, notices)
    if rules:
        fields["rules"] = rules
    yield make_link(
        row.line,
        hints,
        code=values["short_code"],
        url=values["original_url"] or "",
        domain=_domain(values.get("domain_id"), around.domains),
        created=values.get("date_created"),
        clicks=around.clicks.get(number, 0),
        bots=around.bots.get(number, 0),
        title=values.get("title"),
        tags=around.tags_of(number),
        begins=values.get("valid_since"),
        expires=values.get("valid_until"),
        most=values.get("max_visits"),
        fields=fields,
        notices=notices,
    )


def _domain(number: str | None, domains: Mapping[str | None, str | None]) -> str | None:
    """The host of a link; without a number that of the default domain, which is none."""
    if number is not None and number not in domains:
        raise ValueError(f"has the domain number {number}, which is not in this file")
    return domains.get(number)


def _count(row: Row, clicks: int, all_: dict[int, int], bots: dict[int, int]) -> None:
    if not clicks:
        return
    link = number_of(row, "short_url_id")
    all_[link] += clicks
    if row.values.get("potential_bot") in _TRUE:
        bots[link] += clicks


def _note_place(places: bytearray, number: int, country: str | None) -> None:
    if country is None or len(country) != 2 or not country.isascii():
        return
    if len(places) < 2 * number + 2:
        places.extend(bytes(2 * number + 2 - len(places)))
    places[2 * number : 2 * number + 2] = country.upper().encode()
