"""The engine that creates all links.

`store_links` stores drafts in the transaction of its caller; a single link is a batch of one. `Creator` is faster, and only for
new links with generated codes, the most frequent kind. It stores those that arrive while one statement runs by the next one.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import asyncpg
import structlog

from services.links.codes.stems import (
    Stemmed,
    insert_own_changes,
    insert_stems,
    is_stemmed,
    mark_domains,
    select_segmented,
    select_shadowed,
)
from services.links.codes.taken import select_taken
from services.links.links.rows import LinkDraft, LinkRow, find_links, insert_links, lock_searches
from services.links.web.errors import Busy, CodeTaken, FieldError, InvalidInput, Problem
from shared.changes import insert_changes, lock_feed
from shared.codes import generate_code
from shared.joiner import Joiner, TooManyWaiting, Waiting
from shared.postgres import UNAVAILABLE, Connection, Pool, connection
from shared.records import LinkKey

SLICE_ROWS = 500
"""The rows of a statement. They take some 10 ms, and then other requests run."""

BATCH_SIZE = 500
BATCHES_IN_FLIGHT = 2
WAITING_LIMIT = 10_000

CODE_ATTEMPTS = 10
"""If ten random codes are taken, there is a defect."""

log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The link of a draft, and whether it was created or found."""

    link: LinkRow
    is_new: bool


class NoFreeCode(Exception):
    """Every code that was drawn is taken."""


async def store_links(conn: Connection, owner: str, drafts: Sequence[LinkDraft]) -> list[Outcome | Problem]:
    """Store drafts. The outcomes are those of one creation after the other. Call `announce_links` at the end.

    All callers take the locks in one order (searches, sorted codes, then the feed), so that they cannot deadlock.

    Args:
        conn: A connection in a transaction.
        owner: The owner of all drafts.
        drafts: The drafts. If two want the same code, the first one gets it.

    Returns:
        An outcome for each draft, or the problem that its code is taken, could be taken for another one, or has slashes that
        its domain does not allow.

    Raises:
        NoFreeCode: Ten codes were drawn for a draft, all of them taken.
    """
    links = await _find_existing(conn, owner, drafts)
    first_with: dict[LinkKey, int] = {}
    for place, draft in enumerate(drafts):
        if draft.code and place not in links:
            first_with.setdefault(draft.key, place)
    chosen, problems = await _insert_chosen(conn, owner, {key: drafts[place] for key, place in first_with.items()})
    searches = any(draft.find_existing for draft in drafts)
    first_like: dict[object, int] = {}
    twins: dict[int, int] = {}
    drawn: list[int] = []
    for place, draft in enumerate(drafts):
        if place and place % SLICE_ROWS == 0:
            await asyncio.sleep(0)
        if place in links:
            continue
        likeness = draft.likeness if searches else None
        if draft.code:
            first = first_with[draft.key]
            is_same = place == first or (draft.find_existing and likeness == drafts[first].likeness)
            if draft.key not in chosen or not is_same:
                continue
            links[place] = chosen[draft.key]
        elif draft.find_existing and likeness in first_like:
            twins[place] = first_like[likeness]
            continue
        else:
            drawn.append(place)
        first_like.setdefault(likeness, place)
    for part in _slices(drawn):
        links |= zip(part, await insert_generated(conn, [drafts[place] for place in part]), strict=True)
    links |= {place: links[first] for place, first in twins.items()}
    made = {*drawn, *first_with.values()}
    return [
        Outcome(links[place], is_new=place in made)
        if place in links
        else problems.get(draft.key) or CodeTaken(f"The code {draft.code} is or was in use on {draft.domain}.")
        for place, draft in enumerate(drafts)
    ]


