"""The errors of the API, as problem+json (RFC 9457): a class for each kind, and the answer to every exception of a route."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

import asyncpg
import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shared.api import CODE_TAKEN, problem_type
from shared.busy import BUSY
from shared.postgres import UNAVAILABLE

log = structlog.get_logger()

RETRY_AFTER_S = 1

LONGEST_NAME = 120
"""The most characters of a field's path in an answer. Clients choose the names of unknown fields."""


MOST_ERRORS = 100
"""The most fields that an answer names."""

UNKNOWN_FIELD = "is not a field that can be set"
"""The reason for an unknown field or parameter."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """An error of one field: its path in the request, and a reason that follows the path in a sentence."""

    field: str
    reason: str


class FieldErrorOut(BaseModel):
    """What is wrong with one field."""

    field: str
    reason: str


class ProblemOut(BaseModel):
    """A problem (RFC 9457). Only invalid input has `errors`."""

    type: str = Field(examples=[problem_type("invalid-input")])
    title: str
    status: int
    detail: str
    errors: list[FieldErrorOut] = []


class Problem(Exception):
    """An error that the client is told. Each kind is a subclass.

    Args:
        detail: A sentence for the client about this case.
        errors: Every field with its reason, for invalid input.
    """

    status: HTTPStatus
    kind: str
    title: str
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors


class InvalidInput(Problem):
    status, kind, title = HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-input", "Invalid input"

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.field} {error.reason}" for error in errors), errors)


class MalformedJson(Problem):
    status, kind, title = HTTPStatus.BAD_REQUEST, "malformed-json", "Malformed JSON"


class WrongContentType(Problem):
    status, kind, title = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type"


class BodyTooLarge(Problem):
    status, kind, title = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", "Body too large"
    # The connection stays open. If it closed while the client sends, nginx would lose this answer.


class BodyTooSlow(Problem):
    status, kind, title = HTTPStatus.REQUEST_TIMEOUT, "timeout", "Request timed out"


class Unauthenticated(Problem):
    status, kind, title = HTTPStatus.UNAUTHORIZED, "unauthenticated", "No valid API key"
    headers: ClassVar = {"WWW-Authenticate": 'Bearer realm="tinyurl"'}


class Forbidden(Problem):
    status, kind, title = HTTPStatus.FORBIDDEN, "forbidden", "Not allowed with this key"


class NotFound(Problem):
    status, kind, title = HTTPStatus.NOT_FOUND, "not-found", "Not found"


class NotAcceptable(Problem):
    status, kind, title = HTTPStatus.NOT_ACCEPTABLE, "not-acceptable", "No media type that is accepted"


class CodeTaken(Problem):
    status, kind, title = HTTPStatus.CONFLICT, CODE_TAKEN, "Code already taken"


class LastKeyKept(Problem):
    status, kind, title = HTTPStatus.CONFLICT, "last-admin-key", "Last admin key"


class VersionMismatch(Problem):
    status, kind, title = HTTPStatus.PRECONDITION_FAILED, "version-mismatch", "The link has changed meanwhile"


class IdempotencyConflict(Problem):
    status, kind, title = HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-conflict", "Idempotency-Key used before"


class IdempotencyFull(Problem):
    status, kind, title = HTTPStatus.TOO_MANY_REQUESTS, "idempotency-full", "Too many Idempotency-Keys in use"
    headers: ClassVar = {"Retry-After": "3600"}


class TooManyRequests(Problem):
    status, kind, title = HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", "Too many requests of this owner"
    headers: ClassVar = {"Retry-After": str(RETRY_AFTER_S)}


class TooCostly(Problem):
    status, kind, title = HTTPStatus.UNPROCESSABLE_ENTITY, "too-costly", "The answer takes too long to find"


class Unavailable(Problem):
    status, kind, title = HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "Not available right now"
    headers: ClassVar = {"Retry-After": str(RETRY_AFTER_S)}


class Busy(Unavailable):
    """A limit of the service is reached. Clients cause this, and it is no fault of the release."""

    headers: ClassVar = {**Unavailable.headers, BUSY: "1"}


class InternalError(Problem):
    status, kind, title = HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "Internal error"


@contextmanager
def refuse_costly() -> Iterator[None]:
    """Turn the deadline of a costly statement into `TooCostly`. Failures of the server stay what they are."""
    try:
        yield
    except asyncpg.QueryCanceledError:
        raise TooCostly("Finding this takes too long. Narrow it by a tag, a domain or a time.") from None


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        problem_json(problem),
        problem.status,
        {**problem.headers, **(headers or {})},
        media_type="application/problem+json",
    )


def problem_json(problem: Problem) -> str:
    """Return the JSON of a problem."""
    body: dict[str, object] = {
        "type": problem_type(problem.kind),
        "title": problem.title,
        "status": problem.status.value,
        "detail": problem.detail,
    }
    if problem.errors:
        body["errors"] = [{"field": error.field, "reason": error.reason} for error in problem.errors]
    return json.dumps(body)


def invalid_input(error: ValidationError | RequestValidationError, *, most: int = MOST_ERRORS) -> InvalidInput:
    """Turn pydantic's errors into a problem, of at most `most` fields."""
    errors: Sequence[Mapping[str, object]]
    if isinstance(error, ValidationError):
        errors = error.errors(include_url=False, include_context=False, include_input=False)
    else:
        errors = error.errors()
    return InvalidInput(*(_field_error(each) for each in errors[:most]))


