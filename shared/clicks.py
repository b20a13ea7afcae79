"""A click: which headers nginx sends with a visit, and which of them are written to the journal for the click worker.

`HEADERS` and `ClickParts` are the contract. deploy/nginx/files.py writes nginx's lines from them, services/redirect/lane.py its
expression, services/redirect/app.py takes the same parts, and services/links/clicks reads them by name.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class ClickParts(NamedTuple):
    """The parts of a visit that a click has, in the order of the journal; None where nothing was sent.

    A new part goes to the end: an older release ignores it. A part of which an older click knows nothing is None. A part that
    no reader wants any more leaves an empty place, because the release before still finds the others by their number.
    """

    unused_target: bytes | None = None
    address: bytes | None = None
    unused_request_id: bytes | None = None
    agent: bytes | None = None
    referrer: bytes | None = None
    language: bytes | None = None
    unused_error_format: bytes | None = None
    purpose: bytes | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """A header that nginx sends to the redirect service.

    Attributes:
        name: As nginx writes it.
        variable: nginx's variable with the value. A header with an empty value is not sent.
        lane_value: The values that the fast lane takes, a regular expression without groups. Without one the header is rare:
            a visit that has it takes the ordinary way.
        part: The part of a click that the value becomes; None if only the redirect service reads it.
        longest: Bytes of the value that are recorded.
    """

    name: str
    variable: str
    lane_value: str = ""
    part: str | None = None
    longest: int = 0


LONGEST_AGENT = 512
"""Bytes of a user agent that are looked at; browsers send about 120, in-app browsers up to 400."""

LONGEST_LANGUAGE = 64

_TEXT = r"\S.*"

HEADERS = (
    Header("Host", "$short_domain", r"[0-9a-z.-]+"),
    Header("X-Forwarded-For", "$remote_addr", r"[0-9a-f.:]{1,64}", "address", 64),
    Header("X-Request-ID", "$request_id", r"[0-9A-Za-z_-]{1,64}"),
    Header("User-Agent", "$http_user_agent", _TEXT, "agent", LONGEST_AGENT),
    Header("Referer", "$http_referer", _TEXT, "referrer", 2048),
    Header("Accept-Language", "$http_accept_language", _TEXT, "language", LONGEST_LANGUAGE),
    Header("X-Error-Format", "$error_format", r"html|json"),
    # Nobody clicked yet: a browser or an app fetched the link ahead.
    Header("X-Purpose", "$visit_purpose", "", "purpose", len("prefetch")),
)
"""The headers of a visit, in the order in which nginx sends them."""

Click = tuple[float, int, tuple[bytes | None, ...]]
"""When (Unix seconds), the link's id, and the parts of the visit (`ClickParts`; a plain tuple costs a visit less)."""

RecordClicks = Callable[[Sequence[Click]], None]
"""Called once per event-loop tick with the clicks of that tick, before any of their answers is written.

It must not wait and must not raise: a redirect never fails because of clicks.
"""

_RECORDED = {header.part: header for header in HEADERS if header.part is not None}
_LONGEST = tuple(_RECORDED[part].longest if part in _RECORDED else 0 for part in ClickParts._fields)
_HEADER_OF_PART = tuple(
    _RECORDED[part].name.lower().encode() if part in _RECORDED else b"" for part in ClickParts._fields
)

UNCUT_BYTES = 512
"""In a request of at most so many bytes no part but the language can be too long: the lane's quick check."""

LARGEST_CLICK_BYTES = sum(_LONGEST) + 64
"""A click in the journal: its parts, their lengths, time and link, and the record's frame."""


def take_parts(headers: dict[bytes, bytes]) -> tuple[bytes | None, ...]:
    """Take the parts of a click from the headers of a visit, whose names are in lower case."""
    return cut_parts(headers.get(name) for name in _HEADER_OF_PART)


def cut_parts(parts: Iterable[bytes | None]) -> tuple[bytes | None, ...]:
    """Cut the parts of a click to what is recorded of them; every way to a click calls it."""
    return tuple([part if part is None else part[:longest] for part, longest in zip(parts, _LONGEST, strict=True)])


def read_parts(parts: Sequence[bytes | None]) -> ClickParts:
    """Read the parts of a click that any release wrote: a newer one may have more of them, an older one fewer."""
    return ClickParts(*tuple(parts)[: len(ClickParts._fields)])
