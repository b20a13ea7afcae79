"""Stores the rows of a batch in one transaction, with the results that single creations in the same order would have had."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import TypeVar

from services.links.links.batch_rows import BatchRow, Outcome, Refusal, refuse
from services.links.links.creation import Wish, insert_all_generated
from services.links.links.rows import LinkFields, LinkRow, NewLink, find_links, insert_links, lock_searches
from services.links.web.errors import CodeTaken
from shared.postgres import Connection
from shared.records import LinkKey

SLICE_ROWS = 500
"""Of a statement: some 10 ms, after which others get their turn."""

T = TypeVar("T")


async def store_batch(conn: Connection, owner: str, rows: Sequence[BatchRow]) -> list[Outcome | Refusal]:
    """Store what can be stored; the caller announces the codes that rows chose themselves.

    Locks are taken in one order by batches and single creations (searches, then codes in their order, then the feed), so
    that no two wait for each other.

    Args:
        conn: In a transaction.
        owner: Of all rows.
        rows: In the order of the batch, which decides between two that want the same.

    Returns:
        A result for each row.
    """
    found = await _find_links(conn, owner, rows)
    chosen = await _insert_chosen(conn, [row.new for n, row in enumerate(rows) if n not in found and row.new.code])
    results: dict[int, Outcome | Refusal] = {n: Outcome(link, is_new=False) for n, link in found.items()}
    creators: dict[LinkKey, BatchRow] = {}
    like: dict[tuple[str, LinkFields], int] = {}
    drawn: list[int] = []
    twins: dict[int, int] = {}
    for n, row in enumerate(rows):
        if n % SLICE_ROWS == 0:
            await asyncio.sleep(0)
        if n in results:
            continue
        fingerprint = row.new.likeness
        if row.new.code:
            creator = creators.setdefault(row.new.key, row)
            results[n] = _chosen_result(row, creator, chosen.get(row.new.key))
        elif row.find_existing and fingerprint in like:
            twins[n] = like[fingerprint]
            continue
        else:
            drawn.append(n)
        if not isinstance(results.get(n), Refusal):
            like.setdefault(fingerprint, n)
    for part in _slices(drawn):
        wishes = [Wish(rows[n].new.domain, owner, rows[n].new.fields) for n in part]
        links = await insert_all_generated(conn, wishes)
        results |= {n: Outcome(link, is_new=True) for n, link in zip(part, links, strict=True)}
    for n, twin in twins.items():
        made = results[twin]
        assert isinstance(made, Outcome), "only what was created has a twin"
        results[n] = Outcome(made.link, is_new=False)
    return [results[n] for n in range(len(rows))]


async def _find_links(conn: Connection, owner: str, rows: Sequence[BatchRow]) -> dict[int, LinkRow]:
    """The links that were there before the batch, for the rows that look for one."""
    places = [n for n, row in enumerate(rows) if row.find_existing]
    found: dict[int, LinkRow] = {}
    if places:
        await lock_searches(conn, owner)
    for part in _slices(places):
        links = await find_links(conn, owner, [rows[n].new for n in part])
        found |= {part[place]: link for place, link in links.items()}
    return found


async def _insert_chosen(conn: Connection, links: Sequence[NewLink]) -> dict[LinkKey, LinkRow]:
    """Store the first link of each code that was chosen; those whose code is taken are left out."""
    first = {link.key: link for link in reversed(links)}
    stored: dict[LinkKey, LinkRow] = {}
    for part in _slices(sorted(first)):
        stored |= await insert_links(conn, [first[key] for key in part])
    return stored


def _chosen_result(row: BatchRow, creator: BatchRow, link: LinkRow | None) -> Outcome | Refusal:
    """The result of a row with a code of its own; `creator` is the first row with that code."""
    if link is not None and creator is row:
        return Outcome(link, is_new=True)
    if link is not None and row.find_existing and creator.new.likeness == row.new.likeness:
        return Outcome(link, is_new=False)
    return refuse(CodeTaken(f"The code {row.new.code} is or was in use on {row.new.domain}."))


def _slices(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), SLICE_ROWS):
        yield values[start : start + SLICE_ROWS]
