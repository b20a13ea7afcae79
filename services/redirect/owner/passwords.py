"""Asks a visitor for the password of a link. links verifies it (`POST /internal/unlocks`); there is no hash of it here.

A browser gets a form (`password_form.py`), and with the right password a cookie. Clients of the API send HTTP Basic. The app
calls `guard` before it gives the target.
"""

import base64
import binascii
import json
from asyncio import timeout
from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import cast
from urllib.parse import parse_qs, urlsplit

import structlog
from starlette.types import Receive, Scope

from services.redirect.answers import Answer, ErrorFormat, error
from services.redirect.owner.connection import FAILURES, LinksConnection, Reply
from services.redirect.owner.password_form import FOREIGN, WRONG, ask, ask_later, open_link
from shared.codes import code_path
from shared.records import LinkKey
from shared.unlocks import LARGEST_FORM, LONGEST_COOKIE, is_unlocked

DEADLINE_S = 4.0
"""Of links, which waits two seconds for a slot. nginx waits five for this service."""

FORM_TIMEOUT_S = 3.0
MOST_AT_ONCE = 64
"""As many as links lets wait."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class VisitRequest:
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
        return b"/" + code_path(self.key[1]).encode() + self.rest + (b"?" + query if query else b"")


class Passwords:
    """Lets visitors through who know the password.

    Args:
        links_address: Where links listens.
        token: The internal token.
    """

    def __init__(self, links_address: str, token: str) -> None:
        self._links_address = links_address
        self._token = token
        self._asking = 0

    async def guard(self, target: Answer, tag: str, visit: VisitRequest) -> Answer:
        """Return the target for a visitor who knows the password, and a question for every other one.

        Args:
            target: The answer that gives the target.
            tag: `Record.password`.
            visit: Who asks.
        """
        cookie = visit.headers.get(b"x-unlock", b"").decode("latin-1")
        if len(cookie) <= LONGEST_COOKIE and is_unlocked(cookie, self._token, visit.key, tag, time()):
            return open_link(visit.address) if visit.method == "POST" else target
        if visit.method == "POST":
            if _is_foreign(visit.headers):
                return ask(visit.address, visit.error_format, FOREIGN)
            password = await _read_form(visit)
        else:
            password = _read_basic(visit.headers.get(b"authorization", b""))
        if not password:
            return ask(visit.address, visit.error_format)
        if self._asking >= MOST_AT_ONCE:
            return ask_later(visit.address, visit.error_format)
        self._asking += 1
        try:
            return self._conclude(await self._ask_links(visit, password), target, visit)
        except (*FAILURES, LookupError, TypeError) as failure:
            log.warning("unlock_failed", error=type(failure).__name__)
            return error(503, visit.error_format)
        finally:
            self._asking -= 1

    async def _ask_links(self, visit: VisitRequest, password: str) -> Reply:
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

    def _conclude(self, reply: Reply, target: Answer, visit: VisitRequest) -> Answer:
        if reply.status == 200:
            return (
                open_link(visit.address, json.loads(reply.body)["set_cookie"].encode())
                if visit.method == "POST"
                else target
            )
        if reply.status == 403:
            return ask(visit.address, visit.error_format, WRONG)
        if reply.status == 429:
            return ask_later(visit.address, visit.error_format, reply.headers.get("retry-after", ""))
        # 404: the password was taken away or the link deleted, which the feed tells within a second.
        return error(503, visit.error_format)


def _is_foreign(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a page of another site sent the form, which could use up the tries of its own visitors."""
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site not in (b"same-origin", b"none")
    # Without TLS browsers send `Origin` alone. Any site can make it `null`, so the page of our form lets it be sent.
    origin = headers.get(b"origin", b"")
    if not origin:
        return False
    host = headers.get(b"x-forwarded-host", b"").decode("latin-1")
    return urlsplit(origin.decode("latin-1")).netloc.lower() != host.lower()


async def _read_form(visit: VisitRequest) -> str | None:
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
