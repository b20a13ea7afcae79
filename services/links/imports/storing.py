"""Stores a slice of what an import found, in one transaction: the links, what became of each row, and how far the import is.

`stages.py` calls it. A step that is done again finds that the position has moved, and stores nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.links.domains.rows import lock_domain, select_domain, update_domain
from services.links.imported.batches import ImportedBatch, ImportedTotal
from services.links.imported.storing import store_imported
from services.links.imports.conflicts import Decision, Fate, claim_codes, decide, propose_codes
from services.links.imports.drafts import FoundDraft, FoundRoot, Refused
from services.links.imports.link_rows import (
    KnownLink,
    insert_imported,
    lock_links,
    note_checked,
    revive_links,
    set_used,
)
from services.links.imports.rows import Counts, ImportRow, RefusalRow
from services.links.imports.source_rows import NO_LINK, SourceRow, spell_before, spell_root, upsert_sources
from services.links.links.rows import update_link
from services.links.packed.imported import lock_imported_clicks
from shared.changes import insert_changes
from shared.codes import generate_code
from shared.postgres import Connection
from shared.records import LinkKey

ATTEMPTS = 10
"""If codes are taken ten times between a look and the next, there is a defect."""

Row = FoundDraft | FoundRoot | Refused


class Conflict(Exception):
    """A row is in conflict, and then nothing may be made."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(f"Line {refused.line}: {refused.reason}.")


@dataclass(slots=True)
class Stored:
    """What became of a slice.

    Attributes:
        announced: Links that redirectors may know as they were before.
        used: Visitors that limits have let through, by the links' ids.
        totals: Clicks of before.
        owned: New links with codes of their own.
    """

    made: int = 0
    found: int = 0
    replaced: int = 0
    refused: list[Refused] = field(default_factory=list)
    notices: list[RefusalRow] = field(default_factory=list)
    sources: list[SourceRow] = field(default_factory=list)
    announced: list[LinkKey] = field(default_factory=list)
    used: dict[int, int] = field(default_factory=dict)
    totals: list[ImportedTotal] = field(default_factory=list)
    owned: list[FoundDraft] = field(default_factory=list)

    def counts(self, rows: int) -> Counts:
        return Counts(
            rows_read=rows,
            made=self.made,
            found=self.found,
            replaced=self.replaced,
            refused=len(self.refused),
            notices=len(self.notices),
        )

    def note(self, found: FoundDraft, link_id: int, version: int, before: str | None = None) -> None:
        """Note a link that the import has made or replaced."""
        self.sources.append(SourceRow(found.origin, link_id, version, before))
        if found.used and before is None:
            self.used[link_id] = found.used
        if found.notices:
            self.notices.append(RefusalRow(found.line, found.input, f"Imported, but: {' '.join(found.notices)}"))


async def store_slice(conn: Connection, job: ImportRow, source: str, rows: Sequence[Row]) -> Stored:
    """Store a slice of links. `announce` is called last in the transaction.

    Args:
        conn: In a transaction.
        job: The import.
        source: Where the links are from.
        rows: The links, and what is none.

    Raises:
        Conflict: The import is to fail at the first one.
    """
    stored = Stored()
    drafts = _split(rows, stored)
    pending: Sequence[FoundDraft] = list(drafts.values())
    now = datetime.now(UTC)
    if any(draft.clicks for draft in pending):
        # Before any link is locked.
        await lock_imported_clicks(conn)
    for attempt in range(ATTEMPTS):
        if not pending:
            break
        decisions = await decide(conn, job.owner, source, job.options.on_conflict, pending, looks_closely=attempt > 0)
        pending = await _store(conn, job, now, decisions, stored)
    else:
        raise RuntimeError("codes are taken again and again")
    for row in rows:
        if isinstance(row, FoundRoot):
            await _store_root(conn, job, row, stored)
    await upsert_sources(conn, job.owner, source, job.number, stored.sources)
    if stored.totals:
        await store_imported(conn, ImportedBatch(totals=stored.totals), today=now.date(), kept_days=0)
    if stored.used:
        await set_used(conn, dict(sorted(stored.used.items())))
    return stored


