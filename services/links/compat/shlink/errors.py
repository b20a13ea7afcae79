"""Errors as Shlink writes them: problem+json whose `type` clients compare, and extra members that they read.

`routes.py` asks for the problem of whatever an operation raised. What Shlink has no name for keeps ours: clients show `detail`.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from starlette.responses import Response

from services.links.web.errors import (
    CodeTaken,
    InvalidInput,
    MalformedJson,
    NotFound,
    Problem,
    find_problem,
    problem_response,
)

TYPES = "https://shlink.io/api/error/"

MEMBERS = {
    "url": "longUrl",
    "code": "customSlug",
    "valid_from": "validSince",
    "expires_at": "validUntil",
    "max_clicks": "maxVisits",
    "forward_query": "forwardQuery",
    "rules": "redirectRules",
    "root_url": "baseUrlRedirect",
    "not_found_url": "invalidShortUrlRedirect",
    "expired_url": "invalidShortUrlRedirect",
}
"""What Shlink calls our fields; the others have one name on both sides."""


class ShlinkProblem(Problem):
    """A problem of Shlink's.

    Args:
        slug: The end of its type.
        status: Of the answer.
        title: Of the problem.
        detail: A sentence for the client.
        members: What it has besides.
    """

    def __init__(self, slug: str, status: HTTPStatus, title: str, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.kind, self.status, self.title, self.members = slug, status, title, members


def invalid_data(problem: InvalidInput) -> ShlinkProblem:
    """Tell which members are wrong, by Shlink's names for them."""
    reasons: dict[str, str] = {}
    for error in problem.errors:
        first, _, rest = error.field.partition(".")
        name = MEMBERS.get(first, first)
        reasons.setdefault(name, f"{name}{'.' if rest else ''}{rest} {error.reason}")
    return ShlinkProblem(
        "invalid-data",
        HTTPStatus.BAD_REQUEST,
        "Invalid data",
        f"Provided data is not valid: {'; '.join(reasons.values())}",
        invalidElements=list(reasons),
    )


def tag_not_found(tag: str) -> ShlinkProblem:
    return ShlinkProblem("tag-not-found", HTTPStatus.NOT_FOUND, "Tag not found", f"There is no tag {tag!r}.", tag=tag)


def domain_not_found(authority: str) -> ShlinkProblem:
    return ShlinkProblem(
        "domain-not-found",
        HTTPStatus.NOT_FOUND,
        "Domain not found",
        f"There is no domain {authority!r}.",
        authority=authority,
    )


def missing_key(where: str, **expected: object) -> ShlinkProblem:
    """The problem of a request without a key; both tell where one belongs, in words and as Shlink's members."""
    return ShlinkProblem(
        "missing-authentication",
        HTTPStatus.UNAUTHORIZED,
        "Invalid authorization",
        f"Expected an API key in {where}.",
        **expected,
    )


def wrong_key() -> ShlinkProblem:
    return ShlinkProblem(
        "invalid-api-key",
        HTTPStatus.UNAUTHORIZED,
        "Invalid API key",
        "Provided API key does not exist or is invalid.",
    )


def answer_problem(error: Exception, request: Request, sent: Mapping[str, object]) -> Response:
    """Return the answer to what an operation raised.

    Args:
        error: The exception.
        request: Its path names a short URL, or none.
        sent: The body, which names the slug of a new one.
    """
    problem = find_problem(error)
    if isinstance(problem, InvalidInput):
        problem = invalid_data(problem)
    elif isinstance(problem, CodeTaken):
        members = _named("customSlug", sent.get("customSlug"), sent.get("domain"))
        detail = f"Provided slug {sent.get('customSlug')!r} is already in use, or was."
        problem = ShlinkProblem("non-unique-slug", HTTPStatus.BAD_REQUEST, "Invalid custom slug", detail, **members)
    elif isinstance(problem, MalformedJson):
        problem = ShlinkProblem(
            "malformed-request-body", HTTPStatus.BAD_REQUEST, "Malformed request body", problem.detail
        )
    elif isinstance(problem, NotFound) and "code" in request.path_params:
        code = request.path_params["code"]
        members = _named("shortCode", code, request.query_params.get("domain"))
        problem = ShlinkProblem(
            "short-url-not-found",
            HTTPStatus.NOT_FOUND,
            "Short URL not found",
            f"No URL found with short code {code!r}.",
            **members,
        )
    if not isinstance(problem, ShlinkProblem):
        return problem_response(problem)
    body = {
        "type": TYPES + problem.kind,
        "title": problem.title,
        "detail": problem.detail,
        "status": problem.status.value,
        **problem.members,
    }
    return Response(json.dumps(body), problem.status, media_type="application/problem+json")


def _named(member: str, value: Any, domain: Any) -> dict[str, object]:
    return {member: value, **({"domain": domain} if domain else {})}
