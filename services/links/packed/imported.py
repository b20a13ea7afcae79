"""The rows of imported clicks: days beside the own ones, clicks without a date, and who was seen.

`services/links/imported/storing.py` adds to them, `taking.py` takes away. Both hold `lock_imported` until the end of the
transaction, so nobody waits in a circle; own clicks are other rows under another lock.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from services.links.packed import days
from services.links.packed.days import IMPORTED, DayCounts
from services.links.packed.rows import Counted
from shared.postgres import Connection

CountedDay = tuple[Counted, int]
"""Whose it is, and the day (since 1970)."""

_IMPORTED_LOCK = 0x696D_706F


class People(NamedTuple):
    """Clicks of people and of bots."""

    humans: int
    bots: int

    @property
    def clicks(self) -> int:
        return self.humans + self.bots

    def plus(self, other: "People") -> "People":
        return People(self.humans + other.humans, self.bots + other.bots)

    def minus(self, other: "People") -> "People":
        return People(self.humans - other.humans, self.bots - other.bots)


NO_PEOPLE = People(0, 0)


async def lock_imported(conn: Connection) -> None:
    """Keep everyone else from changing imported clicks until the transaction ends."""
    await conn.execute("SELECT pg_advisory_xact_lock($1)", _IMPORTED_LOCK)


async def select_imported_days(conn: Connection, wanted: Collection[CountedDay]) -> dict[CountedDay, DayCounts]:
    """Read the imported counts of days in order to change them; those that are missing are left out."""
    # OFFSET keeps it a look-up in the index for each of them, also where statistics are missing or old.
    rows = await conn.fetch(
        """
        SELECT wanted.link_id, wanted.owner, wanted.day, found.counts
        FROM unnest($1::bigint[], $2::text[], $3::integer[]) AS wanted (link_id, owner, day)
        CROSS JOIN LATERAL (
            SELECT counts FROM click_days
            WHERE link_id = wanted.link_id AND owner = wanted.owner AND day = DATE '1970-01-01' + wanted.day AND format = $4
            OFFSET 0
        ) AS found
        """,
        *_columns([_key(each) for each in wanted], 3),
        days.FORMAT * IMPORTED,
    )
    return {(row["link_id"] or row["owner"], row["day"]): DayCounts(row["counts"]) for row in rows}


async def write_imported_days(conn: Connection, counted: Mapping[CountedDay, DayCounts]) -> None:
    """Write imported counts of days, in the transaction that has read those that were there; an empty day goes."""
    kept = [
        (*_key(whose), each.clicks(False), each.clicks(True), each.pack())
        for whose, each in counted.items()
        if not each.is_empty()
    ]
    if kept:
        await conn.execute(
            """
            INSERT INTO click_days (link_id, owner, day, humans, bots, counts, format)
            SELECT link_id, owner, DATE '1970-01-01' + day, humans, bots, counts, $7
            FROM unnest($1::bigint[], $2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::bytea[])
                AS new (link_id, owner, day, humans, bots, counts)
            ON CONFLICT (link_id, owner, day, format)
            DO UPDATE SET counts = excluded.counts, humans = excluded.humans, bots = excluded.bots
            """,
            *_columns(kept, 6),
            days.FORMAT * IMPORTED,
        )
    gone = [_key(whose) for whose, each in counted.items() if each.is_empty()]
    if gone:
        await conn.execute(
            """
            DELETE FROM click_days USING unnest($1::bigint[], $2::text[], $3::integer[]) AS gone (link_id, owner, number)
            WHERE click_days.link_id = gone.link_id AND click_days.owner = gone.owner
                AND click_days.day = DATE '1970-01-01' + gone.number AND format = $4
            """,
            *_columns(gone, 3),
            days.FORMAT * IMPORTED,
        )


async def delete_imported_days(
    conn: Connection, link_ids: Sequence[int], most: int
) -> list[tuple[int, int, DayCounts]]:
    """Delete some of the imported days of links.

    Returns:
        Link, day, counts; at most so many.
    """
    rows = await conn.fetch(
        """
        DELETE FROM click_days WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM click_days WHERE link_id = ANY ($1) AND owner = '' AND format = $2 LIMIT $3))
        RETURNING link_id, day - DATE '1970-01-01' AS day, counts
        """,
        link_ids,
        days.FORMAT * IMPORTED,
        most,
    )
    return [(row["link_id"], row["day"], DayCounts(row["counts"])) for row in rows]


async def select_undated(
    conn: Connection, link_ids: Collection[int], coming: Mapping[int, People] = MappingProxyType({})
) -> dict[int, People]:
    """Read how many imported clicks of links have no date; links that do not exist are left out.

    Args:
        conn: Any connection.
        link_ids: The links.
        coming: What links are given by the end of the transaction.
    """
    rows = await conn.fetch(
        """
        SELECT id, imported_humans, imported_clicks - imported_humans, undated.humans, undated.bots
        FROM links LEFT JOIN imported_undated AS undated ON link_id = id AND undated.owner = ''
        WHERE id = ANY ($1)
        """,
        link_ids,
    )
    found = {}
    for link, humans, bots, *undated in rows:
        more = coming.get(link, NO_PEOPLE)
        # Without a row of its own, all are without a date.
        found[link] = People(humans, bots).plus(more) if undated[0] is None else People(*undated)
    return found


async def select_undated_of_owners(conn: Connection, owner: str | None) -> People:
    """Read how many imported clicks of an owner, or of everyone, have no date."""
    (row,) = await conn.fetch(
        """
        SELECT coalesce(sum(humans), 0)::bigint, coalesce(sum(bots), 0)::bigint FROM imported_undated
        WHERE link_id = 0 AND ($1::text IS NULL OR owner = $1)
        """,
        owner,
    )
    return People(*row)


async def write_undated(conn: Connection, undated: Mapping[int, People]) -> None:
    """Write how many clicks of links have no date, now that others have one."""
    if undated:
        await conn.execute(
            """
            INSERT INTO imported_undated (link_id, owner, humans, bots)
            SELECT link_id, '', humans, bots
            FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS new (link_id, humans, bots)
            ON CONFLICT (link_id, owner) DO UPDATE SET humans = excluded.humans, bots = excluded.bots
            """,
            *_columns([(link, *people) for link, people in undated.items()], 3),
        )


async def add_undated(conn: Connection, links: Mapping[int, People], owners: Mapping[str, People]) -> None:
    """Add clicks without a date: to owners, and to those links that have others as well."""
    rows: list[tuple[object, ...]] = [(link, "", *people) for link, people in links.items() if any(people)]
    rows += [(0, owner, *people) for owner, people in owners.items() if any(people)]
    if rows:
        await conn.execute(
            """
            INSERT INTO imported_undated AS kept (link_id, owner, humans, bots)
            SELECT link_id, owner, humans, bots
            FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[]) AS new (link_id, owner, humans, bots)
            WHERE link_id = 0 OR EXISTS (
                SELECT FROM imported_undated AS known WHERE known.link_id = new.link_id AND known.owner = '')
            ON CONFLICT (link_id, owner)
            DO UPDATE SET humans = kept.humans + excluded.humans, bots = kept.bots + excluded.bots
            """,
            *_columns(rows, 4),
        )


async def delete_undated(conn: Connection, link_ids: Sequence[int]) -> None:
    await conn.execute("DELETE FROM imported_undated WHERE link_id = ANY ($1) AND owner = ''", link_ids)


async def add_imported(conn: Connection, added: Mapping[int, People]) -> None:
    """Add imported clicks to the numbers of links, and note that the order of lists is out of date.

    An update that joins may lock in any order, so the rows are locked in order first.
    """
    rows = sorted((link, *people) for link, people in added.items() if any(people))
    if not rows:
        return
    await conn.execute("INSERT INTO clicked_links (link_ids) VALUES ($1)", [link for link, _, _ in rows])
    await conn.execute(
        """
        WITH locked AS MATERIALIZED (SELECT id FROM links WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE)
        UPDATE links
        SET clicks = links.clicks + new.humans + new.bots, humans = links.humans + new.humans, bots = links.bots + new.bots,
            imported_clicks = imported_clicks + new.humans + new.bots, imported_humans = imported_humans + new.humans
        FROM locked JOIN unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS new (id, humans, bots) USING (id)
        WHERE links.id = locked.id
        """,
        *_columns(rows, 3),
    )


async def note_imported_visitors(
    conn: Connection, number: int, seen: Iterable[tuple[int, int, str, int]]
) -> dict[CountedDay, int]:
    """Note the visitors that an import saw on days.

    Args:
        conn: In a transaction.
        number: Of the import's key.
        seen: Day, link (0: any of the owner's), owner (of a link none), visitor; each once.

    Returns:
        The number of those that were not seen before.
    """
    rows = sorted(seen)
    if not rows:
        return {}
    found = await conn.fetch(
        """
        WITH new AS (
            INSERT INTO imported_visitors (import_number, day, link_id, owner, visitor)
            SELECT $1, DATE '1970-01-01' + day, link_id, owner, visitor
            FROM unnest($2::integer[], $3::bigint[], $4::text[], $5::bigint[]) AS seen (day, link_id, owner, visitor)
            ON CONFLICT DO NOTHING
            RETURNING day, link_id, owner)
        SELECT link_id, owner, day - DATE '1970-01-01' AS day, count(*) FROM new GROUP BY link_id, owner, day
        """,
        number,
        *_columns(rows, 4),
    )
    return {(link_id or owner, day): count for link_id, owner, day, count in found}


def _key(whose: CountedDay) -> tuple[int, str, int]:
    each, day = whose
    return (each, "", day) if isinstance(each, int) else (0, each, day)


def _columns(rows: Collection[tuple[object, ...]], count: int) -> list[Sequence[object]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[]] * count
