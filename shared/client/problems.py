"""The errors of the API, as exceptions: fields, reasons, and whether the API was reached."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx

_PHRASES = {status.value: status.phrase for status in HTTPStatus}

UNREACHABLE_STATUSES = frozenset({502, 503, 504})
REDIRECTS = frozenset({301, 302, 307, 308})


class ApiError(Exception):
    """An answer other than success.

    Args:
        status: The status of the answer; 0 without an answer.
        type: The stable name of the problem; empty if the answer was no problem+json.
        title: The kind of problem, in words.
        detail: A sentence about this case.
        errors: For invalid input, each field with its reason.
        retry_after_s: When to try again, if the answer says so.
    """

    def __init__(
        self,
        status: int,
        type: str,  # noqa: A002  # as RFC 9457 names it
        title: str,
        detail: str,
        errors: Mapping[str, str] | None = None,
        *,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.type = type
        self.title = title
        self.detail = detail
        self.errors = dict(errors or {})
        self.retry_after_s = retry_after_s


class KeyRefused(ApiError):
    """The key is unknown, revoked or expired."""


class Unreachable(ApiError):
    """The service did not answer in time, or answered that it is not available."""


def problem_of(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """Turn an answer other than success into an error. A body that is no problem+json, such as a proxy's page, is ignored."""
    problem = _json_object(body)
    errors = {
        str(error["field"]): str(error["reason"])
        for error in problem.get("errors") or ()
        if isinstance(error, dict) and {"field", "reason"} <= error.keys()
    }
    phrase = _PHRASES.get(status, f"Status {status}")
    kind = ApiError
    if status == HTTPStatus.UNAUTHORIZED:
        kind = KeyRefused
    elif status in UNREACHABLE_STATUSES:
        kind = Unreachable
    detail = str(problem.get("detail", ""))
    if status in REDIRECTS:
        detail = f"The API is not at this address, which leads to {headers.get('location', 'another one')}."
    wait = headers.get("retry-after", "")
    return kind(
        status,
        str(problem.get("type", "")),
        str(problem.get("title", phrase)),
        detail,
        errors,
        retry_after_s=float(wait) if re.fullmatch(r"\d{1,6}", wait) else None,
    )


def unreachable(error: Exception) -> Unreachable:
    """Turn a failure of the network into an error."""
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return Unreachable(0, "", "No answer in time", "The link service did not answer in time.")
    return Unreachable(0, "", "Not reachable", "The link service cannot be reached.")


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
