"""Every error of the API as problem+json (RFC 9457): one table from exception to status and type, at the app's edge."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

import asyncpg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shared.postgres import UNAVAILABLE

log = structlog.get_logger()

RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field: its path in the request, and the reason in words that follow it."""

    field: str
    reason: str


class Problem(Exception):
    """An answer other than success; subclasses name the kind.

    Args:
        detail: A sentence for the client about this case.
        errors: For invalid input, every field with its reason.
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


class Unauthenticated(Problem):
    status, kind, title = HTTPStatus.UNAUTHORIZED, "unauthenticated", "No valid API key"
    headers: ClassVar = {"WWW-Authenticate": 'Bearer realm="tinyurl"'}


class Forbidden(Problem):
    status, kind, title = HTTPStatus.FORBIDDEN, "forbidden", "Not allowed with this key"


class NotFound(Problem):
    status, kind, title = HTTPStatus.NOT_FOUND, "not-found", "Not found"


class CodeTaken(Problem):
    status, kind, title = HTTPStatus.CONFLICT, "code-taken", "Code already taken"


class VersionMismatch(Problem):
    status, kind, title = HTTPStatus.PRECONDITION_FAILED, "version-mismatch", "The link has changed meanwhile"


class IdempotencyConflict(Problem):
    status, kind, title = HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-conflict", "Idempotency-Key used before"


class Unavailable(Problem):
    status, kind, title = HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "Not available right now"
    headers: ClassVar = {"Retry-After": str(RETRY_AFTER_S)}


class InternalError(Problem):
    status, kind, title = HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "Internal error"


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    body: dict[str, object] = {
        "type": f"urn:tinyurl:problem:{problem.kind}",
        "title": problem.title,
        "status": problem.status.value,
        "detail": problem.detail,
    }
    if problem.errors:
        body["errors"] = [{"field": error.field, "reason": error.reason} for error in problem.errors]
    return Response(
        json.dumps(body), problem.status, {**problem.headers, **(headers or {})}, media_type="application/problem+json"
    )


def install_error_table(app: FastAPI) -> None:
    """Answer each exception that may leave a route."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    for kind in UNAVAILABLE:
        app.add_exception_handler(kind, _answer_unavailable)
    app.add_exception_handler(Exception, _answer_internal)


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(InvalidInput(*(_field_error(each) for each in error.errors())))


async def _answer_http(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: an unknown path, a method that a path does not have."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    problem = Problem(str(error.detail))
    problem.status, problem.kind, problem.title = status, status.phrase.lower().replace(" ", "-"), status.phrase
    return problem_response(problem, error.headers)


async def _answer_unavailable(request: Request, error: Exception) -> Response:
    log.warning("store_unavailable", error=type(error).__name__, sqlstate=getattr(error, "sqlstate", None))
    return problem_response(Unavailable("The database cannot be reached. Nothing was changed, or it is not known."))


async def _answer_internal(request: Request, error: Exception) -> Response:
    if isinstance(error, asyncpg.PostgresError):
        error.detail = None  # It quotes the row, which may hold a target: the server logs the error next.
    return problem_response(
        InternalError("Something went wrong here. The request id in the answer finds it in the log.")
    )


def _field_error(error: Mapping[str, object]) -> FieldError:
    """Turn pydantic's error into the field's path and a reason that reads on from it."""
    place, *path = error["loc"] if isinstance(error["loc"], tuple) else (error["loc"],)
    if place == "header":
        path = [str(name).title() for name in path]
    reason = str(error["msg"]).removeprefix("Value error, ")
    return FieldError(".".join(str(part) for part in path) or str(place), _REASONS.get(str(error["type"]), reason))


_REASONS = {
    "missing": "is required",
    "extra_forbidden": "is not a field that can be set",
}