def answer_error(error: Exception) -> Response:
    """Return the answer to an exception of a route."""
    headers = error.headers if isinstance(error, HTTPException) else None
    return problem_response(find_problem(error), headers)


def find_problem(error: Exception) -> Problem:
    """Return the problem of an exception. An unexpected one is logged, and the client gets one sentence about it."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ValidationError | RequestValidationError):
        return invalid_input(error)
    if isinstance(error, HTTPException):
        return _framework_problem(error)
    if isinstance(error, UNAVAILABLE):
        log.warning("store_unavailable", error=type(error).__name__, sqlstate=getattr(error, "sqlstate", None))
        return Unavailable("The database cannot be reached. Nothing was changed, or it is not known.")
    if isinstance(error, asyncpg.PostgresError):
        error.detail = None  # It quotes the row, which may hold a target.
    log.error("request_failed", exc_info=error)
    return InternalError("Something went wrong here. The answer's X-Request-ID finds it in the log.")


ERRORS: tuple[type[Exception], ...] = (Problem, RequestValidationError, HTTPException, *UNAVAILABLE, Exception)
"""The exceptions that FastAPI hands over. It wants each class by itself."""


async def answer_route_error(request: Request, error: Exception) -> Response:
    """Call `answer_error`, with the arguments that FastAPI has."""
    return answer_error(error)


def _framework_problem(error: HTTPException) -> Problem:
    """Return the problem of an error of FastAPI itself: an unknown path, or a method that a path does not have."""
    status = HTTPStatus(error.status_code)
    problem = Problem(str(error.detail))
    problem.status, problem.kind, problem.title = status, status.phrase.lower().replace(" ", "-"), status.phrase
    return problem


def _field_error(error: Mapping[str, object]) -> FieldError:
    """Turn an error of pydantic into the path of a field, and a reason that follows it in a sentence."""
    path = [str(part) for part in error["loc"]] if isinstance(error["loc"], tuple) else []
    if path and path[0] in _PLACES:
        place = path.pop(0)
        path = [name.title() for name in path] if place == "header" else path
        path = path[:1] if place == "query" else path  # The number of a repeated parameter says nothing to the client.
    reason = str(error["msg"]).removeprefix("Value error, ")
    return FieldError(".".join(path)[:LONGEST_NAME] or "body", _REASONS.get(str(error["type"]), reason))


_PLACES = frozenset({"body", "query", "path", "header"})
"""The places where FastAPI finds fields. It puts the place before the path of a field."""


_REASONS = {
    "missing": "is required",
    "extra_forbidden": UNKNOWN_FIELD,
}