async def announce_links(
    conn: Connection, drafts: Sequence[LinkDraft], outcomes: Sequence[Outcome | Problem], *, are_free: bool = False
) -> None:
    """Announce new links with chosen codes, last in the transaction. Redirectors may remember that there was none.

    Args:
        conn: In the transaction of `store_links`.
        drafts: All of one owner.
        outcomes: What `store_links` returned for them.
        are_free: Whether nobody has to hear of codes that were free, because they may stay unknown for five seconds.

    Raises:
        CodeTaken: Another transaction has just stored a code for which this one could be taken.
        Busy: The same, for one of several codes.
    """
    chosen = [
        outcome.link
        for draft, outcome in zip(drafts, outcomes, strict=True)
        if draft.code and isinstance(outcome, Outcome) and outcome.is_new
    ]
    if not chosen:
        return
    owner = chosen[0].owner
    stemmed = _stemmed((link.key, link.folds_case) for link in chosen)
    changed = await mark_domains(conn, stemmed) if stemmed else []
    await lock_feed(conn)
    # Whoever was faster has committed, and is seen now. A code that was drawn is nobody's before.
    is_late = bool(stemmed and await select_shadowed(conn, owner, stemmed))
    keys = [link.key for link in chosen]
    looked_at = {each.key for each in stemmed}
    others = [key for key in keys if key not in looked_at]
    if is_late or not await insert_own_changes(conn, [owner] * len(others), others, announced=[] if are_free else keys):
        raise (
            _shadowed(chosen[0].key)
            if len(drafts) == 1
            else Busy("Codes that could be taken for each other are being stored.")
        )
    if changed:
        await insert_changes(conn, changed)


async def insert_drawn(
    conn: Connection, drafts: Sequence[LinkDraft], draw: Callable[[], str] = generate_code
) -> list[LinkRow | None]:
    """Draw a code for each draft and store them all in one statement.

    Returns:
        A row for each draft, or None where the code that was drawn is taken.
    """
    # If two drafts of one batch draw the same code, the later one gets it.
    places = {(draft.domain, draw()): place for place, draft in enumerate(drafts)}
    stored = await insert_links(conn, {key: drafts[place] for key, place in places.items()})
    rows: list[LinkRow | None] = [None] * len(drafts)
    for key, row in stored.items():
        rows[places[key]] = row
    return rows


async def insert_generated(
    conn: Connection, drafts: Sequence[LinkDraft], draw: Callable[[], str] = generate_code
) -> list[LinkRow]:
    """Store links under generated codes, as a part of the caller's transaction; a row for each draft.

    Raises:
        NoFreeCode: Ten codes were drawn for a draft, all of them taken.
    """
    rows: dict[int, LinkRow] = {}
    for _ in range(CODE_ATTEMPTS):
        left = [place for place in range(len(drafts)) if place not in rows]
        if not left:
            return [rows[place] for place in range(len(drafts))]
        stored = await insert_drawn(conn, [drafts[place] for place in left], draw)
        rows |= {place: row for place, row in zip(left, stored, strict=True) if row is not None}
    raise NoFreeCode


async def _find_existing(conn: Connection, owner: str, drafts: Sequence[LinkDraft]) -> dict[int, LinkRow]:
    """Find the existing links of the drafts with `find_existing`, by the places of the drafts."""
    places = [place for place, draft in enumerate(drafts) if draft.find_existing]
    links: dict[int, LinkRow] = {}
    if places:
        await lock_searches(conn, owner, {drafts[place].fields.url for place in places})
    for part in _slices(places):
        found = await find_links(conn, owner, [drafts[place] for place in part])
        links |= {part[place]: link for place, link in found.items()}
    return links


async def _insert_chosen(
    conn: Connection, owner: str, drafts: Mapping[LinkKey, LinkDraft]
) -> tuple[dict[LinkKey, LinkRow], dict[LinkKey, Problem]]:
    """Store drafts under their chosen codes.

    Returns:
        The links that were stored, and why the others were not; a code without a reason is taken.
    """
    stored: dict[LinkKey, LinkRow] = {}
    problems: dict[LinkKey, Problem] = {}
    for part in _slices(sorted(drafts)):
        stemmed = _stemmed((key, drafts[key].folds_case) for key in part)
        if stemmed:
            problems |= await _find_problems(conn, owner, stemmed)
        stored |= await insert_links(conn, {key: drafts[key] for key in part if key not in problems})
        if new := [each for each in stemmed if each.key in stored]:
            await insert_stems(conn, owner, new)
        if left := [key for key in part if key not in stored and key not in problems]:
            taken = await select_taken(conn, left)
            problems |= {key: _shadowed(key) for key in left if key not in taken}
    return stored, problems


