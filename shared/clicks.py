"""A click, as the redirect service hands it over: the bytes of the request, nothing parsed."""

from collections.abc import Callable, Sequence

Click = tuple[float, int, tuple[bytes | None, ...]]
"""When (Unix seconds), the link's id, and of the request, each None where it was not sent: target and host
(`request_slice` in `services/redirect/memory.py`), client address, request id, user agent, referrer, accept-language, error
format, and last, only if nginx sent one, the purpose: nobody clicked yet, a browser or an app fetched the link ahead.
"""

RecordClicks = Callable[[Sequence[Click]], None]
"""Called once per event-loop tick with the clicks of that tick, before any of their answers is written.

It must not wait and must not raise: a redirect never fails because of clicks.
"""

LONGEST_ADDRESS = 64
LONGEST_REQUEST_ID = 64
LONGEST_AGENT = 512
"""Bytes of a user agent that are looked at; browsers send about 120, in-app browsers up to 400."""

LONGEST_REFERRER = 2048
LONGEST_LANGUAGE = 64
LONGEST_HOST = 255
LONGEST_SLICE = len("/ HTTP/1.1\r\nHost: ") + 64 + LONGEST_HOST

LONGEST_PARTS = (
    LONGEST_SLICE,
    LONGEST_ADDRESS,
    LONGEST_REQUEST_ID,
    LONGEST_AGENT,
    LONGEST_REFERRER,
    LONGEST_LANGUAGE,
    len("html"),
    len("prefetch"),
)
"""Bytes of each part of a request that are recorded, in their order: all that the click worker looks at."""

UNCUT_BYTES = 512
"""In a request of at most so many bytes no part but the language can be too long: the lane's quick check."""

LARGEST_CLICK_BYTES = sum(LONGEST_PARTS) + 64
"""A click in the journal: its parts, their lengths, time and link, and the record's frame."""


def cut(request: tuple[bytes | None, ...]) -> tuple[bytes | None, ...]:
    """Cut the parts of a request to what is recorded of them; every way to a click calls it."""
    return tuple(
        # The purpose, which is last, is there only if one was sent.
        [part if part is None else part[:longest] for part, longest in zip(request, LONGEST_PARTS, strict=False)]
    )
