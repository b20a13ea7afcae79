"""The contract of a click: the headers that nginx sends with a visit, and the parts of them that the journal keeps.

`HEADERS` and `ClickParts` are the contract. deploy/nginx/files.py writes nginx's configuration from it, and
services/redirect/lane.py its expression. services/redirect/app.py takes the same parts, and services/links/clicks reads them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shared.api import LONGEST_VARIANT_TEXT


class ClickParts(NamedTuple):
    """The parts of a visit that a click has, in the order of the journal; None where nothing was sent.

    A new part goes to the end. An older release ignores it, and it is None in the clicks of an older release. A part that
    nobody reads any more keeps its place, because the previous release finds the others by their number.

    Attributes:
        variant: Which rule or target of a split the visitor got; redirect tells it, and no header does.
    """

    unused_target: bytes | None = None
    address: bytes | None = None
    unused_request_id: bytes | None = None
    agent: bytes | None = None
    referrer: bytes | None = None
    language: bytes | None = None
    unused_error_format: bytes | None = None
    purpose: bytes | None = None
    variant: bytes | None = None


class Visit(NamedTuple):
    """What the rules of a link ask of a visit: four headers as nginx sends them, the query, and the time (Unix seconds)."""

    address: bytes | None
    agent: bytes | None
    referrer: bytes | None
    language: bytes | None
    query: bytes
    now: float


@dataclass(frozen=True, slots=True)
class Header:
    """A header that nginx sends to the redirect service.

    Attributes:
        name: As nginx writes it.
        variable: nginx's variable with the value. A header with an empty value is not sent.
        lane_value: A regular expression, without groups, of the values that the fast lane takes. A rare header has none: the
            app answers the visits that have it.
        part: The part of a click that the value becomes; None if only the redirect service reads it.
        longest: The bytes of the value that the journal keeps.
    """

    name: str
    variable: str
    lane_value: str = ""
    part: str | None = None
    longest: int = 0


LONGEST_AGENT = 512
"""The bytes of a user agent that are read. Browsers send about 120, in-app browsers up to 400."""

LONGEST_LANGUAGE = 64

LONGEST_VARIANT = 4 * LONGEST_VARIANT_TEXT
"""Bytes in UTF-8."""

_TEXT = r"\S.*"

HEADERS = (
    Header("Host", "$short_domain", r"[0-9a-z.-]+"),
    Header("X-Forwarded-For", "$remote_addr", r"[0-9a-f.:]{1,64}", "address", 64),
    Header("X-Request-ID", "$request_id", r"[0-9A-Za-z_-]{1,64}"),
    Header("User-Agent", "$http_user_agent", _TEXT, "agent", LONGEST_AGENT),
    Header("Referer", "$http_referer", _TEXT, "referrer", 2048),
    Header("Accept-Language", "$http_accept_language", _TEXT, "language", LONGEST_LANGUAGE),
    Header("X-Error-Format", "$error_format", r"html|json"),
    # A browser or an app fetched the link before anybody clicked.
    Header("X-Purpose", "$visit_purpose", "", "purpose", len("prefetch")),
)
"""The headers of a visit, in the order in which nginx sends them."""

Click = tuple[float, int, tuple[bytes | None, ...]]
"""The time (Unix seconds), the id of the link, and the parts (`ClickParts`). A plain tuple costs a visit less."""

RecordClicks = Callable[[Sequence[Click]], None]
"""Is called once in an event-loop tick with the clicks of the tick, before any of their answers is written.

It must not wait and must not raise: a redirect never fails because of clicks.
"""

_RECORDED = {header.part: header for header in HEADERS if header.part is not None}
_LONGEST = tuple(
    LONGEST_VARIANT if part == "variant" else _RECORDED[part].longest if part in _RECORDED else 0
    for part in ClickParts._fields
)
_HEADER_OF_PART = tuple(
    _RECORDED[part].name.lower().encode() if part in _RECORDED else b"" for part in ClickParts._fields
)

UNCUT_BYTES = 512
"""No part but the language can be too long in a request of so many bytes. This is the lane's quick check."""

LARGEST_CLICK_BYTES = sum(_LONGEST) + 64
"""The bytes of a click in the journal: its parts and their lengths, the time, the link, and the frame of the record."""


def take_parts(headers: dict[bytes, bytes], variant: bytes | None = None) -> tuple[bytes | None, ...]:
    """Take the parts of a click from the headers of a visit, whose names are in lower case, and what redirect adds."""
    *sent, _ = (headers.get(name) for name in _HEADER_OF_PART)
    return cut_parts((*sent, variant))


def cut_parts(parts: Iterable[bytes | None]) -> tuple[bytes | None, ...]:
    """Cut the parts of a click to the bytes that the journal keeps. The lane and the app both do it."""
    return tuple([part if part is None else part[:longest] for part, longest in zip(parts, _LONGEST, strict=True)])


def read_parts(parts: Sequence[bytes | None]) -> ClickParts:
    """Read the parts of a click. A newer release may have written more of them, an older one fewer."""
    return ClickParts(*tuple(parts)[: len(ClickParts._fields)])
