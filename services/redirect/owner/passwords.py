"""Asks a visitor for the password of a link. links verifies it (`POST /internal/unlocks`); there is no hash of it here.

A browser gets a form, and with the right password a cookie and a page that opens the link at once. It is a page and no redirect
because Chromium lets a form lead only to what its page's `form-action` allows, through every redirect, and the page must not
name the target. API clients send HTTP Basic. The app calls `guard` before it gives the target.
"""

import base64
import binascii
import hashlib
import html
import json
from asyncio import timeout
from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import time
from typing import cast
from urllib.parse import parse_qs, urlsplit

import structlog
from starlette.types import Receive, Scope

from services.redirect.answers import NO_STORE, RETRY_AFTER_S, Answer, ErrorFormat, Header, error
from services.redirect.owner.connection import FAILURES, LinksConnection, Reply
from shared.records import LinkKey
from shared.unlocks import LARGEST_FORM, LONGEST_COOKIE, is_unlocked

DEADLINE_S = 4.0
"""Of links, which waits two seconds for a slot. nginx waits five for this service."""

FORM_TIMEOUT_S = 3.0
MOST_AT_ONCE = 64
"""As many as links lets wait."""

WRONG = "This is not the password. Please try again."
FOREIGN = "Please enter the password here."
COOKIES = "If this page comes again, allow cookies for this site."

_STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { display: grid; place-content: center; min-height: 90vh; margin: 0 1.5rem }
main { max-width: 22rem }
h1 { font-size: 1.5rem; line-height: 1.25 }
form { display: grid; gap: .75rem }
input, button { font: inherit; padding: .6rem .75rem; border: 1px solid; border-radius: .4rem }
button { cursor: pointer; font-weight: 600 }
[role=alert] { border-left: .25rem solid #c33; padding-left: .75rem }
"""
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>{head}
<style>{style}</style>
<main>
<h1>{title}</h1>
{content}
</main>
</html>
"""
_FORM = """{alert}<form method="post" action="{action}">
<label for="password">Password</label>
<input id="password" name="password" type="password" required autofocus autocomplete="current-password"{described}>
<button>Open the link</button>
</form>"""
_SAFETY: tuple[Header, ...] = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'sha256-%b'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        % base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()),
    ),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-robots-tag", b"noindex"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", NO_STORE),
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit of a link.

    Attributes:
        scope: Of ASGI.
        key: The link's domain and code.
        headers: The names in lower case.
        receive: Receives the form.
        rest: What follows the code in the path, without what trails it.
    """

    scope: Scope
    key: LinkKey
    headers: dict[bytes, bytes]
    receive: Receive
    error_format: ErrorFormat
    rest: bytes = b""

    @property
    def method(self) -> str:
        return cast(str, self.scope["method"])

    @property
    def query(self) -> bytes:
        return cast(bytes, self.scope["query_string"])

    @property
    def address(self) -> bytes:
        """The path and query, to which the form is sent."""
        query = self.query
        return b"/" + self.key[1].encode() + self.rest + (b"?" + query if query else b"")


class Passwords:
    """Lets visitors through who know the password.

    Args:
        links_address: Where links listens; without it nobody gets through.
        token: The internal token.
    """

    def __init__(self, links_address: str | None, token: str | None) -> None:
        self._links_address = links_address
        self._token = token or ""
        self._asking = 0

    async def guard(self, target: Answer, tag: str, visit: Visit) -> Answer:
        """Return the target for a visitor who knows the password, and a question for every other one.

        Args:
            target: The answer that gives the target.
            tag: `Record.password`.
            visit: Who asks.
        """
        if self._links_address is None or not self._token:
            return error(503, visit.error_format)
        cookie = visit.headers.get(b"x-unlock", b"").decode("latin-1")
        if len(cookie) <= LONGEST_COOKIE and is_unlocked(cookie, self._token, visit.key, tag, time()):
            return _opened(visit) if visit.method == "POST" else target
        if visit.method == "POST":
            if _is_foreign(visit.headers):
                return _ask(visit, FOREIGN)
            password = await _read_form(visit)
        else:
            password = _read_basic(visit.headers.get(b"authorization", b""))
        if not password:
            return _ask(visit)
        if self._asking >= MOST_AT_ONCE:
            return error(503, visit.error_format, is_busy=True)
        self._asking += 1
        try:
            reply = await self._ask_links(visit, password)
        except FAILURES as failure:
            log.warning("unlock_failed", error=type(failure).__name__)
            return error(503, visit.error_format)
        finally:
            self._asking -= 1
        return self._conclude(reply, target, visit)

    async def _ask_links(self, visit: Visit, password: str) -> Reply:
        assert self._links_address is not None, "the caller looked"
        domain, code = visit.key
        address = visit.headers.get(b"x-forwarded-for", b"")[:64].decode("latin-1")
        question = {"domain": domain, "code": code, "password": password, "address": address}
        # A connection for each: passwords are rare, and none waits for another.
        connection = LinksConnection(self._links_address, self._token, deadline_s=DEADLINE_S)
        try:
            body = json.dumps(question).encode()
            return await connection.request("/internal/unlocks", {"Content-Type": "application/json"}, body)
        finally:
            connection.close()

    def _conclude(self, reply: Reply, target: Answer, visit: Visit) -> Answer:
        if reply.status == 200:
            return _opened(visit, json.loads(reply.body)["set_cookie"].encode()) if visit.method == "POST" else target
        if reply.status == 403:
            return _ask(visit, WRONG)
        if reply.status == 429:
            return _ask_later(visit, reply.headers.get("retry-after", ""))
        # 404: the password was taken away or the link deleted, which the feed tells within a second.
        return error(503, visit.error_format)


def _ask(visit: Visit, message: str = "") -> Answer:
    """Return the form, or for an API client the challenge."""
    if visit.error_format == "json":
        challenge = (b"www-authenticate", b'Basic realm="link", charset="UTF-8"')
        answer = error(401, "json")
        return replace(answer, headers=(*answer.headers, challenge))
    alert = f'<p role="alert" id="message">{html.escape(message)}</p>\n' if message else ""
    action = html.escape(visit.address.decode("latin-1"))
    form = _FORM.format(alert=alert, action=action, described=' aria-describedby="message"' if message else "")
    return _page("This link has a password", form)


def _ask_later(visit: Visit, seconds: str) -> Answer:
    """Return that there were too many tries; for a browser with the form, to send it again then."""
    wait = int(seconds) if seconds.isascii() and seconds.isdecimal() and len(seconds) < 9 else RETRY_AFTER_S
    retry_after = (b"retry-after", b"%d" % wait)
    if visit.error_format == "json":
        answer = error(429, "json")
    else:
        answer = replace(_ask(visit, f"There were too many tries. Please try again in {_spell(wait)}."), status=429)
    return replace(answer, headers=(*answer.headers, retry_after))


def _opened(visit: Visit, set_cookie: bytes | None = None) -> Answer:
    """Return the page that opens the link, as a visit with the cookie."""
    action = html.escape(visit.address.decode("latin-1"))
    head = f'\n<meta http-equiv="refresh" content="0; url={action}">'
    page = _page("The link opens", f'<p><a href="{action}">Open it now</a>. {COOKIES}</p>', head)
    cookie = () if set_cookie is None else ((b"set-cookie", set_cookie),)
    return replace(page, headers=(*page.headers, *cookie))


def _page(title: str, content: str, head: str = "") -> Answer:
    body = _PAGE.format(title=title, content=content, head=head, style=_STYLE).encode()
    lengths = ((b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"%d" % len(body)))
    return Answer(200, (*_SAFETY, *lengths), body)


def _spell(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} second{'s'[: seconds != 1]}"
    minutes = -(-seconds // 60)
    return f"{minutes} minute{'s'[: minutes != 1]}" if minutes < 120 else f"{-(-minutes // 60)} hours"


def _is_foreign(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a page of another site sent the form, which could use up the tries of its own visitors."""
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site not in (b"same-origin", b"none")
    # Without TLS browsers send `Origin` alone, and `null` for a page that sends no referrer, such as ours.
    origin = headers.get(b"origin", b"null")
    if origin == b"null":
        return False
    host = headers.get(b"x-forwarded-host", b"").decode("latin-1")
    return urlsplit(origin.decode("latin-1")).netloc.lower() != host.lower()


async def _read_form(visit: Visit) -> str | None:
    """Read the password of a form; None if there is none, or it does not come in time."""
    body = b""
    try:
        async with timeout(FORM_TIMEOUT_S):
            while True:
                message = await visit.receive()
                body += message.get("body", b"")
                if message["type"] != "http.request" or len(body) > LARGEST_FORM:
                    return None
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        return None
    try:
        passwords = parse_qs(body.decode("latin-1"), errors="replace", max_num_fields=8).get("password")
    except ValueError:
        return None
    return passwords[0] if passwords else None


def _read_basic(header: bytes) -> str | None:
    """Read the password of HTTP Basic (RFC 7617), whose user name does not matter."""
    kind, _, text = header[: 2 * LARGEST_FORM].partition(b" ")
    if kind.lower() != b"basic":
        return None
    try:
        return base64.b64decode(text.strip(), validate=True).decode().partition(":")[2] or None
    except (binascii.Error, UnicodeDecodeError):
        return None
