"""Reads the rows of a batch, checks each like the body of one creation, and writes the answer.

Nothing here waits or uses the database; `creation.py` stores the links.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from pydantic import ValidationError

from services.links.links.checks import new_draft
from services.links.links.creation import Outcome
from services.links.links.forms import LinkIn, link_out
from services.links.links.rows import LinkDraft
from services.links.site import Site
from services.links.web.bodies import LARGEST_BODY, check_entries, parse_json
from services.links.web.errors import (
    LONGEST_NAME,
    BodyTooLarge,
    Busy,
    FieldError,
    InvalidInput,
    Problem,
    invalid_input,
    problem_json,
)
from services.links.web.hashing import hash_password
from shared.api import MOST_PASSWORDS, MOST_ROWS

MOST_BRACKETS = 20 * MOST_ROWS
"""The most objects and lists of a row. With millions of them the parser would stop the process for seconds."""

MOST_ERRORS = 20
"""The most errors of a row, and of the rest of the body. Unknown fields could make an answer of ten times the size."""

HASHING_S = 3.0
"""The time for the passwords of a batch. There are at most `MOST_PASSWORDS`, which takes a second on an idle processor."""

MOST_PROBLEMS_BYTES = 2**20
"""The bytes of all problems of a batch, after which a row names only one field."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that failed, with its problem as JSON."""

    status: int
    problem: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of a body in their order, and a digest, which is the same for the same request."""

    rows: list[LinkDraft | Refusal]
    digest: bytes


def read_batch(body: bytes, site: Site, owner: str) -> Batch:
    """Read a body and check each row. A wrong row becomes a refusal and does not stop the others.

    Raises:
        MalformedJson: It is no JSON.
        InvalidInput: It is no object with a list `links` of at most 10,000 rows.
    """
    if body.count(b"[") + body.count(b"{") > MOST_BRACKETS:
        raise InvalidInput(FieldError("links", "holds too many lists and objects"))
    links = _check_envelope(parse_json(body))
    digest = hashlib.sha256()
    problems = passwords = 0
    rows: list[LinkDraft | Refusal] = []
    for link in links:
        spelled = json.dumps(link, ensure_ascii=False, sort_keys=True).encode()
        digested = _disguise_password(link, spelled, site)
        digest.update(b"%d:%b" % (len(digested), digested))
        if len(spelled) > LARGEST_BODY:
            row: LinkDraft | Refusal = refuse(BodyTooLarge(f"A row must not be larger than {LARGEST_BODY} bytes."))
        else:
            row = _read_row(link, site, owner, most=1 if problems > MOST_PROBLEMS_BYTES else MOST_ERRORS)
        if isinstance(row, LinkDraft) and row.password is not None:
            passwords += 1
            if passwords > MOST_PASSWORDS:
                row = refuse(
                    InvalidInput(FieldError("password", f"is in more than {MOST_PASSWORDS} rows of this batch"))
                )
        rows.append(row)
        problems += len(row.problem) if isinstance(row, Refusal) else 0
    return Batch(rows, digest.digest())


def hash_passwords(rows: Sequence[LinkDraft | Refusal], time_s: float = HASHING_S) -> list[LinkDraft | Refusal]:
    """Hash the passwords of rows, one after the other. Rows for which there is no time are refused."""
    until = monotonic() + time_s
    hashed: list[LinkDraft | Refusal] = []
    for row in rows:
        if isinstance(row, Refusal) or row.password is None:
            hashed.append(row)
        elif monotonic() < until:
            hashed.append(row.hashed(hash_password(row.password.get_secret_value())))
        else:
            hashed.append(refuse(Busy("There was no time to hash the password of this row. Send it again.")))
    return hashed


def refuse(problem: Problem) -> Refusal:
    return Refusal(problem.status.value, problem_json(problem))


def write_answer(results: Sequence[Outcome | Refusal], site: Site) -> str:
    """Write the answer: a result for each row, in the same order."""
    created = sum(isinstance(result, Outcome) and result.is_new for result in results)
    failed = sum(isinstance(result, Refusal) for result in results)
    texts = [_result(index, result, site) for index, result in enumerate(results)]
    found = len(results) - created - failed
    return f'{{"created": {created}, "found": {found}, "failed": {failed}, "results": [{", ".join(texts)}]}}'


def _check_envelope(value: object) -> list[object]:
    if not isinstance(value, dict):
        raise InvalidInput(FieldError("body", "must be an object with the field links"))
    unknown = [FieldError(name[:LONGEST_NAME], "is not a field that can be set") for name in value if name != "links"]
    if unknown:
        raise InvalidInput(*unknown[:MOST_ERRORS])
    if "links" not in value:
        raise InvalidInput(FieldError("links", "is required"))
    links = value["links"]
    if not isinstance(links, list):
        raise InvalidInput(FieldError("links", "must be a list of links"))
    if len(links) > MOST_ROWS:
        raise InvalidInput(FieldError("links", f"must not be more than {MOST_ROWS} links, and is {len(links)}"))
    return links


def _read_row(value: object, site: Site, owner: str, most: int) -> LinkDraft | Refusal:
    try:
        check_entries(value)
        form = LinkIn.model_validate(value)
        return new_draft(form, owner, site)
    except ValidationError as error:
        return refuse(invalid_input(error, most=most))
    except Problem as problem:
        return refuse(problem)


def _disguise_password(link: object, spelled: bytes, site: Site) -> bytes:
    """Return a row as the digest has it, which is stored: nobody may guess a password from it."""
    if not isinstance(link, dict) or link.get("password") is None:
        return spelled
    bare = json.dumps({**link, "password": None}, ensure_ascii=False, sort_keys=True)
    return bare.encode() + site.disguise(json.dumps(link["password"]))


def _result(index: int, result: Outcome | Refusal, site: Site) -> str:
    if isinstance(result, Refusal):
        return f'{{"index": {index}, "status": {result.status}, "problem": {result.problem}}}'
    status = 201 if result.is_new else 200
    link = link_out(result.link, site.short_url(result.link.key)).model_dump_json()
    return f'{{"index": {index}, "status": {status}, "link": {link}}}'
