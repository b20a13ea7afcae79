"""Stores what an archive has beside its links, as it was there: versions, salts and limits, tombstones, domains, and counts.

The process of an import has made the links and calls this in the transaction that moves its position. What an archive says is
checked like what a client sends.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from typing import Any, NamedTuple

from pydantic import ValidationError

from services.links.clicks.counts import EnrichedClick
from services.links.clicks.rows import add_to_links
from services.links.domains.forms import DomainPatch, changed_decisions, read_file
from services.links.domains.rows import lock_domain, select_domain, update_domain, upsert_file
from services.links.links.targets import TargetRefused, TargetRules
from services.links.packed.chunks import pack_chunk
from services.links.packed.days import DAY_US, MOST_VALUES_OF_LINK, MOST_VALUES_OF_OWNER, DayCounts
from services.links.packed.rows import Counted, insert_chunk, lock_days, select_days, write_days
from services.links.sources.archive_lines import ClickLine, DayLine, DomainLine, LinkLine, TombstoneLine, VisitorsLine
from services.links.sources.found import FoundRecord
from services.links.web.errors import FieldError, InvalidInput, invalid_input
from shared.api import UNKNOWN, Dimensions
from shared.changes import insert_changes
from shared.domains import FILES
from shared.postgres import Connection
from shared.records import LinkKey

EPOCH = date(1970, 1, 1)
MIDNIGHT = datetime(1970, 1, 1, tzinfo=UTC)

_BURIED = tuple(name for name in TombstoneLine.model_fields if not name.startswith("imported"))


class Place(NamedTuple):
    """A link that an import has made, or a tombstone."""

    link_id: int
    owner: str


@dataclass(slots=True)
class Restored:
    """What became of records.

    Attributes:
        clicks: That were stored with their days.
        buried: Tombstones that were made.
        refused: Records that cannot be stored, and why.
    """

    clicks: int = 0
    buried: dict[LinkKey, Place] = field(default_factory=dict)
    refused: list[tuple[FoundRecord, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where records go.

    Attributes:
        rules: What targets may be.
        domains: By the name in the archive, that of a domain of this site.
        owner: Of everything; None: whoever it was, for the scope `admin`, and domains are restored, too.
    """

    rules: TargetRules
    domains: Mapping[str, str]
    owner: str | None


async def restore_records(
    conn: Connection, records: Sequence[FoundRecord], places: Mapping[LinkKey, Place], destination: Destination
) -> Restored:
    """Store records, in the order of the archive. Those of links that the import has not made are passed over.

    Args:
        conn: In a transaction. Changes of domains are announced at the end, so nothing else comes behind it.
        records: Some thousand at most.
        places: By domain and code in the archive.
        destination: Where they go.
    """
    restored = Restored()
    lines = [record.record for record in records]
    await _restore_links(
        conn, [(places[_key(line)], line) for line in lines if isinstance(line, LinkLine) and _key(line) in places]
    )
    for record in records:
        if isinstance(record.record, TombstoneLine):
            await _bury(conn, record, record.record, destination, restored)
    known = {**places, **restored.buried}
    own = [
        (known[_key(line)], line)
        for line in lines
        if isinstance(line, DayLine) and not line.imported and _key(line) in known
    ]
    restored.clicks += await _add_own_days(conn, own)
    clicks = [(known[_key(line)], line) for line in lines if isinstance(line, ClickLine) and _key(line) in known]
    await _store_clicks(conn, [each for each in clicks if not each[1].imported])
    changed = []
    for record in records:
        if isinstance(record.record, DomainLine) and destination.owner is None:
            changed += await _restore_domain(conn, record, record.record, destination, restored)
    if changed:
        await insert_changes(conn, sorted((domain, "") for domain in changed))
    return restored


