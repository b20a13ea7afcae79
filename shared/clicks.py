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