async def _find_problems(conn: Connection, owner: str, codes: Sequence[Stemmed]) -> dict[LinkKey, Problem]:
    """Find what is wrong with codes that are more than their stem."""
    segmented = {each.domain for each in codes if "/" in each.code}
    if segmented:
        segmented -= await select_segmented(conn, segmented)
    shadowed = await select_shadowed(conn, owner, codes)
    refused = {each.key: _segmented(each.domain) for each in codes if "/" in each.code and each.domain in segmented}
    return {key: _shadowed(key) for key in shadowed} | refused


def _stemmed(codes: Iterable[tuple[LinkKey, bool]]) -> list[Stemmed]:
    return [Stemmed(*key, folds_case) for key, folds_case in codes if is_stemmed(key[1], folds_case=folds_case)]


def _shadowed(key: LinkKey) -> Problem:
    domain, code = key
    return CodeTaken(
        f"The code {code} could be taken for one that another owner has or had on {domain}, or that one for it."
    )


def _segmented(domain: str) -> Problem:
    return InvalidInput(FieldError("code", f"must not have a slash: the codes of {domain} have one segment"))


def _slices(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), SLICE_ROWS):
        yield values[start : start + SLICE_ROWS]


class Creator:
    """Creates links with generated codes together (`shared/joiner.py`). At most two statements run at once.

    Args:
        pool: The connections.
        waiting_limit: The most creations that wait.
        draw: Makes a code.
    """

    def __init__(
        self, pool: Pool, *, waiting_limit: int = WAITING_LIMIT, draw: Callable[[], str] = generate_code
    ) -> None:
        self._pool = pool
        self._draw = draw
        self._joiner: Joiner[LinkDraft, LinkRow] = Joiner(
            self._store_batch,
            batches_in_flight=BATCHES_IN_FLIGHT,
            batch_size=BATCH_SIZE,
            waiting_limit=waiting_limit,
        )

    async def create(self, draft: LinkDraft) -> LinkRow:
        """Store a link under a generated code. When this returns, the link is committed.

        Raises:
            Busy: Too many wait already.
        """
        try:
            created = self._joiner.join(draft)
        except TooManyWaiting:
            raise Busy("Too many links are being created at once.") from None
        return await created

    async def _store_batch(self, batch: Sequence[Waiting[LinkDraft, LinkRow]]) -> None:
        """Store a batch. If Postgres refuses it, store the links one by one, so that only the bad one fails."""
        try:
            for _ in range(CODE_ATTEMPTS):
                batch = await self._store(batch)
                if not batch:
                    return
            raise NoFreeCode
        except asyncpg.PostgresError as error:
            # If the server is away, the batch may have been committed. A second try could store every link twice.
            if isinstance(error, UNAVAILABLE) or len(batch) == 1:
                raise
            log.warning("batch_refused", links=len(batch), error=type(error).__name__)
        for each in batch:
            await self._joiner.run([each])

    async def _store(self, batch: Sequence[Waiting[LinkDraft, LinkRow]]) -> list[Waiting[LinkDraft, LinkRow]]:
        """Store a batch in one statement, which is its own transaction.

        Returns:
            The drafts that need another code.
        """
        async with connection(self._pool) as conn:
            rows = await insert_drawn(conn, [draft for draft, _ in batch], self._draw)
        for (_, future), row in zip(batch, rows, strict=True):
            if row is not None and not future.done():
                future.set_result(row)
        return [waiting for waiting, row in zip(batch, rows, strict=True) if row is None]