async def restore_visitors(conn: Connection, records: Sequence[FoundRecord], destination: Destination) -> None:
    """Add the unique visitors of owners to their days, which no sum of those of their links tells.

    Call it where every link of the archive was made; else they would be of links that are not here, or count twice.
    """
    of_days: dict[date, list[VisitorsLine]] = {}
    for record in records:
        if isinstance(record.record, VisitorsLine) and not record.record.imported:
            of_days.setdefault(record.record.day, []).append(record.record)
    if of_days:
        await lock_days(conn)
    for day, lines in sorted(of_days.items()):
        number = (day - EPOCH).days
        owners = [destination.owner or line.owner for line in lines]
        counted = await select_days(conn, number, set(owners))
        for owner, line in zip(owners, lines, strict=True):
            counts = counted.setdefault(owner, DayCounts())
            for is_bot in (False, True):
                counts.add_visitors(is_bot, line.visitors[is_bot])
        await write_days(conn, number, counted)


async def _restore_links(conn: Connection, lines: Sequence[tuple[Place, LinkLine]]) -> None:
    """Give links what no client decides."""
    if not lines:
        return
    rows = [
        {
            "id": place.link_id,
            **line.model_dump(mode="json", include={"version", "created_at", "updated_at", "folds_case", "split_salt"}),
        }
        for place, line in sorted(lines, key=lambda each: each[0].link_id)
    ]
    await conn.execute(
        """
        UPDATE links
        SET version = new.version, created_at = new.created_at, updated_at = new.updated_at, folds_case = new.folds_case,
            split_salt = CASE WHEN links.split_salt IS NOT NULL THEN coalesce(new.split_salt, links.split_salt) END
        FROM json_populate_recordset(NULL::links, $1::json) AS new WHERE links.id = new.id
        """,
        json.dumps(rows),
    )
    used = [(place.link_id, line.clicks_used) for place, line in lines if line.clicks_used]
    if used:
        await conn.execute(
            """
            INSERT INTO link_claims AS kept (link_id, used)
            SELECT id, used FROM unnest($1::bigint[], $2::bigint[]) AS new (id, used) ORDER BY id
            ON CONFLICT (link_id) DO UPDATE SET used = greatest(kept.used, excluded.used)
            """,
            *zip(*used, strict=True),
        )


async def _bury(
    conn: Connection, record: FoundRecord, line: TombstoneLine, destination: Destination, restored: Restored
) -> None:
    """Make a tombstone where the code was never used."""
    domain = destination.domains.get(line.domain)
    if domain is None:
        restored.refused.append((record, f"domain {line.domain} is none of this site"))
        return
    try:
        expired_url = None if line.expired_url is None else destination.rules.parse(line.expired_url)
    except TargetRefused as error:
        restored.refused.append((record, f"expired_url {error}"))
        return
    owner = destination.owner or line.owner
    columns = line.model_dump(mode="json", include=set(_BURIED))
    row = await conn.fetchrow(
        f"""
        INSERT INTO links ({", ".join(_BURIED)}, url)
        SELECT {", ".join(_BURIED)}, '' FROM json_populate_record(NULL::links, $1::json)
        ON CONFLICT (domain, code) DO NOTHING RETURNING id
        """,  # noqa: S608  # names of columns
        json.dumps({**columns, "domain": domain, "owner": owner, "expired_url": expired_url}),
    )
    if row is not None:
        restored.buried[_key(line)] = Place(row["id"], owner)


