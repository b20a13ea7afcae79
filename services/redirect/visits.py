"""Answers the visits that the lane leaves, over ASGI.

It reads what a path asks for and finds the link's record. Then the link decides: by its rules (`rules.py`), by what only the
write service can tell (`owner/`), and by what is the same for all (`answers.py`).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from time import time
from typing import NamedTuple, cast

from starlette.types import Receive, Scope, Send

from services.redirect.answers import Answer, ErrorFormat, answer_visit, decides, error, read_error_format, spare
from services.redirect.domains.decisions import Domains, dress
from services.redirect.domains.paths import DomainPaths
from services.redirect.lookup.candidates import Asked, candidates
from services.redirect.lookup.resolver import Resolver, ResolverFull, Unresolved
from services.redirect.metrics import Visits
from services.redirect.owner.claims import Claims
from services.redirect.owner.passwords import Passwords, VisitRequest
from services.redirect.preview import Previews
from services.redirect.rules import Rules, Undecided
from shared.clicks import RecordClicks, take_parts
from shared.records import READER, LinkKey, Record

ALLOW = b"GET, HEAD"
LONGEST_HOST = 255

_match_host = re.compile(rb"([0-9A-Za-z.-]{1,%d}|\[[0-9A-Fa-f:.]{1,64}\])(?::[0-9]*)?" % LONGEST_HOST).fullmatch


class Followed(NamedTuple):
    """Where a visit leads, and what its click says: the link, and which rule or target of a split it took."""

    answer: Answer
    link_id: int = 0
    variant: bytes | None = None


class VisitApp:
    """An ASGI app.

    Args:
        previews: Without them there are none on this site.
        passwords: Without it a link with a password answers 503.
        claims: Without them a limited link answers 503.
    """

    def __init__(
        self,
        resolver: Resolver,
        visits: Visits,
        record_clicks: RecordClicks | None,
        *,
        domains: Domains,
        paths: DomainPaths,
        previews: Previews | None,
        rules: Rules,
        passwords: Passwords | None,
        claims: Claims | None,
    ) -> None:
        self._resolver = resolver
        self._visits = visits
        self._record_clicks = record_clicks
        self._domains = domains
        self._paths = paths
        self._previews = previews
        self._rules = rules
        self._passwords = passwords
        self._claims = claims

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(cast(Iterable[tuple[bytes, bytes]], scope["headers"]))
        answer, link_id, variant = await self._answer(scope, headers, receive)
        self._visits.count(answer.status)
        if answer.is_click and scope["method"] == "GET" and self._record_clicks is not None:
            self._record_clicks([(time(), link_id, take_parts(headers, variant))])
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Followed:
        error_format = read_error_format(headers)
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return Followed(error(405, error_format, allow=ALLOW))
        host = _match_host(headers.get(b"host", b""))
        if host is None or sum(name == b"host" for name, _ in scope["headers"]) > 1:
            return Followed(error(400, error_format))
        name = host[1].decode().lower()
        domain = self._domains.get(name)
        asked = candidates(scope["raw_path"], domain)
        if scope["method"] == "POST":
            asked = [each for each in asked if not each.is_preview]
            if not asked:
                return Followed(error(405, error_format, allow=ALLOW))
        if not asked:
            answer = await self._paths.answer(name, domain, scope["path"], error_format)
            return Followed(dress(answer, domain, error_format))
        try:
            found, record = await self._find(name, asked)
        except Unresolved as unresolved:
            return Followed(dress(_unresolved(unresolved, error_format), domain, error_format))
        if found.is_preview:
            answer = await self._preview((name, found.code), record, error_format)
            return Followed(dress(answer, domain, error_format))
        visit = VisitRequest(scope, (name, found.code), headers, receive, error_format)
        followed = await self._follow(visit, found, record)
        return followed._replace(answer=dress(followed.answer, domain, error_format, found.code))

    async def _find(self, name: str, asked: Sequence[Asked]) -> tuple[Asked, Record | None]:
        """Find the first candidate that is a link's, and its record; if none is, the first one.

        Raises:
            Unresolved: A store that is away may know the answer.
        """
        records = await self._resolver.resolve_first([(name, each.code) for each in asked])
        for each, record in zip(asked, records, strict=False):
            if record is not None and (record.folds_case or not each.is_folded):
                return each, record
        return asked[0], None

    async def _preview(self, key: LinkKey, record: Record | None, error_format: ErrorFormat) -> Answer:
        if self._previews is None:
            return error(404, error_format)
        return await self._previews.answer(key, record, now=time(), error_format=error_format)

    async def _follow(self, visit: VisitRequest, asked: Asked, record: Record | None) -> Followed:
        error_format, variant = visit.error_format, None
        try:
            if record is not None and decides(record) and record.min_reader <= READER:
                record, variant = await self._rules.choose(visit.key, record, visit.headers, visit.query)
        except Undecided:
            return Followed(error(503, error_format))
        # What trails a code is removed, but not from a path that the link passes on.
        is_rest = not asked.may_trail or (record is not None and record.forward_path)
        rest = asked.rest if is_rest else b""
        answer = answer_visit(record, query=visit.query, now=time(), error_format=error_format, rest=rest)
        if visit.method == "POST" and (record is None or record.password is None):
            answer = error(405, error_format, allow=ALLOW)
        if record is None:
            return Followed(answer)
        if record.password is not None and answer.is_click:
            answer = await self._guard(answer, record.password, replace(visit, rest=rest))
        if record.limited and answer.is_click:
            answer = await self._claim(answer, record, visit)
        return Followed(answer, record.link_id, variant)

    async def _guard(self, answer: Answer, tag: str, visit: VisitRequest) -> Answer:
        if self._passwords is None:
            return error(503, visit.error_format)
        return await self._passwords.guard(answer, tag, visit)

    async def _claim(self, answer: Answer, record: Record, visit: VisitRequest) -> Answer:
        """Return the answer of a limited link if the visitor may have it, else another one."""
        verdict = "unavailable"
        if self._claims is not None:
            verdict = await self._claims.admit(record.link_id, visit.method, visit.headers)
        match verdict:
            case "granted":
                return answer
            case "refused":
                used_up = record._replace(used_up=True)
                return answer_visit(used_up, query=b"", now=time(), error_format=visit.error_format)
            case "spared":
                return spare(visit.error_format)
            case _:
                return error(503, visit.error_format, is_busy=verdict == "busy")


def _unresolved(unresolved: Unresolved, error_format: ErrorFormat) -> Answer:
    return error(503, error_format, is_busy=isinstance(unresolved, ResolverFull))
