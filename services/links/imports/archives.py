"""Hands on what an archive of this shortener has beside its links, and notes what of it undoing has to know."""

from collections.abc import Mapping, Sequence

from services.links.archive.counting import Place
from services.links.archive.restoring import Destination, Restored, restore_records
from services.links.imports.drafts import DraftMaker, FoundDraft, origin_of
from services.links.imports.rows import ImportRow
from services.links.links.rows import LinkDraft, LinkFields
from services.links.sources.archive_lines import ClickLine, DayLine, LinkLine, TombstoneLine
from services.links.sources.found import FoundRecord
from shared.postgres import Connection
from shared.records import LinkKey


async def restore_slice(
    conn: Connection, job: ImportRow, source: str, records: Sequence[FoundRecord], maker: DraftMaker
) -> tuple[Restored, list[FoundDraft]]:
    """Store a slice of what an archive has beside its links: of links that this import has made, and what belongs to none.

    Returns:
        What became of it, and whose codes are to be claimed (`claim_codes`) at the end of the transaction.
    """
    keys = {
        _key(each.record) for each in records if isinstance(each.record, LinkLine | TombstoneLine | DayLine | ClickLine)
    }
    places, edited = await _select_places(conn, job, source, keys)
    # What was edited since it was made stays as it is now.
    records = [each for each in records if not (isinstance(each.record, LinkLine) and _key(each.record) in edited)]
    destination = destination_of(job, maker)
    restored = await restore_records(conn, records, places, destination, is_whole=await _is_whole(conn, job))
    claimed = [_claim(each, restored.buried, destination) for each in records if isinstance(each.record, TombstoneLine)]
    links = {_key(each.record) for each in records if isinstance(each.record, LinkLine)}
    made = {key: place.link_id for key, place in places.items() if key in links}
    await _note(conn, job, source, made | {key: place.link_id for key, place in restored.buried.items()})
    await _note_clicks(conn, job, restored.own_clicks)
    return restored, [each for each in claimed if each is not None]


def destination_of(job: ImportRow, maker: DraftMaker) -> Destination:
    """Where the records of an archive go: those of an administrator stay their owners', and bring what was decided."""
    return Destination(maker.rules, maker.find_domain, None if job.is_admin else job.owner, has_domains=job.is_admin)


async def erase_restored(conn: Connection, number: int, link_ids: Sequence[int]) -> None:
    """Ask that the own clicks be erased which an import has brought to links, before these leave it."""
    await conn.execute(
        """
        WITH left_behind AS (
            UPDATE link_sources SET own_clicks = 0 WHERE import = $1 AND link_id = ANY ($2::bigint[]) AND own_clicks > 0
            RETURNING link_id)
        INSERT INTO click_erasures (link_id, owner) SELECT id, owner FROM links JOIN left_behind ON id = link_id
        ON CONFLICT DO NOTHING
        """,
        number,
        link_ids,
    )


def _claim(record: FoundRecord, buried: Mapping[LinkKey, Place], destination: Destination) -> FoundDraft | None:
    line = record.record
    assert isinstance(line, TombstoneLine), "the caller has chosen"
    place, domain = buried.get(_key(line)), destination.find_domain(line.domain)
    if place is None or domain is None:
        return None
    draft = LinkDraft(domain, place.owner, LinkFields(""), line.code)
    return FoundDraft(record.line, "", origin_of(*_key(line)), draft, None, 0, None, 0, line.folds_case, ())


async def _select_places(
    conn: Connection, job: ImportRow, source: str, keys: set[LinkKey]
) -> tuple[dict[LinkKey, Place], set[LinkKey]]:
    """Find the links, and tombstones, that this import has made, and which of them were edited since."""
    origins = {origin_of(*key): key for key in keys}
    rows = await conn.fetch(
        """
        SELECT short_url, link_id, links.owner, links.version <> link_sources.version AS is_edited
        FROM link_sources JOIN links ON id = link_id
        WHERE link_sources.owner = $1 AND source = $2 AND import = $3 AND before IS NULL AND short_url = ANY ($4::text[])
        """,
        job.owner,
        source,
        job.number,
        list(origins),
    )
    places = {origins[row["short_url"]]: Place(row["link_id"], row["owner"]) for row in rows}
    return places, {origins[row["short_url"]] for row in rows if row["is_edited"]}


async def _is_whole(conn: Connection, job: ImportRow) -> bool:
    """Tell whether the import has made every link of its file."""
    return bool(
        await conn.fetchval(
            "SELECT made > 0 AND found = 0 AND replaced = 0 AND refused = 0 FROM imports WHERE id = $1", job.id
        )
    )


async def _note(conn: Connection, job: ImportRow, source: str, made: Mapping[LinkKey, int]) -> None:
    """Note where tombstones came from, and the versions that links have now: nobody has edited them since."""
    await conn.execute(
        """
        INSERT INTO link_sources AS kept (owner, source, import, short_url, link_id, version)
        SELECT $1, $2, $3, new.short_url, id, version
        FROM unnest($4::text[], $5::bigint[]) AS new (short_url, link_id) JOIN links ON id = link_id
        ON CONFLICT (owner, source, short_url) DO UPDATE SET version = excluded.version
        WHERE kept.import = excluded.import
        """,
        job.owner,
        source,
        job.number,
        [origin_of(*key) for key in made],
        list(made.values()),
    )


async def _note_clicks(conn: Connection, job: ImportRow, clicks: Mapping[int, int]) -> None:
    """Note how many own clicks links have from the archive: those that come now are more."""
    await conn.execute(
        """
        UPDATE link_sources SET own_clicks = own_clicks + clicks
        FROM unnest($2::bigint[], $3::bigint[]) AS new (id, clicks) WHERE link_id = id AND import = $1
        """,
        job.number,
        list(clicks),
        list(clicks.values()),
    )


def _key(line: LinkLine | TombstoneLine | DayLine | ClickLine) -> LinkKey:
    return line.domain, line.code
