"""Reads what a path may ask for: at most two codes, which are looked up in one round trip. The first that is a link's wins.

`visits.py` asks here. The exact code comes first, then what else the path may mean: a code and what was copied along with it, a
preview, a code and a path to pass on, or the same code in lower case.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from services.redirect.domains.decisions import Domain
from shared.codes import (
    CODE_PATTERN,
    LONGEST_TRAIL,
    OWN_PATHS,
    TAIL_MARKS,
    TRAILING,
    fold_code,
    is_code,
    is_own_path,
    unicode_form,
)

MOST_CANDIDATES = 2

_TAILS = tuple(TAIL_MARKS)

_match_ordinary = re.compile(f"/({CODE_PATTERN})".encode()).fullmatch


class Asked(NamedTuple):
    """What a path may ask for.

    Attributes:
        rest: What follows the code, as received.
        may_trail: Whether all of the rest may have been copied along with the code.
        is_folded: Whether only a link is meant that visitors may write in any case.
    """

    code: str
    rest: bytes = b""
    may_trail: bool = False
    is_preview: bool = False
    is_folded: bool = False


def candidates(raw_path: bytes, domain: Domain) -> list[Asked]:
    """Return what a path may ask for, the likeliest first; nothing if it can be no link's.

    Args:
        raw_path: As received, with its first slash.
        domain: What is known of the codes of the domain: what none of them has is not looked for.
    """
    ordinary = _match_ordinary(raw_path)
    if ordinary and not domain.has_folding_codes:
        code = ordinary[1].decode()
        return [] if code.lower() in OWN_PATHS else [Asked(code)]
    first, _, more = raw_path[1:].partition(b"/")
    rest = b"/" + more if more else b""
    head = _decode(first)
    if head is None or is_own_path(head):
        return []
    # What a link passes on may have any bytes.
    whole = _decode(raw_path[1:]) if len(first) < len(raw_path) - 1 else head
    exact = [each for each in _read(whole, domain) if _can_be(each.code, domain)] if whole is not None else []
    # A link that passes paths on gets what only seems to trail its code.
    found = [each._replace(rest=rest) if each.code == head else each for each in exact]
    if (domain.multi_segment or not found) and more and "/" not in head and _can_be(head, domain):
        found += [Asked(head, rest)] if all(each.code != head for each in found) else []
    if domain.has_folding_codes and found and len(exact) < MOST_CANDIDATES:
        folded = _fold(found[0].code)
        if folded != found[0].code:
            found.insert(1, found[0]._replace(code=folded, is_folded=True))
    return found[:MOST_CANDIDATES]


def _decode(sent: bytes) -> str | None:
    try:
        return unicode_form(unquote_to_bytes(sent).decode())
    except ValueError:
        return None


def _fold(code: str) -> str:
    try:
        return fold_code(code)
    except ValueError:
        # A letter may become one with marks, and these too many: no link that folds case has such a code.
        return code


def _read(text: str, domain: Domain) -> Iterator[Asked]:
    """Read a text as one code, with what was copied along, or with the plus of a preview."""
    bare = text.rstrip(TRAILING)
    trail = text[len(bare) :]
    marks = trail[: len(trail) - len(trail.lstrip(TAIL_MARKS))] if domain.has_tail_codes else ""
    if len(trail) - len(marks) > LONGEST_TRAIL:
        return
    if marks:
        yield Asked(bare + marks, may_trail=True)
        if len(trail) <= LONGEST_TRAIL:
            yield Asked(bare, may_trail=True)
        return
    if domain.has_tail_codes or not bare.endswith("+"):
        yield Asked(bare, may_trail=True)
    if bare.endswith("+"):
        yield Asked(bare[:-1], is_preview=True)


def _can_be(code: str, domain: Domain) -> bool:
    """Tell whether the domain may have a link with this code."""
    return (
        (domain.multi_segment or "/" not in code)
        and (domain.has_tail_codes or not code.endswith(_TAILS))
        and is_code(code)
        and not is_own_path(code)
    )