async def _add_own_days(conn: Connection, lines: Sequence[tuple[Place, DayLine]]) -> int:
    """Add to the days of links and of their owners, and to the numbers in lists.

    Returns:
        The clicks.
    """
    if not lines:
        return 0
    of_days: dict[date, list[tuple[Place, DayLine]]] = {}
    totals: dict[int, tuple[int, int]] = {}
    for place, line in lines:
        of_days.setdefault(line.day, []).append((place, line))
        clicks, humans = totals.get(place.link_id, (0, 0))
        people, bots = (sum(slot[kind] for slot in line.slots) for kind in (1, 2))
        totals[place.link_id] = clicks + people + bots, humans + people
    await lock_days(conn)
    for day, of_day in sorted(of_days.items()):
        number = (day - EPOCH).days
        counted = await select_days(conn, number, {each for place, _ in of_day for each in place})
        for place, line in of_day:
            _add_line(counted, place.link_id, line, MOST_VALUES_OF_LINK)
            _add_line(counted, place.owner, line, MOST_VALUES_OF_OWNER)
            for is_bot in (False, True):
                counted[place.link_id].add_visitors(is_bot, line.visitors[is_bot])
        await write_days(conn, number, counted)
    ids = sorted(totals)
    await add_to_links(conn, (ids, [totals[each][0] for each in ids], [totals[each][1] for each in ids]))
    return sum(clicks for clicks, _ in totals.values())


async def _store_clicks(conn: Connection, lines: Sequence[tuple[Place, ClickLine]]) -> None:
    """Store single clicks, which the days count already."""
    of_days: dict[int, list[EnrichedClick]] = {}
    for place, line in lines:
        time_us = (line.at - MIDNIGHT) // timedelta(microseconds=1)
        visitor = None if line.visitor is None else bytes.fromhex(line.visitor)
        dimensions = Dimensions(**{name: line.values.get(name, UNKNOWN) for name in Dimensions._fields})  # type: ignore[call-overload]  # they are the same
        click = EnrichedClick(time_us, place.link_id, place.owner, visitor, line.bot, dimensions)
        of_days.setdefault(time_us // DAY_US, []).append(click)
    if of_days:
        await lock_days(conn)
    for day, clicks in sorted(of_days.items()):
        # A chunk has its clicks in the order of links; those of one link stay in that of the archive.
        number = await insert_chunk(conn, pack_chunk(day, sorted(clicks, key=itemgetter(1))))
        wanted = {whose for click in clicks for whose in click[1:3]}
        counted = await select_days(conn, day, wanted)
        for whose in wanted:
            counted.setdefault(whose, DayCounts()).add_chunk(number)
        await write_days(conn, day, counted)


def _add_line(counted: dict[Counted, DayCounts], whose: Counted, line: DayLine, most: int) -> None:
    counts = counted.setdefault(whose, DayCounts())
    for is_bot in (False, True):
        for slot in line.slots:
            if slot[1 + is_bot]:
                counts.add_slot(slot[0], is_bot, slot[1 + is_bot])
        for name, values in line.values.items():
            for value, people, bots in values:
                if clicks := bots if is_bot else people:
                    counts.add_value(name, value, is_bot, clicks, most)


async def _restore_domain(
    conn: Connection, record: FoundRecord, line: DomainLine, destination: Destination, restored: Restored
) -> list[str]:
    """Decide about a domain as the archive says, where nothing was decided yet.

    Returns:
        The domain, if it is another one now.
    """
    domain = destination.domains.get(line.domain)
    if domain is None:
        restored.refused.append((record, f"domain {line.domain} is none of this site"))
        return []
    try:
        changed = changed_decisions(DomainPatch.model_validate(line.decided), destination.rules)
        unknown = [FieldError(name, "is no file of a domain") for name in line.files if name not in FILES]
        if unknown:
            raise InvalidInput(*unknown)
        files = {name: read_file(name, text.encode()) for name, text in line.files.items()}  # type: ignore[arg-type]  # it is one
    except ValidationError as error:
        restored.refused.append((record, invalid_input(error).detail))
        return []
    except InvalidInput as error:
        restored.refused.append((record, error.detail))
        return []
    await lock_domain(conn, domain)
    there = await select_domain(conn, domain)
    if there.version or there.files:
        restored.refused.append((record, f"about {domain} is decided here already"))
        return []
    await update_domain(conn, domain, changed)
    for name, text in files.items():
        await upsert_file(conn, domain, name, text)
    await conn.execute("UPDATE domains SET version = $2 WHERE domain = $1", domain, line.version)
    return [domain]


def _key(line: Any) -> LinkKey:
    return line.domain, line.code
