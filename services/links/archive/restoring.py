"""Stores what an archive has beside its links, as it was there: versions, salts and limits, tombstones, domains, and counts.

The process of an import has made the links and calls this in the transaction that moves its position. What an archive says is
checked like what a client sends.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from pydantic import ValidationError

from services.links.archive.counting import Place, add_days, add_totals, add_visitors, store_clicks
from services.links.codes.stems import SHADOWS, Stemmed, is_stemmed, select_shadowed
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
from shared.codes import fold_code, is_code, is_reserved
from shared.domains import FILES
from shared.postgres import Connection
from shared.records import LinkKey

_BURIED = tuple(name for name in TombstoneLine.model_fields if name != "sources" and not name.startswith("imported"))


@dataclass(slots=True)
class Restored:
    """What became of records.

    Attributes:
        clicks: That were stored with their days.
        own_clicks: Those of them that were counted by this shortener, by link.
        buried: Tombstones that were made.
        refused: Records that cannot be stored, and why.
    """

    clicks: int = 0
    own_clicks: dict[int, int] = field(default_factory=dict)
    buried: dict[LinkKey, Place] = field(default_factory=dict)
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
    records = _without_future(records, restored)
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
    await _note_sources(conn, [*links, *buried])
    restored.own_clicks = await add_days(conn, days)
    if is_whole:
        visitors = _of(records, VisitorsLine)
        await add_visitors(conn, [(destination.owner or line.owner, line) for line in visitors])
    await store_clicks(conn, clicks)
    restored.clicks = sum(slot[1] + slot[2] for _, line in days for slot in line.slots)
    return restored


async def restore_domains(
    conn: Connection, records: Sequence[FoundRecord], destination: Destination, *, checks: bool = False
) -> tuple[list[LinkKey], list[tuple[FoundRecord, str]]]:
    """Decide about domains as an archive says, where nothing was decided yet.

    Args:
        conn: In a transaction.
        records: Those of domains; others are passed over.
        destination: Where they go.
        checks: Whether it only finds out what would be changed.

    Returns:
        What redirectors know as it was before, to be announced last in the transaction; and what is refused, and why.
    """
    changed: list[LinkKey] = []
    refused: list[tuple[FoundRecord, str]] = []
    for record in records if destination.has_domains else ():
        if isinstance(record.record, DomainLine):
            try:
                domain = await _restore_domain(conn, record.record, destination, checks=checks)
            except InvalidInput as error:
                refused.append((record, error.detail))
            else:
                changed.append((domain, ""))
    return changed, refused


def _without_future(records: Sequence[FoundRecord], restored: Restored) -> list[FoundRecord]:
    """Leave out the clicks of days that have not come: no retention would take them away."""
    last = datetime.now(UTC).date() + timedelta(days=1)
    kept = []
    for record in records:
        line = record.record
        day = line.at.astimezone(UTC).date() if isinstance(line, ClickLine) else getattr(line, "day", last)
        if day <= last:
            kept.append(record)
        else:
            restored.refused.append((record, f"{day} has not come yet"))
    return kept


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


async def _note_sources(conn: Connection, lines: Sequence[tuple[Place, LinkLine | TombstoneLine]]) -> None:
    """Note where links came from before: who imports that here finds them. Their imports (0) are none of this site."""
    rows = [
        (place.owner, source, origin, place.link_id, line.version)
        for place, line in lines
        for source, origin in dict.fromkeys(line.sources)
    ]
    if rows:
        await conn.execute(
            """
            INSERT INTO link_sources AS kept (owner, source, import, short_url, link_id, version)
            SELECT DISTINCT ON (owner, source, short_url) owner, source, 0, short_url, link_id, version
            FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::integer[])
                AS new (owner, source, short_url, link_id, version)
            ON CONFLICT (owner, source, short_url) DO UPDATE SET import = 0, version = excluded.version
            WHERE kept.link_id = excluded.link_id AND kept.import < 0
            """,
            *zip(*rows, strict=True),
        )


async def _bury(
    conn: Connection, record: FoundRecord, line: TombstoneLine, destination: Destination, restored: Restored
) -> None:
    """Make a tombstone where the code was never used."""
    domain = destination.find_domain(line.domain)
    if domain is None:
        restored.refused.append((record, f"domain {line.domain} is none of this site"))
        return
    try:
        expired_url = None if line.expired_url is None else destination.rules.parse(line.expired_url)
    except TargetRefused as error:
        restored.refused.append((record, f"expired_url {error}"))
        return
    owner = destination.owner or line.owner
    if reason := await _why_no_code(conn, Stemmed(domain, line.code, line.folds_case), owner):
        restored.refused.append((record, reason))
        return
    columns = line.model_dump(mode="json", include=set(_BURIED))
    row = await conn.fetchrow(
        f"""
        INSERT INTO links ({", ".join(_BURIED)}, url)
        SELECT {", ".join(_BURIED)}, '' FROM json_populate_record(NULL::links, $1::json) AS wanted WHERE NOT {SHADOWS}
        ON CONFLICT (domain, code) DO NOTHING RETURNING id
        """,  # noqa: S608  # names of columns
        json.dumps({**columns, "domain": domain, "owner": owner, "expired_url": expired_url}),
    )
    if row is not None:
        restored.buried[_key(line)] = Place(row["id"], owner)


async def _why_no_code(conn: Connection, wanted: Stemmed, owner: str) -> str:
    """Say why a code cannot be that of a tombstone: it decides like any other where visitors go who ask for one like it."""
    code = wanted.code
    if not is_code(code) or is_reserved(code) or (wanted.folds_case and fold_code(code) != code):
        return f"{code} is no code, or a reserved one"
    if is_stemmed(code, folds_case=wanted.folds_case) and await select_shadowed(conn, owner, [wanted]):
        return f"The code {code} on {wanted.domain} could be taken for one of another owner, or that one for it"
    return ""


async def _restore_domain(conn: Connection, line: DomainLine, destination: Destination, *, checks: bool) -> str:
    """Decide about a domain as the archive says; return which one it is here.

    Raises:
        InvalidInput: It is none of this site, is decided about already, or must not be so.
    """
    domain = destination.find_domain(line.domain)
    if domain is None:
        raise InvalidInput(FieldError("domain", f"{line.domain} is none of this site"))
    try:
        changed = changed_decisions(DomainPatch.model_validate(line.decided), destination.rules)
    except ValidationError as error:
        raise invalid_input(error) from None
    unknown = [FieldError(name, "is no file of a domain") for name in line.files if name not in FILES]
    if unknown:
        raise InvalidInput(*unknown)
    files = {name: read_file(name, text.encode()) for name, text in line.files.items()}  # type: ignore[arg-type]  # it is one
    if not checks:
        await lock_domain(conn, domain)
    there = await select_domain(conn, domain)
    if there.version or there.files:
        raise InvalidInput(FieldError("domain", f"{domain} is decided about here already"))
    if not checks:
        await update_domain(conn, domain, changed)
        for name, text in files.items():
            await upsert_file(conn, domain, name, text)
        await conn.execute("UPDATE domains SET version = $2 WHERE domain = $1", domain, line.version)
    return domain


T = TypeVar("T", bound=Line)


def _of(records: Sequence[FoundRecord], kind: type[T]) -> list[T]:
    return [record.record for record in records if isinstance(record.record, kind)]


def _key(line: LinkLine | TombstoneLine | DayLine | ClickLine) -> LinkKey:
    return line.domain, line.code
