"""The rules of both clients: where an instance is, how a request looks, what bounds it, and when it is sent again."""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from random import uniform
from time import monotonic
from typing import Any, Self, TypeVar

import httpx

from .calls import Call
from .problems import ApiError, Unreachable
from .reading import NotUnderstood

TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 3.0
TRIES = 3
FIRST_PAUSE_S = 0.1

LARGEST_ANSWER = 64 * 2**20
"""Bytes that are held in memory; a batch of 10,000 links is answered with less than half of it."""
LARGEST_PROBLEM = 2**20

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For plain HTTP: each client would read the list of authorities else, which takes 20 ms."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an instance is.

    Attributes:
        url: As httpx takes it.
        socket: The path of a Unix socket, if it is at one.
    """

    url: str
    socket: str | None = None

    @property
    def has_tls(self) -> bool:
        return self.url.startswith("https:")

    @classmethod
    def of(cls, text: str) -> Self:
        """Read an address.

        Raises:
            ValueError: It is none.
        """
        if text.startswith("unix:/"):
            return cls("http://links", text.removeprefix("unix:"))
        try:
            url = httpx.URL(text.strip())
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
            raise ValueError("the URL of an instance is like https://go.example.com, or unix:/path/to.sock")
        return cls(str(url).rstrip("/"))


class Tries:
    """Decides whether a call that failed is sent again, and when. The pauses double, and jitter keeps clients apart."""

    def __init__(self, call: Call[Any], deadline: float) -> None:
        is_safe = call.method in ("GET", "PUT") or "Idempotency-Key" in call.headers
        self._may_repeat = is_safe or call.is_repeatable
        self._left = 1 if call.is_file else TRIES
        self._longest_s = FIRST_PAUSE_S
        self.deadline = deadline

    def pause_after(self, error: ApiError) -> float | None:
        """Return the pause before the next try, seconds; None if there is no next one."""
        self._left -= 1
        was_sent = error.status != 429 and not isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)
        if self._left == 0 or not _passes(error) or (was_sent and not self._may_repeat):
            return None
        pause_s = error.retry_after_s or uniform(0.5, 1) * self._longest_s
        self._longest_s *= 2
        return pause_s if monotonic() + pause_s < self.deadline else None


def _passes(error: ApiError) -> bool:
    """Whether the next try may get another answer. A silence is not tried again: it took the time that there is."""
    if error.status == 0:
        return isinstance(error.__cause__, httpx.NetworkError | httpx.RemoteProtocolError | httpx.ConnectTimeout)
    return error.status == 429 or isinstance(error, Unreachable)


def headers_of(api_key: str) -> dict[str, str]:
    # A text that no header can carry is no key; the API says so.
    key = api_key if api_key.isascii() and api_key.isprintable() else ""
    return {"Authorization": f"Bearer {key.strip() or '-'}", "Accept": "application/json"}


def timeout_of(timeout_s: float) -> httpx.Timeout:
    return httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))


def build_request(
    http: "httpx.Client | httpx.AsyncClient", call: Call[Any], own_timeout_s: float, deadline: float
) -> httpx.Request:
    silence_s = own_timeout_s if call.is_file else deadline - monotonic()
    content, headers = call.content, dict(call.headers)
    if call.fields is not None:
        content = json.dumps(dict(call.fields), default=_json_value).encode()
        headers["Content-Type"] = "application/json"
    return http.build_request(
        call.method,
        f"/api/v1{call.path}",
        params=call.parameters,
        headers=headers,
        content=content,
        timeout=timeout_of(max(silence_s, 0.001)),
    )


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def read_answer(call: Call[T], body: bytes) -> T:
    try:
        return call.read(body)
    except (NotUnderstood, UnicodeDecodeError):
        raise ApiError(
            200, "", "Answer not understood", "The link service sent an answer of an unknown form."
        ) from None


def check_size(size: int, most: int) -> None:
    if size > most:
        raise ApiError(200, "", "Answer too large", f"The answer has more than {most} bytes.")
