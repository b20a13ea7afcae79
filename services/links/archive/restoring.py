"""Stores what an archive has beside its links, as it was there: versions, salts and limits, tombstones, domains, and counts.

The process of an import has made the links and calls this in the transaction that moves its position. What an archive says is
checked like what a client sends.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from services.links.archive.counting import Place, add_days, add_totals, add_visitors, store_clicks
from services.links.codes.stems import SHADOWS, Stemmed, insert_stems, is_stemmed, mark_domains, select_shadowed
from services.links.domains.forms import DomainPatch, changed_decisions, read_file
from services.links.domains.rows import lock_domain, select_domain, update_domain, upsert_file
from services.links.links.targets import TargetRefused, TargetRules
from services.links.packed.imported import lock_imported_clicks
from services.links.packed.rows import lock_days
from services.links.sources.archive_lines import (
    ClickLine,
    DayLine,
    DomainLine,
    Line,
    LinkLine,
    TombstoneLine,
    VisitorsLine,
)
from services.links.sources.found import FoundRecord
from services.links.web.errors import FieldError, InvalidInput, invalid_input
from shared.codes import fold_code, is_code
from shared.domains import FILES
from shared.postgres import Connection
from shared.records import LinkKey

_BURIED = tuple(name for name in TombstoneLine.model_fields if not name.startswith("imported"))


@dataclass(slots=True)
class Restored:
    """What became of records.

    Attributes:
        clicks: That were stored with their days.
        own_clicks: Those of them that were counted by this shortener, by link.
        buried: Tombstones that were made.
        changed: Domains that redirectors know as they were before, to be announced last in the transaction.
        refused: Records that cannot be stored, and why.
    """

    clicks: int = 0
    own_clicks: dict[int, int] = field(default_factory=dict)
    buried: dict[LinkKey, Place] = field(default_factory=dict)
    changed: list[LinkKey] = field(default_factory=list)
    refused: list[tuple[FoundRecord, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where records go.

    Attributes:
        rules: What targets may be.
        find_domain: Finds the domain of this site for one of the archive.
        owner: Of everything; None: whoever it was.
        has_domains: Whether domains are decided about as the archive says.
    """

    rules: TargetRules
    find_domain: Callable[[str], str | None]
    owner: str | None
    has_domains: bool = False


async def restore_records(
    conn: Connection,
    records: Sequence[FoundRecord],
    places: Mapping[LinkKey, Place],
    destination: Destination,
    *,
    is_whole: bool,
) -> Restored:
    """Store records, in the order of the archive. Those of links that the import has not made are passed over.

    Args:
        conn: In a transaction that has locked no links yet.
        records: Some thousand at most.
        places: By domain and code in the archive.
        destination: Where they go.
        is_whole: Whether the import has made every link. If not, the unique visitors of owners would be of links that are not
            here, or count twice.
    """
    restored = Restored()
    await lock_imported_clicks(conn)
    await lock_days(conn)
    for record in records:
        if isinstance(record.record, TombstoneLine):
            await _bury(conn, record, record.record, destination, restored)
    known = {**places, **restored.buried}
    links = [(known[_key(line)], line) for line in _of(records, LinkLine) if _key(line) in known]
    days = [(known[_key(line)], line) for line in _of(records, DayLine) if _key(line) in known]
    clicks = [(known[_key(line)], line) for line in _of(records, ClickLine) if _key(line) in known]
    await _restore_links(conn, links)
    buried = [
        (restored.buried[_key(line)], line) for line in _of(records, TombstoneLine) if _key(line) in restored.buried
    ]
    await add_totals(conn, [*links, *buried])
    restored.own_clicks = await add_days(conn, days)
    if is_whole:
        visitors = _of(records, VisitorsLine)
        await add_visitors(conn, [(destination.owner or line.owner, line) for line in visitors])
    await store_clicks(conn, clicks)
    restored.clicks = sum(slot[1] + slot[2] for _, line in days for slot in line.slots)
    for record in records:
        if isinstance(record.record, DomainLine) and destination.has_domains:
            await _restore_domain(conn, record, record.record, destination, restored)
    return restored


