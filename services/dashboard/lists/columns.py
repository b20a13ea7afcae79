"""The names of columns: ours, those in the exports of other shorteners, and those in people's own lists.

An unknown name is refused, because nobody knows what it means. Known columns that a link cannot have are left out.
"""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.dashboard.lists.encodings import RowsRefused
from shared.client import Link

FIELDS = {
    "url": "url, long url, long link, long, target, target url, destination, destination url, original url, "
    "original link, original, full url, redirect url, redirect to, url to shorten, link, links, urls, address, addresses, "
    "web address, website, page url",
    "code": "code, slug, alias, short code, short id, back-half, custom back-half, keyword, custom, custom code, "
    "custom slug, custom alias, custom keyword, slashtag, path, short path, key, source",
    "short_url": "custom link, short url, short link, bitlink, tiny url, secure short url, short",
    "title": "title, name, link name, description, label",
    "tags": "tags, tag, tag names, labels",
    "domain": "domain, short domain, host",
    "status_code": "status code, redirect code, redirect type, http status",
    "cache_control": "cache control",
    "valid_from": "valid from, valid since, starts at, start date, active from",
    "expires_at": "expires at, expires, expires on, expiration, expiration date, expiration time, expiry, expiry date, "
    "expiry time, expire in, valid until, active until, end date",
    "expired_url": "expired url, expiration url, fallback url",
    "enabled": "enabled, is enabled, active, is active",
    "forward_query": "forward query",
    "forward_path": "forward path, path forwarding",
    "crawlable": "crawlable",
    "preview": "preview",
    "notes": "notes, note, comment, comments",
    "max_clicks": "max clicks, max visits, click limit, clicks limit, visit limit, maximum clicks, maximum visits",
    "rules": "rules",
    "split": "split",
    "password": "password",
    "has_password": "has password",
    "visitor_query_wins": "visitor query wins",
    "find_existing": "find existing",
    "": "owner, clicks, humans, bots, folds case, version, created at, updated at, created, updated, created on, modified, "
    "last edit, last updated, last modified, updated on, modified at, creation date, creation time, date "
    "created, date, timestamp, total clicks, unique clicks, click count, clicks count, visits, visits count, "
    "visit count, clicks left, imported clicks, folds case, hits, last clicked, ip, id, id string, link id, campaign, "
    "archived, group, leads, conversions, revenue, creator, created by, user, favourite",
}
"""Each field with the names that it has beside its own; the last ones are known and cannot be set."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column and its field: None if links have no such field to set, `short_url` if it holds a link's code."""

    name: str
    field: str | None


def find_field(name: str) -> str | None:
    """Return the field that a column's name means: empty if it is known but cannot be set, None if it is unknown."""
    return _names.get(_plain(name))


def read_columns(names: Sequence[str]) -> list[Column]:
    """Read a first line.

    Raises:
        RowsRefused: A name is unknown, two names mean the same, or none is the address.
    """
    fields = [find_field(name) for name in names]
    unknown = [name.strip() or "(empty)" for name, field in zip(names, fields, strict=True) if field is None]
    if unknown:
        raise RowsRefused(
            f"The first line names columns that are not known: {', '.join(unknown[:10])}. Rename them or take them out. "
            f"Known are {', '.join(_settable)}, and the names that other shorteners give them."
        )
    fields = _settle_links(names, fields)
    for field in _settable:
        same = [name.strip() for name, each in zip(names, fields, strict=True) if each == field]
        if field != "short_url" and len(same) > 1:
            raise RowsRefused(f"Several columns are {field}: {', '.join(same[:10])}. Leave one of them.")
    if "url" not in fields:
        given = ", ".join(name.strip() for name in names[:10])
        raise RowsRefused(f"No column has the addresses: the first line is {given}. Name theirs url.")
    return [Column(name.strip(), field or None) for name, field in zip(names, fields, strict=True)]


def _settle_links(names: Sequence[str], fields: Sequence[str | None]) -> list[str | None]:
    """Decide between addresses: beside another one, Link is the short one. A column with codes makes short ones useless."""
    settled = list(fields)
    if settled.count("url") > 1:
        settled = [
            "short_url" if field == "url" and _plain(name) == "link" else field
            for name, field in zip(names, settled, strict=True)
        ]
    if "code" in settled:
        settled = ["" if field == "short_url" else field for field in settled]
    return settled


def _plain(name: str) -> str:
    """Return a name in lower case, without blanks and separators."""
    return re.sub(r"[\W_]", "", name.casefold())


_names = {_plain(name): field for field, names in FIELDS.items() for name in names.split(", ")}
# A link's field has its own name first of all, unless it is known as one that cannot be set.
_names |= {_plain(each.name): each.name for each in dataclasses.fields(Link) if _names.get(_plain(each.name)) != ""}
_settable = [field for field in dict.fromkeys(_names.values()) if field]