async def check_slice(
    conn: Connection, job: ImportRow, source: str, rows: Sequence[Row], segmented: frozenset[str] = frozenset()
) -> Stored:
    """Find out what would become of a slice, and make nothing.

    Args:
        conn: In a transaction of a session that has `begin_checking` behind it.
        job: The import.
        source: Where the links are from.
        rows: The links, and what is none.
        segmented: Domains whose codes would have slashes by now.

    Raises:
        Conflict: The import is to fail at the first one.
    """
    stored = Stored()
    drafts = list(_split(rows, stored).values())
    fresh = await note_checked(conn, job.number, [draft.origin for draft in drafts], [draft.key for draft in drafts])
    new = [draft for draft, (is_new, _) in zip(drafts, fresh, strict=True) if is_new]
    stored.found += len(drafts) - len(new)
    first = {draft.origin for draft, (_, is_first) in zip(drafts, fresh, strict=True) if is_first}
    keeps_both = job.options.on_conflict == "keep_both"
    for decision in await decide(conn, job.owner, source, job.options.on_conflict, new, segmented=segmented):
        draft, fate, reason = decision.draft, decision.fate, decision.reason
        if fate is Fate.MAKE and draft.draft.code and draft.origin not in first:
            fate, reason = Fate.REFUSE, f"The code {draft.draft.code} is of another row of this file"
        if fate is Fate.REFUSE:
            refused = Refused(draft.line, draft.input, reason, draft.key)
            if job.options.on_conflict == "fail":
                raise Conflict(refused)
            if keeps_both:
                stored.made += 1
                stored.notices.append(RefusalRow(draft.line, draft.input, f"Would get another code: {reason}"))
            else:
                stored.refused.append(refused)
            continue
        stored.made += fate in (Fate.MAKE, Fate.REVIVE)
        stored.found += fate is Fate.FIND
        stored.replaced += fate is Fate.REPLACE
        if draft.notices:
            stored.notices.append(RefusalRow(draft.line, draft.input, f"Imported, but: {' '.join(draft.notices)}"))
    for row in rows:
        if isinstance(row, FoundRoot):
            await _check_root(conn, job, row, stored)
    return stored


async def announce(conn: Connection, changed: Sequence[LinkKey], new: Sequence[FoundDraft]) -> None:
    """Announce links that were there before, last in the transaction, and see that no new code is like one of another owner.

    New links are not announced: a million of them would be more changes than redirectors remember, and then nothing that they
    have in memory counts. They remember for 5 s at most that a code is free.

    Raises:
        Busy: Another owner has just got such a code.
    """
    if new:
        await claim_codes(conn, new, list(changed))
    elif changed:
        await insert_changes(conn, sorted(changed))


async def list_refused(conn: Connection, refused: Sequence[Refused]) -> list[RefusalRow]:
    """Return refused rows as they are listed, with other codes for those whose code is to blame."""
    proposed = await propose_codes(conn, [each.key for each in refused if each.key is not None])
    return [
        RefusalRow(each.line, each.input, each.reason, None if each.key is None else proposed[each.key])
        for each in refused
    ]


def _split(rows: Sequence[Row], stored: Stored) -> dict[str, FoundDraft]:
    """Return the drafts by their origin. One that comes twice is there already the second time."""
    drafts: dict[str, FoundDraft] = {}
    for row in rows:
        if isinstance(row, Refused):
            stored.refused.append(row)
        elif isinstance(row, FoundDraft):
            if row.origin in drafts:
                stored.found += 1
            else:
                drafts[row.origin] = row
    return drafts


async def _store(
    conn: Connection, job: ImportRow, now: datetime, decisions: Sequence[Decision], stored: Stored
) -> list[FoundDraft]:
    """Do what was decided.

    Returns:
        Drafts whose code was taken meanwhile.
    """
    by_fate: dict[Fate, list[Decision]] = {fate: [] for fate in Fate}
    for each in decisions:
        by_fate[each.fate].append(each)
    new = {
        (each.draft.draft.domain, each.draft.draft.code or generate_code()): each.draft for each in by_fate[Fate.MAKE]
    }
    new |= await _settle(conn, job, by_fate[Fate.REFUSE], stored)
    made = await insert_imported(conn, job.owner, now, new) if new else {}
    for key, link_id in made.items():
        found = new[key]
        stored.note(found, link_id, 1)
        if found.clicks:
            stored.totals.append(ImportedTotal(link_id, job.owner, found.clicks, found.bots, in_row=True))
        if found.draft.code:
            stored.owned.append(found)
    stored.made += len(made)
    stored.found += len(by_fate[Fate.FIND])
    if by_fate[Fate.REVIVE]:
        await _revive(conn, job, now, by_fate[Fate.REVIVE], stored)
    if by_fate[Fate.REPLACE]:
        await _replace(conn, by_fate[Fate.REPLACE], stored)
    return [draft for key, draft in new.items() if key not in made]


