"""Asks an API, again where that helps, with deadlines and bounds."""

import json
import random
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from .file import PullFailed

SILENCE_S = 30.0
ANSWER_S = 120.0
"""For all of an answer, however it trickles."""

TRIES = 7
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
LARGEST_ANSWER = 64 * 2**20
LARGEST_ERROR = 300
"""Characters of an error's text that are shown."""

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class NotThere(PullFailed):
    """The API answers 404."""


class Asker:
    """An API, with the headers that it wants.

    Args:
        base: Where it is; paths are added to it.
        sleep: Waits between tries.
    """

    def __init__(
        self, base: str, headers: Mapping[str, str] | None = None, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.base = base
        self._sleep = sleep
        # A redirect is not followed: the key would go to whoever it names.
        self._http = httpx.Client(
            headers={"Accept": "application/json", "User-Agent": "tinyurl-import", **(headers or {})},
            timeout=httpx.Timeout(SILENCE_S, connect=10.0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int | None) -> Any:
        """Ask for JSON.

        Raises:
            NotThere: There is no such thing.
            PullFailed: The API cannot be reached, refuses the key, or answers something else.
        """
        return self._ask("GET", path, {name: value for name, value in query.items() if value is not None}, None)

    def post(self, path: str, **form: str | int) -> Any:
        """Ask for JSON by a form, which no log of a server keeps."""
        return self._ask("POST", path, {}, form)

    def get_text(self, path: str) -> str:
        """Ask once for a short text; empty if there is none."""
        try:
            status, body = self._send("GET", path, {}, None)[:2]
        except httpx.HTTPError:
            return ""
        return body[:1000].decode("utf-8", "replace") if status < 500 else ""

    def _ask(self, method: str, path: str, query: Mapping[str, str | int], form: Mapping[str, str | int] | None) -> Any:
        for number in range(1, TRIES + 1):
            try:
                status, body, retry_after = self._send(method, path, query, form)
            except (httpx.TransportError, httpx.DecodingError) as error:
                reason, retry_after = f"cannot be reached ({type(error).__name__})", ""
            else:
                if status not in _AGAIN:
                    return self._read(path, status, body)
                reason = f"answers {status}" + (": it limits how often one may ask" if status == 429 else "")
            if number < TRIES:
                self._sleep(_pause_s(number, retry_after))
        raise PullFailed(f"{self.base} {reason}, {TRIES} times; the same command goes on later")

    def _send(
        self, method: str, path: str, query: Mapping[str, str | int], form: Mapping[str, str | int] | None
    ) -> tuple[int, bytes, str]:
        deadline = time.monotonic() + ANSWER_S
        data = None if form is None else {name: str(value) for name, value in form.items()}
        with self._http.stream(method, self.base + path, params=dict(query) or None, data=data) as answer:
            held = bytearray()
            for part in answer.iter_bytes():
                held += part
                if len(held) > LARGEST_ANSWER:
                    raise PullFailed(f"{self.base}{path} answers more than {LARGEST_ANSWER // 2**20} MiB")
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer takes too long")
            if answer.is_redirect:
                raise PullFailed(
                    f"{self.base} leads to {answer.headers.get('location', '')[:200]}: give that URL instead"
                )
            return answer.status_code, bytes(held), answer.headers.get("retry-after", "")

    def _read(self, path: str, status: int, body: bytes) -> Any:
        if status in (401, 403):
            raise PullFailed(f"{self.base} does not accept the key (it answers {status})")
        if status == 404:
            raise NotThere(f"{self.base}{path} is not there (it answers 404)")
        if status >= 400:
            shown = body[: 4 * LARGEST_ERROR].decode("utf-8", "replace")[:LARGEST_ERROR]
            raise PullFailed(f"{self.base}{path} answers {status}: {shown}")
        try:
            # Not strict: Bitly's answers have controls in texts.
            return json.loads(body.decode("utf-8", "replace"), strict=False)
        except (ValueError, RecursionError):
            raise PullFailed(f"{self.base}{path} answers something that is no JSON") from None


def list_of(answer: Any, *path: str) -> list[dict[str, Any]]:
    """The objects of a list inside of an answer.

    Raises:
        PullFailed: There is none.
    """
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(answer, list):
        raise PullFailed(f"the API answers without {'.'.join(path) or 'a list'}: is it another one?")
    return [each for each in answer if isinstance(each, dict)]


def number_of(answer: Any, *path: str) -> int:
    """A number inside of an answer; 0 if there is none."""
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    try:
        return int(answer or 0)
    except (TypeError, ValueError, OverflowError):
        return 0


def _pause_s(number: int, retry_after: str) -> float:
    if retry_after.isdecimal():
        return float(min(int(retry_after), LONGEST_PAUSE_S))
    longest = min(FIRST_PAUSE_S * 2.0 ** (number - 1), LONGEST_PAUSE_S)
    return float(longest * random.uniform(0.5, 1.0))
