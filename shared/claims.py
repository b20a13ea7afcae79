"""The contract of claims: redirect asks links, for each visitor of a limited link, whether the visitor may pass.

`services/redirect/owner/claims.py` asks, and `services/links/claims/` answers. A request is a line for each claim, and
its answer a digit for each of them.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from shared.records import LARGEST_BIGINT

PATH = "/internal/claims"
MOST_CLAIMS = 500
"""In a request."""

LARGEST_CLAIMS_BYTES = MOST_CLAIMS * 85

_match_request_id = re.compile(r"[0-9A-Za-z_-]{1,64}").fullmatch
_match_line = re.compile(r"([0-9]{1,19}) ([0-9A-Za-z_-]{1,64})").fullmatch


class Claim(NamedTuple):
    """A visitor at a limited link. The request id is nginx's: the same if it tries one visit at several redirectors."""

    link_id: int
    request_id: str


def is_request_id(text: str) -> bool:
    return _match_request_id(text) is not None


def write_claims(claims: Sequence[Claim]) -> bytes:
    return "\n".join(f"{link_id} {request_id}" for link_id, request_id in claims).encode()


def read_claims(body: bytes) -> list[Claim]:
    """Read what `write_claims` wrote.

    Raises:
        ValueError: It is something else.
    """
    matches = list(map(_match_line, body.decode("ascii").split("\n")))
    claims = [Claim(int(match[1]), match[2]) for match in matches if match is not None]
    if len(claims) < len(matches) or len(claims) > MOST_CLAIMS or any(each.link_id > LARGEST_BIGINT for each in claims):
        raise ValueError("not claims")
    return claims


def write_verdicts(verdicts: Sequence[bool]) -> bytes:
    """Write whether each claim of a request was granted, in their order."""
    return b"".join(b"1" if verdict else b"0" for verdict in verdicts)


def read_verdicts(body: bytes, count: int) -> list[bool]:
    """Read what `write_verdicts` wrote.

    Raises:
        ValueError: It is something else, or of another number of claims.
    """
    if len(body) != count or body.strip(b"01"):
        raise ValueError("not the verdicts of these claims")
    return [digit == ord("1") for digit in body]
