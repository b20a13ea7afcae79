"""Takes all imported clicks of links away again, in bounded steps: counts, raw clicks, and those without a date.

An import that is undone, or that replaced links, asks for it; so does `erasing.py`, where the clicks of a link are erased. Own
clicks stay as they are.
"""

from collections.abc import Mapping, Sequence

from services.links.packed.days import MOST_VALUES_OF_OWNER, DayCounts
from services.links.packed.imported import (
    NO_PEOPLE,
    People,
    add_imported,
    add_undated,
    delete_imported_days,
    delete_imported_days_of_owners,
    delete_undated,
    lock_imported_clicks,
    select_dated,
    select_imported_days,
    select_undated,
    write_imported_days,
)
from shared.postgres import Connection

STEP_DAYS = 1_000
"""Days of links that are taken away at once: some tenths of a second."""

STEP_LINKS = 500


async def take_imported(conn: Connection, link_ids: Sequence[int], *, step_days: int = STEP_DAYS) -> bool:
    """Take imported clicks away from links, deleted ones included, and from their owners.

    An owner's unique visitors of a day go with the last of its clicks: until then they may have followed other links.

    Args:
        conn: In a transaction, which should end soon.
        link_ids: Some hundred links at most.
        step_days: So many days of theirs at most.

    Returns:
        Whether there is more; call it again then.
    """
    await lock_imported_clicks(conn)
    owners = await _select_owners(conn, link_ids)
    less, is_more = await _take_days(conn, owners, step_days)
    if not is_more:
        undated = await select_undated(conn, list(owners))
        of_owners: dict[str, People] = {}
        for link, each in undated.items():
            less[link] = less.get(link, NO_PEOPLE).minus(each)
            of_owners[owners[link]] = of_owners.get(owners[link], NO_PEOPLE).minus(each)
        await add_undated(conn, {}, of_owners)
        await delete_undated(conn, list(owners))
    await add_imported(conn, less)
    return is_more


async def take_dates(conn: Connection, import_number: int, *, step_days: int = STEP_DAYS) -> bool:
    """Let clicks be without a date again that had theirs by the visits of an import. Totals stay as they are.

    Args:
        conn: In a transaction, which should end soon.
        import_number: The import.
        step_days: So many days of links at most.

    Returns:
        Whether there was anything; call it again then.
    """
    await lock_imported_clicks(conn)
    link_ids = await select_dated(conn, import_number, STEP_LINKS)
    owners = await _select_owners(conn, link_ids)
    less, is_more = await _take_days(conn, owners, step_days)
    of_links = {link: NO_PEOPLE.minus(each) for link, each in less.items()}
    of_owners: dict[str, People] = {}
    for link, each in of_links.items():
        of_owners[owners[link]] = of_owners.get(owners[link], NO_PEOPLE).plus(each)
    await add_undated(conn, of_links, of_owners)
    if not is_more:
        # All of them are without one now.
        await delete_undated(conn, link_ids)
    return bool(link_ids)


async def _select_owners(conn: Connection, link_ids: Sequence[int]) -> dict[int, str]:
    rows = await conn.fetch("SELECT id, owner FROM links WHERE id = ANY ($1)", link_ids)
    return {row["id"]: row["owner"] for row in rows}


async def _take_days(conn: Connection, owners: Mapping[int, str], step_days: int) -> tuple[dict[int, People], bool]:
    """Take imported days away from links and their owners.

    Returns:
        How many clicks less links have, below 0, and whether there is more.
    """
    taken = await delete_imported_days(conn, list(owners), step_days)
    kept = await select_imported_days(conn, {(owners[link], day): None for link, day, _ in taken})
    less: dict[int, People] = {}
    spans: list[tuple[int, int, int, int]] = []
    for link, day, counts in taken:
        whose = owners[link], day
        kept.setdefault(whose, DayCounts()).subtract(counts, MOST_VALUES_OF_OWNER)
        less[link] = less.get(link, NO_PEOPLE).minus(People(counts.clicks(False), counts.clicks(True)))
        spans += [(link, day, first, last) for first, last in counts.chunks()]
    gone = [(owner, day) for (owner, day), counts in kept.items() if isinstance(owner, str) and counts.is_empty()]
    await delete_imported_days_of_owners(conn, gone)
    await write_imported_days(conn, {whose: counts for whose, counts in kept.items() if whose not in set(gone)})
    await conn.executemany(
        """
        INSERT INTO imported_erased_spans (link_id, day, first_chunk, last_chunk)
        VALUES ($1, DATE '1970-01-01' + $2::integer, $3, $4)
        """,
        spans,
    )
    return less, len(taken) == step_days
