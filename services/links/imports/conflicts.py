"""Decides what becomes of a draft: it is new, there already, back again, a replacement, or in conflict with another link.

A dry run only asks here; `storing.py` also does what was decided.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from services.links.imports.drafts import FoundDraft, Refused
from services.links.imports.forms import OnConflict
from services.links.imports.link_rows import KnownLink, select_by_origin, select_known
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
    conn: Connection, owner: str, source: str, on_conflict: OnConflict, drafts: Sequence[FoundDraft]
) -> list[Decision]:
    """Decide about drafts of different origins. Another owner's link is never touched.

    Args:
        conn: Any connection.
        owner: The owner of the import.
        source: Where the drafts are from.
        on_conflict: What becomes of one whose code is in use.
        drafts: Of two with the same code, the first one gets it.
    """
    imported = await select_by_origin(conn, owner, source, [draft.origin for draft in drafts])
    known = await select_known(conn, list({draft.key for draft in drafts if draft.draft.code}))
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
        elif draft.draft.code and draft.key in taken:
            decisions.append(Decision(draft, Fate.REFUSE, None, f"{_name(draft)} is of another row of this file"))
        else:
            decisions.append(Decision(draft, Fate.MAKE))
            if draft.draft.code:
                taken.add(draft.key)
    return decisions


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
