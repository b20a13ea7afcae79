"""Decides the answer to a visit. It depends only on the record of the link, the query and the time.

Memory keeps finished answers for the lane, and the app sends the others.
"""

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal
from urllib.parse import unquote_to_bytes

from shared.api import problem_type
from shared.busy import BUSY
from shared.problems import LIMITED, PAGE, VISIT_PROBLEMS, VisitProblem
from shared.records import READER, Record

ErrorFormat = Literal["html", "json"]
Header = tuple[bytes, bytes]

NO_STORE = b"private, no-store"

LONGEST_LOCATION = 16 * 1024
"""Bytes. nginx accepts 20 KiB of headers (`proxy_buffer_size` in deploy/nginx/redirect.conf)."""

RETRY_AFTER_S = 1

ROBOTS = (b"x-robots-tag", b"noindex")
_ENCODED_DOT = re.compile(rb"%2[Ee]")
# A segment of dots beside an encoded slash or a backslash, or with parameters: browsers read no dot segment there, but servers
# that decode first may read one and leave the target's path.
_HIDDEN_DOTS = re.compile(
    rb"(?i)(?:%2f|%5c|\\)(?:\.|%2e){1,2}(?:$|[/;\\]|%2f|%5c)|(?:^|/)(?:\.|%2e){1,2}(?:[;\\]|%2f|%5c)"
)
_UNSAFE_IN_PATH = re.compile(rb"[^\x21-\x7e]|[\"#<>?\\^`{|}]")
_UNSAFE_IN_QUERY = re.compile(rb"[^\x21-\x7e]|[\"#<>\\^`{|}]")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (names in lower case) and body; the connection adds the rest.

    Attributes:
        problem: All that the body says, if it is an error.
    """

    status: int
    headers: tuple[Header, ...]
    body: bytes = b""
    is_click: bool = False
    problem: VisitProblem | None = None

    @property
    def phrase(self) -> bytes:
        return HTTPStatus(self.status).phrase.encode()


def answer_visit(
    record: Record | None, *, query: bytes, now: float, error_format: ErrorFormat, rest: bytes = b""
) -> Answer:
    """Answer a GET of a code. The app asks for the password of a link before it gives the target.

    Args:
        record: The link's record; None if there is no such link.
        query: The visitor's query, as received, without the question mark.
        rest: What follows the code in the visitor's path, as received: nothing, or a slash and more.
        now: Unix seconds.
        error_format: The format of an error.
    """
    if record is None or (rest and (not record.forward_path or _HIDDEN_DOTS.search(rest))):
        return error(404, error_format)
    if record.min_reader > READER:
        # A newer release wrote a field that this one does not know, so another process has to answer.
        return error(503, error_format)
    if has_ended(record, now):
        if record.expired_url is not None:
            return lead(record.expired_url)
        return error(410, error_format)
    if record.valid_from is not None and now < record.valid_from:
        return error(404, error_format)
    target = record.url.encode()
    if rest:
        target = add_path(target, rest)
        if len(target) > LONGEST_LOCATION:
            return error(414, error_format)
    if record.forward_query and query:
        target = add_query(target, query, visitor_wins=record.visitor_query_wins)
    # An older release stores a link that decides with any status. A browser must not keep the answer of such a link.
    status = 302 if record.status_code in (301, 308) and decides_anew(record) else record.status_code
    return _redirect(status, target, _cache_control(record, now), is_click=True, is_crawlable=record.crawlable)


def decides(record: Record) -> bool:
    """Return whether the link has rules or a split, so that where it leads depends on the visitor."""
    return record.rules is not None or record.split is not None


def decides_anew(record: Record) -> bool:
    """Return whether the link decides about each visit by itself, so that no browser may keep its answer."""
    return decides(record) or record.limited or record.password is not None


def has_ended(record: Record, now: float) -> bool:
    """Return whether a link leads nobody to its target any more."""
    return record.deleted or not record.enabled or record.used_up or _is_expired(record, now)


def is_plain(record: Record, now: float) -> bool:
    """Return whether a GET without a query gets the same answer until the record expires, but for what its rules say."""
    expires_under_browser = record.cache_control is not None and record.expires_at is not None
    return (
        not has_ended(record, now)
        and record.min_reader <= READER
        and record.password is None
        and not record.limited
        and (record.valid_from is None or record.valid_from <= now)
        and not expires_under_browser
    )


def error(status: int, error_format: ErrorFormat, *, allow: bytes | None = None, is_busy: bool = False) -> Answer:
    """Return an error: a small page for a browser, problem+json (RFC 9457) for everyone else."""
    return _explain(status, VISIT_PROBLEMS[status], error_format, allow=allow, is_busy=is_busy)


def spare(error_format: ErrorFormat) -> Answer:
    """Return the answer to a visit that must not use up a limited link: it says so, and not where the link leads.

    It is 403 because nobody may take it for the target: a browser shows what it fetched ahead if that was a success, and a
    program keeps it. nginx would try a 503 at every redirector.
    """
    return _explain(403, LIMITED, error_format)


def _explain(
    status: int, problem: VisitProblem, error_format: ErrorFormat, *, allow: bytes | None = None, is_busy: bool = False
) -> Answer:
    kind, title, detail = problem
    if error_format == "html":
        page = PAGE.format(name=title, look="", title=title, detail=detail)
        content_type, body = b"text/html; charset=utf-8", page.encode()
    else:
        fields = {"type": problem_type(kind), "title": title, "status": status, "detail": detail}
        content_type, body = b"application/problem+json", json.dumps(fields).encode()
    headers = [
        (b"content-type", content_type),
        (b"cache-control", NO_STORE),
        ROBOTS,
        (b"content-length", b"%d" % len(body)),
    ]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_S))
    if is_busy:
        headers.append((BUSY.lower().encode(), b"1"))
    if allow is not None:
        headers.append((b"allow", allow))
    return Answer(status, tuple(headers), body, problem=problem)


def read_error_format(headers: dict[bytes, bytes]) -> ErrorFormat:
    """Return the format that nginx found in `Accept`. Without nginx it is a page if the visitor asks for HTML."""
    chosen = headers.get(b"x-error-format")
    if chosen is None:
        chosen = b"html" if b"text/html" in headers.get(b"accept", b"") else b"json"
    return "html" if chosen == b"html" else "json"


def add_query(target: bytes, query: bytes, *, visitor_wins: bool = False) -> bytes:
    """Add the visitor's parameters to a target. Of two with the same name the target's own one stays; its fragment stays last.

    A query that would make the location too long for nginx is left out.

    Args:
        visitor_wins: Whether the visitor's one stays instead, as in Shlink.
    """
    base, hash_sign, fragment = target.partition(b"#")
    path, _, own = base.partition(b"?")
    kept = own.split(b"&") if own else []
    added = [_UNSAFE_IN_QUERY.sub(_percent_encode, pair) for pair in query.split(b"&") if pair]
    taken = {_parameter_name(pair) for pair in (added if visitor_wins else kept) if pair}
    if visitor_wins:
        kept = [pair for pair in kept if _parameter_name(pair) not in taken]
    else:
        added = [pair for pair in added if _parameter_name(pair) not in taken]
    pairs = b"&".join([*kept, *added])
    location = path + (b"?" + pairs if pairs else b"") + hash_sign + fragment
    return location if len(location) <= LONGEST_LOCATION else target


def add_path(target: bytes, rest: bytes) -> bytes:
    """Add a path to a target's own; the target's query and fragment stay behind it.

    The added path cannot leave the target's: its dot segments are removed as RFC 3986 (section 5.2.4) says, also where dots
    are percent-encoded, which browsers take for dots.

    Args:
        rest: Begins with a slash.
    """
    end = min(place for mark in (b"?", b"#") if (place := (target + mark).find(mark)) >= 0)
    kept: list[bytes] = []
    dots = b""
    for segment in rest.split(b"/")[1:]:
        dots = _ENCODED_DOT.sub(b".", segment)
        if dots == b"..":
            kept = kept[:-1]
        elif dots != b".":
            kept.append(_UNSAFE_IN_PATH.sub(_percent_encode, segment))
    if dots in (b".", b".."):
        kept.append(b"")
    return target[:end].removesuffix(b"/") + b"/" + b"/".join(kept) + target[end:]


def lead(url: str) -> Answer:
    """Return a redirect that is no visit of a link."""
    return _redirect(302, url.encode(), NO_STORE)


def _redirect(
    status: int, location: bytes, cache_control: bytes, *, is_click: bool = False, is_crawlable: bool = False
) -> Answer:
    headers = (
        (b"location", location),
        (b"cache-control", cache_control),
        *(() if is_crawlable else (ROBOTS,)),
        (b"content-length", b"0"),
    )
    return Answer(status, headers, is_click=is_click)


def _is_expired(record: Record, now: float) -> bool:
    return record.expires_at is not None and record.expires_at <= now


def _cache_control(record: Record, now: float) -> bytes:
    """Return how long a browser may keep the answer: as long as the link says, and never past the link's end."""
    if record.cache_control is None or decides_anew(record):
        return NO_STORE
    seconds = record.cache_control
    if record.expires_at is not None:
        seconds = min(seconds, int(record.expires_at - now))
    return b"private, max-age=%d" % seconds


def _parameter_name(pair: bytes) -> bytes:
    return unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" "))


def _percent_encode(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
