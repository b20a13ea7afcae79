"""Archives made and read back without the service, and all that a database has, in a form that two of them share."""

import gzip
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any, TypeVar

import asyncpg

from services.links.archive.counting import Place
from services.links.archive.pages import ArchivePages
from services.links.archive.restoring import Destination, restore_domains, restore_records
from services.links.archive.writing import ArchiveWriter
from services.links.links.checks import new_draft
from services.links.links.creation import Outcome, store_links
from services.links.links.forms import LinkIn
from services.links.site import Site
from services.links.sources import archive
from services.links.sources.archive_lines import FORMAT, LinkLine, Manifest
from services.links.sources.found import FoundLink, FoundRecord, Hints, Unusable
from services.links.web.hashing import check_password_hash
from services.links.web.pace import Pace
from shared.postgres import Connection, open_pool
from shared.records import LinkKey
from tests.conftest import Database
from tests.links.packed_data import select_counts, select_raw

STEP = 7
"""Records of a transaction: few, so that what belongs together is in several."""

T = TypeVar("T")


@dataclass
class PlainFile:
    """A file that was received and uncompressed, in blocks of an odd size."""

    content: bytes
    name: str = ""
    hints: Hints = field(default_factory=lambda: Hints(UTC))

    def blocks(self) -> Iterator[bytes]:
        for first in range(0, len(self.content), 1000):
            yield self.content[first : first + 1000]


async def write_archive(
    database: Database, owner: str | None = None, *, passwords: bool = True, raw_clicks: bool = False
) -> bytes:
    """Export what an owner has, or everyone."""
    manifest = Manifest(
        format=FORMAT,
        release="tests",
        created_at=datetime(2026, 11, 28, tzinfo=UTC),
        owner=owner,
        passwords=passwords,
        raw_clicks=raw_clicks,
    )
    writer = ArchiveWriter(manifest)
    async with open_pool(database.links_url, size=1, application="tests") as pool:
        pages = ArchivePages(
            pool, Pace(), "tests", owner, passwords=passwords, raw_until=manifest.created_at if raw_clicks else None
        )
        parts = [writer.begin(), *[writer.add(page) async for page in pages.read()], writer.end()]
    return b"".join(parts)


async def read_archive(database: Database, content: bytes, site: Site, owner: str | None = None) -> list[Unusable]:
    """Import an archive into a database without links, and return what was refused."""
    file = PlainFile(gzip.decompress(content))
    refused: list[Unusable] = []
    destination = Destination(site.rules, lambda domain: domain, owner, has_domains=owner is None)
    async with connect(database) as conn:
        domains = [each for each in archive.read_links(file) if isinstance(each, FoundRecord)]
        async with conn.transaction():
            _, problems = await restore_domains(conn, domains, destination)
        refused += [Unusable(record.line, "", reason) for record, reason in problems]
        places = await _make_links(conn, file, site, owner, refused)
        found = chain(archive.read_links(file), archive.read_visits(file))
        records = [each for each in found if isinstance(each, FoundRecord)]
        for step in _steps(records):
            async with conn.transaction():
                restored = await restore_records(conn, step, places, destination, is_whole=True)
            places |= restored.buried
            refused += [Unusable(record.line, "", reason) for record, reason in restored.refused]
    return refused


async def _make_links(
    conn: Connection, file: PlainFile, site: Site, owner: str | None, refused: list[Unusable]
) -> dict[LinkKey, Place]:
    owners = {line.code: line.owner for _, line in archive.read_lines(file) if isinstance(line, LinkLine)}
    places: dict[LinkKey, Place] = {}
    for found in archive.read_links(file):
        if isinstance(found, Unusable):
            refused.append(found)
        if not isinstance(found, FoundLink):
            continue
        if isinstance(found, FoundRecord):
            continue
        whose = owner or owners[found.code]
        draft = replace(new_draft(_form(found), whose, site), folds_case=bool(found.fields.get("folds_case")))
        over = found.fields.get("expires_at")
        if isinstance(over, str) and datetime.fromisoformat(over) <= datetime.now(UTC):
            draft = replace(draft, fields=replace(draft.fields, expires_at=datetime.fromisoformat(over)))
        hashed = None if found.password_hash is None else check_password_hash(found.password_hash)
        draft = replace(draft, fields=replace(draft.fields, password_hash=hashed))
        async with conn.transaction():
            (outcome,) = await store_links(conn, whose, [draft])
        assert isinstance(outcome, Outcome)
        places[outcome.link.key] = Place(outcome.link.id, whose)
    return places


def _form(found: FoundLink) -> LinkIn:
    fields = {name: value for name, value in found.fields.items() if name not in ("expires_at", "folds_case")}
    over = found.fields.get("expires_at")
    if isinstance(over, str) and datetime.fromisoformat(over) > datetime.now(UTC):
        fields["expires_at"] = over
    return LinkIn.model_validate({**fields, "url": found.url, "code": found.code, "domain": found.domain})


def _steps(values: Iterable[T]) -> Iterator[Sequence[T]]:
    left = iter(values)
    while step := list(islice(left, STEP)):
        yield step


@asynccontextmanager
async def connect(database: Database) -> AsyncIterator[Connection]:
    conn = await asyncpg.connect(database.links_url)
    try:
        yield conn
    finally:
        await conn.close()


UNTOLD = {"id", "min_reader", "clicks_sorted", "humans_sorted"}
"""Columns of a link that only its own database knows, or that follow others some seconds later."""


async def select_everything(database: Database) -> dict[str, Any]:
    """All that an archive has to bring back, row by row, under names that do not depend on the database."""
    async with connect(database) as conn:
        rows = await conn.fetch("SELECT * FROM links")
        names: dict[object, object] = {row["id"]: (row["domain"], row["code"]) for row in rows}
        links = {names[row["id"]]: {name: value for name, value in row.items() if name not in UNTOLD} for row in rows}
        used = {
            names[row["link_id"]]: row["used"] for row in await conn.fetch("SELECT * FROM link_claims WHERE used > 0")
        }
        sources = {
            (row["owner"], row["source"], row["short_url"]): names[row["link_id"]]
            for row in await conn.fetch("SELECT * FROM link_sources WHERE source <> 'archive'")
        }
        counts = await select_counts(conn)
        raw = Counter((names[link_id], at, *rest) for at, link_id, *rest in await select_raw(conn))
        domains = [{**row, "updated_at": None} for row in await conn.fetch("SELECT * FROM domains ORDER BY domain")]
        files = [tuple(row) for row in await conn.fetch("SELECT domain, name, content FROM domain_files ORDER BY 1, 2")]
    return {
        "links": links,
        "used": used,
        "sources": sources,
        "domains": domains,
        "files": files,
        "clicks": raw,
        **{
            kind: {
                (names.get(whose, whose), *rest): count
                for (whose, *rest), count in getattr(counts, kind).items()
                if count
            }
            for kind in ("slots", "values", "visitors")
        },
    }