async def _settle(
    conn: Connection, job: ImportRow, conflicts: Sequence[Decision], stored: Stored
) -> dict[LinkKey, FoundDraft]:
    """Leave drafts out whose code is in use, or return them with other codes, as the import says.

    Raises:
        Conflict: The import is to fail.
    """
    if not conflicts:
        return {}
    if job.options.on_conflict == "fail":
        raise Conflict(conflicts[0].refused)
    if job.options.on_conflict != "keep_both":
        stored.refused += [each.refused for each in conflicts]
        return {}
    proposed = await propose_codes(conn, [each.draft.key for each in conflicts])
    new: dict[LinkKey, FoundDraft] = {}
    for each in conflicts:
        draft = each.draft.under(proposed[each.draft.key])
        if draft.key in new:
            draft = draft.under(generate_code())
        new[draft.key] = draft
        reason = f"Imported with another code: {each.reason}"
        stored.notices.append(RefusalRow(draft.line, draft.input, reason, draft.draft.code))
    return new


async def _revive(
    conn: Connection, job: ImportRow, now: datetime, decisions: Sequence[Decision], stored: Stored
) -> None:
    known = {each.link.key: (each.draft, each.link) for each in decisions if each.link is not None}
    revived = await revive_links(conn, job.owner, now, {key: draft for key, (draft, _) in known.items()})
    for key, (link_id, version) in revived.items():
        draft, link = known[key]
        stored.note(draft, link_id, version)
        stored.announced.append(key)
        # Undoing took them away; whoever deletes a link by hand leaves them.
        if draft.clicks and link.came is not None and link.came["import"] < 0:
            stored.totals.append(ImportedTotal(link_id, job.owner, draft.clicks, draft.bots))
        stored.made += 1


async def _replace(conn: Connection, replaced: Sequence[Decision], stored: Stored) -> None:
    """Replace the fields of links, and note what they were. One that is the same already is only found."""
    wanted: dict[int, tuple[Decision, KnownLink]] = {}
    for each in replaced:
        assert each.link is not None
        if each.link.id in wanted:
            stored.found += 1
        else:
            wanted[each.link.id] = each, each.link
    locked = await lock_links(conn, sorted(wanted))
    for decision, known in wanted.values():
        link, draft = locked.get(known.key), decision.draft
        if link is None or link.fields == draft.draft.fields:
            stored.found += 1
            continue
        changed = await update_link(conn, link.key, draft.draft.fields)
        # Of a link that has come from elsewhere before, that total stands.
        brings_clicks = draft.clicks > 0 and known.came is None and not link.imported_clicks
        stored.note(draft, link.id, changed.version, spell_before(link, known.came, brings_clicks=brings_clicks))
        if brings_clicks:
            stored.totals.append(ImportedTotal(link.id, link.owner, draft.clicks, draft.bots))
        stored.announced.append(link.key)
        stored.replaced += 1


async def _check_root(conn: Connection, job: ImportRow, root: FoundRoot, stored: Stored) -> bool:
    """Find out whether a domain can lead where it led before."""
    if not job.is_admin:
        reason = f"{root.domain} itself leads where a key with the scope admin decides (root_url)"
        stored.refused.append(Refused(root.line, root.input, reason))
        return False
    there = (await select_domain(conn, root.domain)).root_url
    if there == root.url:
        stored.found += 1
    elif there is not None:
        stored.refused.append(
            Refused(root.line, root.input, f"{root.domain} itself leads elsewhere already (root_url)")
        )
    else:
        stored.made += 1
    return there is None


async def _store_root(conn: Connection, job: ImportRow, root: FoundRoot, stored: Stored) -> None:
    if job.is_admin:
        await lock_domain(conn, root.domain)
    if await _check_root(conn, job, root, stored):
        await update_domain(conn, root.domain, {"root_url": root.url})
        stored.sources.append(SourceRow(root.origin, NO_LINK, 0, spell_root(root.domain, root.url)))
        stored.announced.append((root.domain, ""))
