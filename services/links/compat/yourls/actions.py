"""The six actions of YOURLS: shorten, expand, and count."""

import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from services.links.compat.naming import named_link
from services.links.compat.yourls.answers import NEED_FORMAT, Fields, failure
from services.links.keys.authentication import Caller
from services.links.links import actions
from services.links.links.checks import check_owner
from services.links.links.forms import LinkIn
from services.links.links.lists import LAST_OFFSET, LinkFilter, select_link_counts, select_links
from services.links.links.rows import LinkRow
from services.links.links.targets import OwnLinkRefused, TargetRefused
from services.links.site import Site
from services.links.state import LinksState
from services.links.web.cursors import Position
from services.links.web.errors import CodeTaken, FieldError, InvalidInput, NotFound, invalid_input, refuse_costly
from shared.api import LONGEST_TITLE, Scope, Sort
from shared.postgres import Connection, connection
from shared.records import LinkKey

VERSION = "1.10.4"
"""The release of YOURLS whose answers these are."""

DATABASE_VERSION = "507"

MOST_LINKS = 1000
LONGEST_SHOWN_URL = 60


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked for, and by whom.

    Attributes:
        sent: The parameters.
        domain: Of new links, and of keywords alone.
    """

    state: LinksState
    caller: Caller
    sent: Mapping[str, str]
    domain: str

    @property
    def site(self) -> Site:
        return self.state.site

    def key(self) -> LinkKey:
        """Return the key of the link that `shorturl` names.

        Raises:
            NotFound: It names none.
        """
        return named_link(self.sent.get("shorturl", ""), self.domain, self.site)


SCOPES: Mapping[str, tuple[Scope, ...]] = {
    "shorturl": ("links:write",),
    "expand": ("links:read",),
    "url-stats": ("links:read",),
    "stats": ("links:read",),
    "db-stats": ("links:read",),
}

_ORDERS: Mapping[str, Sort] = {"top": "-clicks", "bottom": "clicks", "last": "-created_at"}

_controls = re.compile(r"[\x00-\x1f\x7f]")
_has_scheme = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:").match
_whole = re.compile(r"\s*[+-]?[0-9]{1,18}").match


async def shorten(call: Call) -> Fields:
    """Create a link. With the parameter `find_existing=true` one of the same target and title is found."""
    url = _controls.sub("", call.sent.get("url", "")).strip()
    if url and not _has_scheme(url):
        url = f"http://{url}"
    try:
        call.site.rules.parse(url)
    except OwnLinkRefused:
        return failure("error:noloop", "URL is a short URL")
    except TargetRefused as error:
        is_malformed = not url or "absolute" in str(error)
        return failure("error:nourl", "Missing or malformed URL" if is_malformed else f"URL {error}")
    keyword = call.sent.get("keyword", "").strip()
    try:
        body = LinkIn.model_validate(
            {
                "url": url,
                "code": keyword or None,
                "domain": call.domain,
                "title": call.sent.get("title", "").strip()[:LONGEST_TITLE],
                "find_existing": call.sent.get("find_existing") in ("1", "true"),
            }
        )
        outcome = await actions.create_link(
            call.state, call.caller, await actions.draft_link(call.state, call.caller, body)
        )
    except CodeTaken:
        return failure("error:keyword", _taken(keyword))
    except ValidationError as error:
        return _refuse(keyword, invalid_input(error).errors[0])
    except InvalidInput as error:
        return _refuse(keyword, error.errors[0])
    link = outcome.link
    shown, short_url, title = _cut(url), call.site.short_url(link.key), link.fields.title or url
    described = {"keyword": link.code, "url": url, "title": title, "date": _date(link.created_at), "ip": ""}
    if not outcome.is_new:
        message = f"{shown} already exists in database (short URL: {short_url.partition('://')[2]})"
        return failure("error:url", message, "200") | {
            "url": described | {"clicks": link.clicks},
            "title": title,
            "shorturl": short_url,
            "simple": short_url,
        }
    return {
        "status": "success",
        "code": "",
        "message": f"{shown} added to database",
        "errorCode": "",
        "statusCode": "200",
        "url": described,
        "title": title,
        "shorturl": short_url,
        "simple": short_url,
    }


async def expand(call: Call) -> Fields:
    """Tell where a link leads."""
    keyword = call.sent.get("shorturl", "")
    try:
        _, keyword = key = call.key()
        link = await actions.read_link(call.state, call.caller, key)
    except NotFound:
        return {"keyword": keyword, "simple": "not found", "message": _UNKNOWN, "errorCode": "404"}
    url = link.fields.url_as_given
    return {
        "keyword": link.code,
        "shorturl": call.site.short_url(link.key),
        "longurl": url,
        "title": link.fields.title or url,
        "simple": url,
        "message": "success",
        "statusCode": "200",
    }


async def count_link(call: Call) -> Fields:
    """Tell of a link how often it was clicked."""
    try:
        link = await actions.read_link(call.state, call.caller, call.key())
    except NotFound:
        return {"statusCode": "404", "message": _UNKNOWN, "simple": NEED_FORMAT}
    return {"statusCode": "200", "message": "success", "link": _counted(link, call.site), "simple": NEED_FORMAT}


async def list_links(call: Call) -> Fields:
    """List links by their clicks or age, and count all of them."""
    order, limit, start = (
        call.sent.get("filter", ""),
        _number(call.sent.get("limit", "")),
        _number(call.sent.get("start", "")),
    )
    for name, number, most in (("limit", limit, MOST_LINKS), ("start", start, LAST_OFFSET)):
        if number > most:
            raise InvalidInput(FieldError(name, f"must not be greater than {most}"))
    wanted = LinkFilter(owner=check_owner(None, call.caller))
    async with call.state.shares.lists.turn(call.caller.owner), connection(call.state.list_pool) as conn:
        with refuse_costly():
            if limit <= 0:
                rows = []
            elif order in ("rand", "random"):
                rows = await _draw(conn, wanted, limit)
            else:
                sort = _ORDERS.get(order, "-clicks")
                rows = await select_links(conn, wanted, sort=sort, after=None, limit=limit, offset=max(start, 0))
            counts = await select_link_counts(conn, owner=wanted.owner)
    links = {f"link_{number}": _counted(link, call.site) for number, link in enumerate(rows, 1)}
    stats = {"total_links": counts.links, "total_clicks": counts.clicks}
    listed: Fields = {"links": links} if links else {}
    return listed | {"stats": stats, "statusCode": "200", "simple": NEED_FORMAT, "message": "success"}


async def count_all(call: Call) -> Fields:
    """Count the links, and their clicks."""
    async with call.state.shares.lists.turn(call.caller.owner), connection(call.state.list_pool) as conn:
        with refuse_costly():
            counts = await select_link_counts(conn, owner=check_owner(None, call.caller))
    stats = {"total_links": counts.links, "total_clicks": counts.clicks}
    return {"db-stats": stats, "statusCode": "200", "simple": NEED_FORMAT, "message": "success"}


async def tell_version(call: Call) -> Fields:
    """Tell which YOURLS this is like."""
    version: Fields = {"version": VERSION, "simple": VERSION}
    return version | ({"db_version": DATABASE_VERSION} if call.sent.get("db") == "1" else {})


ACTIONS: Mapping[str, Callable[[Call], Awaitable[Fields]]] = {
    "shorturl": shorten,
    "expand": expand,
    "url-stats": count_link,
    "stats": list_links,
    "db-stats": count_all,
    "version": tell_version,
}

_UNKNOWN = "Error: short URL not found"


async def _draw(conn: Connection, wanted: LinkFilter, limit: int) -> list[LinkRow]:
    """Choose links at random: those that were made after a time that is drawn, so that no more of them are read."""
    oldest = await select_links(conn, wanted, sort="created_at", after=None, limit=1)
    newest = await select_links(conn, wanted, sort="-created_at", after=None, limit=1)
    if not oldest or not newest:
        return []
    drawn = random.randint(oldest[0].id - 1, newest[0].id)
    rows = await select_links(conn, wanted, sort="created_at", after=Position(drawn, drawn), limit=limit)
    if len(rows) < limit:
        first = await select_links(conn, wanted, sort="created_at", after=None, limit=limit - len(rows))
        rows += [link for link in first if link.id <= drawn]
    random.shuffle(rows)
    return rows


def _counted(link: LinkRow, site: Site) -> dict[str, object]:
    url = link.fields.url_as_given
    return {
        "shorturl": site.short_url(link.key),
        "url": url,
        "title": link.fields.title or url,
        "timestamp": _date(link.created_at),
        "ip": "",
        "clicks": link.clicks,
    }


def _refuse(keyword: str, error: FieldError) -> Fields:
    if error.field == "code":
        is_reserved = "reserved" in error.reason
        return failure("error:keyword", _taken(keyword) if is_reserved else f"Short URL {keyword} {error.reason}")
    return failure("error:nourl" if error.field == "url" else "error:title", f"{error.field} {error.reason}")


def _taken(keyword: str) -> str:
    return f"Short URL {keyword} already exists in database or is reserved"


def _number(text: str) -> int:
    """Read a number as PHP does: what is none is 0."""
    found = _whole(text)
    return int(found[0]) if found else 0


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN_URL else text[: LONGEST_SHOWN_URL - 5] + "[...]"


def _date(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
