"""Previews: `/CODE+` tells where a link leads, for people who want to know before they follow it. It is no click.

`app.py` finds the link's record. The rest of a preview (title, time of creation) is read from Postgres each time.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from html import escape
from http import HTTPStatus
from typing import NamedTuple

from services.redirect.answers import Answer, ErrorFormat, answer_visit, decides, error, has_ended
from services.redirect.lookup.source import Source, SourceUnavailable
from services.redirect.pages import page_headers
from shared.codes import code_path
from shared.joiner import Joiner, TooManyWaiting, Waiting
from shared.postgres import Connection
from shared.records import LinkKey, Record

BATCHES_IN_FLIGHT = 1
"""Previews take one connection of the redirector, and leave the others to visits."""

WAITING_LIMIT = 1_000

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Where {place} leads</title>
<style>{style}</style>
<main>
<h1>Where <bdi>{place}</bdi> leads</h1>
{target}
<dl>
{facts}
</dl>
</main>
</html>
"""
_STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; --faint: #595959 }
@media (prefers-color-scheme: dark) { :root { --faint: #b3b3b3 } }
body { margin: 0; padding: 1.5rem }
main { max-width: 40rem; margin: 5vh auto; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.2 }
.target { padding: 1rem; border: 1px solid; border-radius: .5rem }
.target a { color: inherit; text-decoration: none }
.target a:hover, .target a:focus { text-decoration: underline }
.target span, dt { color: var(--faint) }
.target strong { font-size: 1.25rem }
dd { margin: 0 0 .75rem }
"""
_HEADERS = (*page_headers(_STYLE), (b"referrer-policy", b"no-referrer"))

_match_target = re.compile(
    r"(?P<scheme>https?://(?:[^/?#]*@)?)(?P<host>[^/?#@]+)(?P<rest>.*)", re.DOTALL | re.IGNORECASE
).fullmatch


class Details(NamedTuple):
    """What a preview shows and no visit needs."""

    title: str | None
    created_at: datetime


class Previews:
    """Answers previews. The requests that arrive while a statement runs share the next one."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._joiner: Joiner[LinkKey, Details | None] = Joiner(
            self._read, batches_in_flight=BATCHES_IN_FLIGHT, waiting_limit=WAITING_LIMIT
        )

    async def answer(self, key: LinkKey, record: Record | None, *, now: float, error_format: ErrorFormat) -> Answer:
        """Answer with the preview of a link, or with the error that a visit would get.

        If Postgres cannot be asked now, the preview has no title and no time: the target is what people ask for.

        Args:
            key: The link's domain and code.
            record: The link's record; None if there is no such link.
            now: Unix seconds.
            error_format: Previews come in the formats of errors, a page for a browser and JSON for everyone else.
        """
        if record is None or not record.preview:
            return error(404, error_format)
        # Whether there is a link does not depend on what it asks of a visitor.
        asking_nothing = record._replace(password=None, limited=False, rules=None, split=None)
        visit = answer_visit(asking_nothing, query=b"", now=now, error_format=error_format)
        if visit.status >= HTTPStatus.BAD_REQUEST:
            return visit
        try:
            details = await self._joiner.join(key)
        except (SourceUnavailable, TooManyWaiting):
            details = None
        return show(key, record, details, now=now, error_format=error_format)

    async def _read(self, batch: Sequence[Waiting[LinkKey, Details | None]]) -> None:
        keys = list({key for key, _ in batch})
        found = await self._source.ask(lambda conn: select_details(conn, keys))
        for key, waiting in batch:
            if not waiting.done():
                waiting.set_result(found.get(key))


async def select_details(conn: Connection, keys: Sequence[LinkKey]) -> dict[LinkKey, Details]:
    """Read the details of many links in one statement; a link without a preview is left out."""
    rows = await conn.fetch(
        """
        SELECT p.domain, p.code, p.title, p.created_at
        FROM unnest($1::text[], $2::text[]) AS k (domain, code)
        JOIN link_previews p ON p.domain = k.domain AND p.code = k.code
        """,
        [domain for domain, _ in keys],
        [code for _, code in keys],
    )
    return {(row["domain"], row["code"]): Details(row["title"], row["created_at"]) for row in rows}


def show(key: LinkKey, record: Record, details: Details | None, *, now: float, error_format: ErrorFormat) -> Answer:
    """Return the preview of a link. A link with a password or a limit does not show its target."""
    ended = has_ended(record, now)
    depends = not ended and record.password is None and decides(record)
    is_hidden = depends or record.password is not None or record.limited
    url = record.expired_url if ended else None if is_hidden else record.url
    if error_format == "html":
        content_type, text = b"text/html; charset=utf-8", _page(key, record, details, url, ended=ended, depends=depends)
    else:
        domain, code = key
        shown = {
            "domain": domain,
            "code": code,
            "url": url,
            "depends": depends,
            "has_password": record.password is not None,
            "has_limit": record.limited,
            "has_ended": ended,
        }
        if details is not None:
            shown |= {"title": details.title, "created_at": details.created_at.isoformat()}
        content_type, text = b"application/json", json.dumps(shown)
    body = text.encode()
    return Answer(200, ((b"content-type", content_type), *_HEADERS, (b"content-length", b"%d" % len(body))), body)


def _page(key: LinkKey, record: Record, details: Details | None, url: str | None, *, ended: bool, depends: bool) -> str:
    domain, code = key
    place = f"{domain}/{code}"
    facts = []
    if details is not None:
        if details.title:
            # An isolated run of text, so that no letters of it change the order of those around.
            facts.append(("Title, as its owner wrote it", f"<bdi>{escape(details.title)}</bdi>"))
        day = f"{details.created_at.day} {details.created_at:%B %Y}"
        facts.append(("Made", f'<time datetime="{details.created_at.isoformat()}">{day}</time>'))
    if ended:
        facts.append(("State", "The link has ended and leads to this address now."))
    if record.password is not None:
        facts.append(("Password", "It asks for a password."))
    if record.limited:
        facts.append(("Limit", "It works for a limited number of visits."))
    if url is not None:
        target = f'<p class="target">{_shown_target(url)}</p>'
    else:
        if depends:
            facts.append(("Target", "It depends on the visitor: the link leads to one of several addresses."))
        else:
            facts.append(("Target", "It is not shown here."))
        opened = f'<a href="/{code_path(code)}" rel="noreferrer nofollow">Open <strong>{escape(place)}</strong></a>'
        target = f'<p class="target">{opened}</p>'
    rows = "\n".join(f"<dt>{name}</dt>\n<dd>{value}</dd>" for name, value in facts)
    return _PAGE.format(place=escape(place), style=_STYLE, target=target, facts=rows)


def _shown_target(url: str) -> str:
    """Return the whole target as it is sent, with its host before all else: that is who gets the visit.

    A host in other letters stays in its ASCII form, in which no two hosts look alike. What is not on the web is no link here.
    """
    match = _match_target(url)
    if match is None:
        return f'<bdi dir="ltr">{escape(url)}</bdi>'
    scheme, host, rest = (escape(match[name]) for name in ("scheme", "host", "rest"))
    return (
        f'<a href="{escape(url)}" rel="noreferrer nofollow"><bdi dir="ltr">'
        f"<span>{scheme}</span><strong>{host}</strong><span>{rest}</span></bdi></a>"
    )
