"""Polr: dumps of its tables, with single visits where its advanced analytics were on."""

from collections.abc import Iterable, Iterator

from services.links.sources.drafts import make_link, read_each, read_flag
from services.links.sources.formats import dump_of
from services.links.sources.found import File, FoundCounts, FoundLink, FoundVisit, Hints, Unusable
from services.links.sources.reading.dumps import LinkNumbers, number_of, read_tables
from services.links.sources.reading.sql_tables import Row, Wanted
from services.links.sources.reading.times import read_time

NAME = "polr"
TITLE = "Polr"

LINKS = Wanted(
    "links",
    (
        "id", "short_url", "long_url", "ip", "creator", "clicks", "secret_key", "is_disabled", "is_custom", "is_api",
        "created_at", "updated_at",
    ),
    frozenset({"id", "short_url", "long_url"}),
)  # fmt: skip
CLICKS = Wanted(
    "clicks",
    ("id", "ip", "country", "referer", "referer_host", "user_agent", "link_id", "created_at", "updated_at"),
    frozenset({"link_id", "created_at", "user_agent"}),
)


def recognise(head: bytes, name: str) -> bool:
    return dump_of(head, name) == NAME


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    return read_each(read_tables(file, LINKS), lambda row: _link(row, file.hints))


def read_visits(file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    links = LinkNumbers()
    for row in read_tables(file, LINKS):
        if isinstance(row, Row):
            links.note(number_of(row, "id"), None, _code(row))

    def make(row: Row) -> Iterable[FoundVisit]:
        values = row.values
        _, code = links.find(number_of(row, "link_id"))
        at = read_time(values["created_at"], file.hints)
        if at is None:
            raise ValueError("has no date")
        country = (values.get("country") or "").upper()
        yield FoundVisit(
            row.line,
            code,
            at,
            user_agent=values["user_agent"] or None,
            referrer=values.get("referer") or None,
            address=values.get("ip") or None,
            country=country if len(country) == 2 and country.isalpha() else None,
        )

    yield from read_each(read_tables(file, CLICKS, beside=[LINKS]), make)


def _link(row: Row, hints: Hints) -> Iterable[FoundLink]:
    values = row.values
    if not values["short_url"]:
        raise ValueError("has no short_url")
    yield make_link(
        row.line,
        hints,
        code=_code(row),
        url=values["long_url"] or "",
        created=values.get("created_at"),
        clicks=values.get("clicks"),
        fields={"enabled": False} if read_flag(values.get("is_disabled"), "is_disabled") else {},
    )


def _code(row: Row) -> str:
    """A secret link is reached by its code, a slash, and its secret."""
    code, secret = row.values["short_url"] or "", row.values.get("secret_key")
    return f"{code}/{secret}" if secret else code
