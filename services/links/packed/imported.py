"""The rows of imported clicks: days beside the own ones, clicks without a date, and who was seen.

`services/links/imported/storing.py` adds to them, `taking.py` takes away. Both hold `lock_imported_clicks` until the end of the
transaction, so nobody waits in a circle; own clicks are other rows under another lock.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from services.links.packed import days
from services.links.packed.days import IMPORTED, DayCounts
from services.links.packed.rows import Counted
from shared.postgres import Connection

CountedDay = tuple[Counted, int]
"""Whose it is, and the day (since 1970)."""

_IMPORTED_LOCK = 0x696D_6463


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


async def lock_imported_clicks(conn: Connection) -> None:
    """Keep everyone else from changing imported clicks until the transaction ends."""
    await conn.execute("SELECT pg_advisory_xact_lock($1)", _IMPORTED_LOCK)


async def select_imported_days(conn: Connection, wanted: Iterable[CountedDay]) -> dict[CountedDay, DayCounts]:
    """Read the imported counts of days in order to change them; those that are missing are left out."""
    links, owners = _split((*each,) for each in wanted)
    # OFFSET keeps it a look-up in the index for each of them, also where statistics are missing or old.
    rows = await conn.fetch(
        """
        SELECT wanted.link_id, wanted.owner, wanted.day, found.counts
        FROM (SELECT link_id, '' AS owner, day FROM unnest($1::bigint[], $2::integer[]) AS of_links (link_id, day)
              UNION ALL
              SELECT 0, owner, day FROM unnest($3::text[], $4::integer[]) AS of_owners (owner, day)) AS wanted
        CROSS JOIN LATERAL (
            SELECT counts FROM click_days
            WHERE link_id = wanted.link_id AND owner = wanted.owner AND day = DATE '1970-01-01' + wanted.day AND format = $5
            OFFSET 0
        ) AS found
        """,
        *_columns(links, 2),
        *_columns(owners, 2),
        days.FORMAT * IMPORTED,
    )
    return {(link or owner, day): DayCounts(counts) for link, owner, day, counts in rows}


async def write_imported_days(conn: Connection, counted: Mapping[CountedDay, DayCounts]) -> None:
    """Write imported counts of days, in the transaction that has read those that were there."""
    links, owners = _split(
        (*whose, each.clicks(False), each.clicks(True), each.pack()) for whose, each in counted.items()
    )
    await conn.execute(
        """
        INSERT INTO click_days (link_id, owner, day, humans, bots, counts, format)
        SELECT link_id, '', DATE '1970-01-01' + day, humans, bots, counts, $11::smallint
        FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bigint[], $5::bytea[])
            AS new (link_id, day, humans, bots, counts)
        UNION ALL
        SELECT 0, owner, DATE '1970-01-01' + day, humans, bots, counts, $11::smallint
        FROM unnest($6::text[], $7::integer[], $8::bigint[], $9::bigint[], $10::bytea[])
            AS new (owner, day, humans, bots, counts)
        ON CONFLICT (link_id, owner, day, format)
        DO UPDATE SET counts = excluded.counts, humans = excluded.humans, bots = excluded.bots
        """,
        *_columns(links, 5),
        *_columns(owners, 5),
        days.FORMAT * IMPORTED,
    )


async def delete_imported_days_of_owners(conn: Connection, gone: Collection[tuple[str, int]]) -> None:
    """Delete imported days of owners, by owner and day."""
    await conn.execute(
        """
        DELETE FROM click_days USING unnest($1::text[], $2::integer[]) AS gone (whose, number)
        WHERE link_id = 0 AND owner = whose AND day = DATE '1970-01-01' + number AND format = $3
        """,
        *_columns(gone, 2),
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
        [*link_ids],
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


async def write_undated(conn: Connection, undated: Mapping[int, People], import_number: int = 0) -> None:
    """Write how many clicks of links have no date, now that others have one, and whose visits gave it to the first ones."""
    if undated:
        await conn.execute(
            """
            INSERT INTO imported_undated (link_id, owner, humans, bots, import)
            SELECT link_id, '', humans, bots, $4
            FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS new (link_id, humans, bots)
            ON CONFLICT (link_id, owner) DO UPDATE SET humans = excluded.humans, bots = excluded.bots
            """,
            *_columns([(link, *people) for link, people in undated.items()], 3),
            import_number,
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


async def select_dated(conn: Connection, import_number: int, most: int) -> list[int]:
    """Find links whose clicks have their dates by the visits of an import."""
    rows = await conn.fetch(
        "SELECT link_id FROM imported_undated WHERE import = $1 ORDER BY link_id LIMIT $2", import_number, most
    )
    return [row["link_id"] for row in rows]


async def leave_dated(conn: Connection, import_number: int, link_ids: Sequence[int]) -> None:
    """Let links keep the dates that the visits of an import gave, when it is undone."""
    await conn.execute(
        "UPDATE imported_undated SET import = -$1 WHERE import = $1 AND link_id = ANY ($2::bigint[])",
        import_number,
        link_ids,
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
    conn: Connection, number: int, seen: Iterable[tuple[int, int, int]], owners: Mapping[int, str]
) -> dict[CountedDay, int]:
    """Note the visitors that an import saw on days: who is new to an owner is new to one of its links.

    Args:
        conn: In a transaction.
        number: Of the import's key.
        seen: Day, link, visitor; each once.
        owners: The owners of the links.

    Returns:
        The number of those that were not seen before, by link or owner.
    """
    rows = sorted(seen)
    if not rows:
        return {}
    found = await conn.fetch(
        """
        WITH of_links AS (
            INSERT INTO imported_visitors (import_number, day, link_id, owner, visitor)
            SELECT $1, DATE '1970-01-01' + day, link_id, '', visitor
            FROM unnest($2::integer[], $3::bigint[], $4::bigint[]) AS seen (day, link_id, visitor)
            ON CONFLICT DO NOTHING
            RETURNING day, link_id, visitor),
        of_owners AS (
            INSERT INTO imported_visitors (import_number, day, link_id, owner, visitor)
            SELECT DISTINCT $1, day, 0, owned.owner, visitor
            FROM of_links JOIN unnest($5::bigint[], $6::text[]) AS owned (link_id, owner) USING (link_id)
            ON CONFLICT DO NOTHING
            RETURNING day, owner)
        SELECT link_id, '', day - DATE '1970-01-01', count(*) FROM of_links GROUP BY link_id, day
        UNION ALL
        SELECT 0, owner, day - DATE '1970-01-01', count(*) FROM of_owners GROUP BY owner, day
        """,
        number,
        *_columns(rows, 3),
        list(owners),
        list(owners.values()),
    )
    return {(link_id or owner, day): count for link_id, owner, day, count in found}


def _split(rows: Iterable[tuple[Any, ...]]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Those of links, and those of owners: each begins with whose it is."""
    links: list[tuple[Any, ...]] = []
    owners: list[tuple[Any, ...]] = []
    for row in rows:
        (links if isinstance(row[0], int) else owners).append(row)
    return links, owners


def _columns(rows: Collection[tuple[Any, ...]], count: int) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) or [()] * count