async def _restore_links(conn: Connection, lines: Sequence[tuple[Place, LinkLine]]) -> None:
    """Give links what no client decides."""
    if not lines:
        return
    rows = [
        {
            "id": place.link_id,
            **line.model_dump(mode="json", include={"version", "created_at", "updated_at", "split_salt"}),
        }
        for place, line in sorted(lines, key=lambda each: each[0].link_id)
    ]
    await conn.execute(
        """
        UPDATE links
        SET version = new.version, created_at = new.created_at, updated_at = new.updated_at,
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
    """Make a tombstone where the code was never used, and could not be taken for one of another owner."""
    domain = destination.find_domain(line.domain)
    if domain is None:
        restored.refused.append((record, f"domain {line.domain} is none of this site"))
        return
    if not is_code(line.code) or (line.folds_case and line.code != fold_code(line.code)):
        restored.refused.append((record, f"code {line.code} is none that a link can have"))
        return
    try:
        expired_url = None if line.expired_url is None else destination.rules.parse(line.expired_url)
    except TargetRefused as error:
        restored.refused.append((record, f"expired_url {error}"))
        return
    owner = destination.owner or line.owner
    stemmed = [Stemmed(domain, line.code, line.folds_case)]
    if is_stemmed(line.code, folds_case=line.folds_case) and await select_shadowed(conn, owner, stemmed):
        restored.refused.append((record, f"code {line.code} could be taken for one of another owner"))
        return
    columns = line.model_dump(mode="json", include=set(_BURIED))
    row = await conn.fetchrow(
        f"""
        INSERT INTO links ({", ".join(_BURIED)}, url)
        SELECT {", ".join(_BURIED)}, '' FROM json_populate_record(NULL::links, $1::json) AS wanted
        WHERE NOT {SHADOWS}
        ON CONFLICT (domain, code) DO NOTHING RETURNING id
        """,  # noqa: S608  # names of columns
        json.dumps({**columns, "domain": domain, "owner": owner, "expired_url": expired_url}),
    )
    if row is None:
        return
    restored.buried[_key(line)] = Place(row["id"], owner)
    if is_stemmed(line.code, folds_case=line.folds_case):
        await insert_stems(conn, owner, stemmed)
        restored.changed += await mark_domains(conn, stemmed)


async def _restore_domain(
    conn: Connection, record: FoundRecord, line: DomainLine, destination: Destination, restored: Restored
) -> None:
    """Decide about a domain as the archive says, where nothing was decided yet."""
    domain = destination.find_domain(line.domain)
    if domain is None:
        restored.refused.append((record, f"domain {line.domain} is none of this site"))
        return
    try:
        changed = changed_decisions(DomainPatch.model_validate(line.decided), destination.rules)
        unknown = [FieldError(name, "is no file of a domain") for name in line.files if name not in FILES]
        if unknown:
            raise InvalidInput(*unknown)
        files = {name: read_file(name, text.encode()) for name, text in line.files.items()}  # type: ignore[arg-type]  # it is one
    except ValidationError as error:
        restored.refused.append((record, invalid_input(error).detail))
        return
    except InvalidInput as error:
        restored.refused.append((record, error.detail))
        return
    await lock_domain(conn, domain)
    there = await select_domain(conn, domain)
    if there.version or there.files:
        restored.refused.append((record, f"about {domain} is decided here already"))
        return
    await update_domain(conn, domain, changed)
    for name, text in files.items():
        await upsert_file(conn, domain, name, text)
    await conn.execute("UPDATE domains SET version = $2 WHERE domain = $1", domain, line.version)
    restored.changed.append((domain, ""))


T = TypeVar("T", bound=Line)


def _of(records: Sequence[FoundRecord], kind: type[T]) -> list[T]:
    return [record.record for record in records if isinstance(record.record, kind)]


def _key(line: LinkLine | TombstoneLine | DayLine | ClickLine) -> LinkKey:
    return line.domain, line.code
