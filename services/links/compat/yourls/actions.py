"""The actions of YOURLS: shorten, expand, and those that count (`statistics.py`)."""

import re
from collections.abc import Awaitable, Callable, Mapping

from pydantic import ValidationError

from services.links.compat.yourls.answers import Fields, failure
from services.links.compat.yourls.calls import UNKNOWN, Call, write_date
from services.links.compat.yourls.statistics import count_all, count_link, list_links
from services.links.links import actions
from services.links.links.forms import LinkIn
from services.links.links.targets import OwnLinkRefused, TargetRefused
from services.links.web.errors import CodeTaken, FieldError, InvalidInput, NotFound, invalid_input
from shared.api import LONGEST_TITLE, Scope

VERSION = "1.10.4"
"""The release of YOURLS whose answers these are."""

DATABASE_VERSION = "507"

LONGEST_SHOWN_URL = 60

SCOPES: Mapping[str, tuple[Scope, ...]] = {
    "shorturl": ("links:write",),
    "expand": ("links:read",),
    "url-stats": ("links:read",),
    "stats": ("links:read",),
    "db-stats": ("links:read",),
}

_controls = re.compile(r"[\x00-\x1f\x7f]")
_has_scheme = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:(?![0-9])").match
"""`example.com:8080` is a host with its port."""


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
    described = {"keyword": link.code, "url": url, "title": title, "date": write_date(link.created_at), "ip": ""}
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
        key = call.key()
        keyword = key[1]
        link = await actions.read_link(call.state, call.caller, key)
    except NotFound:
        return {"keyword": keyword, "simple": "not found", "message": UNKNOWN, "errorCode": "404"}
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


def _refuse(keyword: str, error: FieldError) -> Fields:
    if error.field == "code":
        is_reserved = "reserved" in error.reason
        return failure("error:keyword", _taken(keyword) if is_reserved else f"Short URL {keyword} {error.reason}")
    return failure("error:nourl" if error.field == "url" else "error:title", f"{error.field} {error.reason}")


def _taken(keyword: str) -> str:
    return f"Short URL {keyword} already exists in database or is reserved"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN_URL else text[: LONGEST_SHOWN_URL - 5] + "[...]"
