"""Decides what becomes of a draft: it is new, there already, back again, a replacement, or in conflict with another link.

A dry run only asks here; `storing.py` also does what was decided.
"""

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from enum import Enum, auto

from services.links.codes.stems import (
    Stemmed,
    insert_own_changes,
    insert_stems,
    is_stemmed,
    mark_domains,
    select_segmented,
    select_shadowed,
)
from services.links.imports.drafts import FoundDraft, Refused
from services.links.imports.forms import OnConflict
from services.links.imports.link_rows import KnownLink, select_known
from services.links.imports.source_rows import select_by_origin
from services.links.web.errors import Busy
from shared.changes import lock_feed
from shared.codes import generate_code, is_code, is_reserved
from shared.postgres import Connection
from shared.records import LinkKey

LONGEST_PROPOSED = 60
TRIED_NUMBERS = range(2, 10)

_no_code = re.compile(r"[^0-9A-Za-z_-]+")


class Fate(Enum):
    """What becomes of a draft."""

    MAKE = auto()
    FIND = auto()
    REVIVE = auto()
    REPLACE = auto()
    REFUSE = auto()


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a draft.

    Attributes:
        link: The link that is there, or that has the code.
        reason: Why it is refused.
    """

    draft: FoundDraft
    fate: Fate
    link: KnownLink | None = None
    reason: str = ""

    @property
    def refused(self) -> Refused:
        return Refused(self.draft.line, self.draft.input, self.reason, self.draft.key)


async def decide(
    conn: Connection,
    owner: str,
    source: str,
    on_conflict: OnConflict,
    drafts: Sequence[FoundDraft],
    *,
    looks_closely: bool = False,
    segmented: Set[str] = frozenset(),
) -> list[Decision]:
    """Decide about drafts of different origins. Another owner's link is never touched.

    Args:
        conn: Any connection.
        owner: The owner of the import.
        source: Where the drafts are from.
        on_conflict: What becomes of one whose code is in use.
        drafts: Of two with the same code, the first one gets it.
        looks_closely: Whether any of the codes may be like one of another owner; else only those that are seldom.
        segmented: Domains whose codes may have slashes soon.
    """
    imported = await select_by_origin(conn, owner, source, [draft.origin for draft in drafts])
    known = await select_known(conn, list({draft.key for draft in drafts if draft.draft.code}))
    alike = await _find_alike(conn, owner, drafts, segmented, looks_closely=looks_closely)
    decisions: list[Decision] = []
    taken: set[LinkKey] = set()
    for draft in drafts:
        came, there = imported.get(draft.origin), known.get(draft.key) if draft.draft.code else None
        if came is not None and came.owner != draft.draft.owner:
            came = None
        if came is not None and came.deleted:
            decisions.append(Decision(draft, Fate.REVIVE, came))
        elif came is not None:
            fate = Fate.REPLACE if on_conflict == "replace" else Fate.FIND
            decisions.append(Decision(draft, fate, came))
        elif there is not None:
            decisions.append(_decide_taken(draft, there, draft.draft.owner, on_conflict))
        elif reason := alike.get(draft.key):
            decisions.append(Decision(draft, Fate.REFUSE, None, reason))
        elif draft.draft.code and draft.key in taken:
            decisions.append(Decision(draft, Fate.REFUSE, None, f"{_name(draft)} is of another row of this file"))
        else:
            decisions.append(Decision(draft, Fate.MAKE))
            if draft.draft.code:
                taken.add(draft.key)
    return decisions


async def claim_codes(conn: Connection, owner: str, new: Sequence[FoundDraft], changed: list[LinkKey]) -> None:
    """Store what finds codes that could be taken for each other, and announce changes, last in the transaction.

    Raises:
        Busy: Another owner has just got a code that one of these could be taken for.
    """
    stemmed = _stemmed(new)
    if stemmed:
        await insert_stems(conn, owner, stemmed)
        changed += await mark_domains(conn, stemmed)
    await lock_feed(conn)
    # Whoever was faster has committed, and is seen now.
    is_late = bool(stemmed and await select_shadowed(conn, owner, stemmed))
    if is_late or not await insert_own_changes(conn, owner, [each.key for each in new], announced=sorted(changed)):
        raise Busy("Codes that could be taken for each other are being stored.")


async def _find_alike(
    conn: Connection, owner: str, drafts: Sequence[FoundDraft], segmented: Set[str], *, looks_closely: bool
) -> dict[LinkKey, str]:
    """Find the codes that could be taken for one of another owner, or have slashes that their domain does not allow."""
    looked_at = [_stem(each) for each in drafts if each.draft.code] if looks_closely else _stemmed(drafts)
    if not looked_at:
        return {}
    shadowed = await select_shadowed(conn, owner, looked_at)
    slashed = {each.domain for each in looked_at if "/" in each.code}
    slashed -= segmented | await select_segmented(conn, slashed)
    reasons = {
        (d, c): f"The code {c} on {d} could be taken for one of another owner, or that one for it" for d, c in shadowed
    }
    return reasons | {
        each.key: f"The code {each.code} has a slash, and codes of {each.domain} have none (multi_segment)"
        for each in looked_at
        if "/" in each.code and each.domain in slashed
    }


def _stem(draft: FoundDraft) -> Stemmed:
    return Stemmed(*draft.key, draft.folds_case)


def _stemmed(drafts: Sequence[FoundDraft]) -> list[Stemmed]:
    return [
        _stem(each) for each in drafts if each.draft.code and is_stemmed(each.draft.code, folds_case=each.folds_case)
    ]


def _decide_taken(draft: FoundDraft, there: KnownLink, owner: str, on_conflict: OnConflict) -> Decision:
    if there.deleted:
        reason = f"{_name(draft)} was once of a link that was deleted here, so that no other link gets it"
    elif there.owner != owner:
        reason = f"{_name(draft)} is in use"
    elif on_conflict == "replace":
        return Decision(draft, Fate.REPLACE, there)
    elif there.url == draft.draft.fields.url:
        return Decision(draft, Fate.FIND, there)
    else:
        reason = f"{_name(draft)} is in use by a link of yours that leads elsewhere"
    return Decision(draft, Fate.REFUSE, there, reason)


async def propose_codes(conn: Connection, keys: Iterable[LinkKey]) -> dict[LinkKey, str]:
    """Propose for each key a code that is free on its domain now."""
    wanted = dict.fromkeys(keys)
    candidates = {key: list(_candidates(key[1])) for key in wanted}
    used: set[LinkKey] = set(
        await select_known(conn, [(key[0], code) for key, codes in candidates.items() for code in codes])
    )
    proposed: dict[LinkKey, str] = {}
    for key, codes in candidates.items():
        code = next((code for code in codes if (key[0], code) not in used), None) or generate_code()
        used.add((key[0], code))
        proposed[key] = code
    return proposed


def _candidates(code: str) -> Iterable[str]:
    plain = _no_code.sub("-", code).strip("-")[:LONGEST_PROPOSED] or "link"
    if plain != code and is_code(plain) and not is_reserved(plain):
        yield plain
    for number in TRIED_NUMBERS:
        yield f"{plain}-{number}"


def _name(draft: FoundDraft) -> str:
    return f"The code {draft.draft.code} on {draft.draft.domain}"
