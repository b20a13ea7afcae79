"""Moving by archives: codes of every kind, decisions and where links came from come along; nobody gets at others' codes."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from pydantic import ValidationError

from services.links.archive.writing import ArchiveWriter
from services.links.sources.archive_lines import ClickLine, DayLine, DomainLine, Line, LinkLine, Manifest, TombstoneLine
from shared.postgres import Connection
from tests.conftest import Database
from tests.links.conftest import ClientOf
from tests.links.import_client import bring, export, refused

URL = "https://www.example.com/"
AT = datetime(2026, 1, 1, tzinfo=UTC)
MOVED = "/api/v1/exports/archive"


def link(code: str, **more: Any) -> LinkLine:
    told = {"domain": "sho.rt", "owner": "alice", "url": URL, "fields": {}, "created_at": AT, "updated_at": AT, **more}
    return LinkLine.model_validate({"code": code, **told})


def tombstone(code: str, **more: Any) -> TombstoneLine:
    times = dict.fromkeys(("created_at", "updated_at", "deleted_at"), AT)
    return TombstoneLine.model_validate({"domain": "sho.rt", "code": code, "owner": "alice", **times, **more})


def write(lines: Sequence[Line]) -> bytes:
    writer = ArchiveWriter(
        Manifest(format=1, release="tests", created_at=AT, owner=None, passwords=True, raw_clicks=False)
    )
    return writer.begin() + writer.add(lines) + writer.end()


async def forget(database: Database, *tables: str) -> None:
    """Make an empty installation of this one."""
    owner = await asyncpg.connect(database.owner_url)
    for table in tables:
        await owner.execute(f"DELETE FROM {table}")
    await owner.close()


async def test_codes_of_every_kind_come_back(client_with: ClientOf, links: Connection) -> None:
    """Slashes that a domain of the archive allows, marks at the end and codes in any case are those of their owners again."""
    admin = await client_with("root", "admin")
    lines: list[Line] = [
        DomainLine(domain="sho.rt", decided={"multi_segment": True, "page_title": "A"}, version=3),
        link("mail+"),
        link("mail"),
        link("docs-of/us"),
        link("any", folds_case=True),
        link("other", owner="bob"),
        link("other.", owner="bob"),
        tombstone("gone+"),
    ]
    checked = await bring(admin, write(lines), dry_run=True)
    failing = await bring(admin, write(lines), dry_run=True, on_conflict="fail")
    done = await bring(admin, write(lines))
    stems = await links.fetch("SELECT code, owner, folds_case FROM code_stems ORDER BY code")
    (domain,) = await links.fetch("SELECT * FROM domains WHERE domain = 'sho.rt'")

    assert (checked["made"], checked["refused"], failing["error"]) == (6, 0, None)
    assert (done["state"], done["made"], done["refused"]) == ("done", 6, 0)
    assert [tuple(row) for row in stems] == [
        ("any", "alice", True),
        ("docs-of/us", "alice", False),
        ("gone+", "alice", False),
        ("mail+", "alice", False),
        ("other.", "bob", False),
    ]
    assert (domain["multi_segment"], domain["version"], domain["page_title"]) == (True, 3, "A")
    assert domain["has_tail_codes"]
    assert domain["has_folding_codes"]


async def test_exported_domain_is_one_that_an_import_takes(
    client_with: ClientOf, links: Connection, database: Database
) -> None:
    """What a domain knows of its codes is no decision; with it a decision would be refused."""
    admin = await client_with("root", "admin")
    await admin.post("/api/v1/links", json={"url": URL, "code": "mail+"})
    await admin.patch("/api/v1/domains/sho.rt", json={"multi_segment": True})
    content = (await admin.get(MOVED)).content
    await forget(database, "domains")
    done = await bring(admin, content)

    assert await refused(admin, done["id"]) == []
    assert await links.fetchval("SELECT multi_segment FROM domains WHERE domain = 'sho.rt'")


@pytest.mark.parametrize(
    "line",
    [
        tombstone("mail+", expired_url="https://evil.example/"),
        tombstone("mail."),
        tombstone("abc", folds_case=True),
        link("abc", folds_case=True),
        tombstone("docs"),
        tombstone("a b"),
        tombstone("../a"),
        tombstone("ABCD", folds_case=True),
    ],
    ids=lambda line: f"{type(line).__name__} {line.code}",
)
async def test_archive_gets_no_code_like_that_of_another(
    client_with: ClientOf, links: Connection, line: LinkLine | TombstoneLine
) -> None:
    """Neither a link nor a deleted one comes between a visitor and the link of another owner, or where no link can be."""
    alice, mallory = await client_with("alice"), await client_with("mallory")
    for code in ("mail", "ABC"):
        await alice.post("/api/v1/links", json={"url": URL, "code": code})
    done = await bring(mallory, write([line]))

    assert (done["state"], done["made"], done["refused"]) == ("done", 0, 1)
    assert await links.fetchval("SELECT count(*) FROM links WHERE owner = 'mallory'") == 0


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (LinkLine, {"created_at": "0001-01-01T00:00:00+14:00"}),
        (LinkLine, {"updated_at": "9999-12-31T23:59:59-14:00"}),
        (LinkLine, {"version": 2**31 - 1}),
        (TombstoneLine, {"deleted_at": "9999-12-31T23:59:59-14:00"}),
        (TombstoneLine, {"expires_at": "0001-01-01T00:00:00+14:00"}),
        (DayLine, {"day": "0001-01-01"}),
        (DayLine, {"day": "9999-12-31"}),
        (ClickLine, {"at": "0001-01-01T00:00:00+14:00"}),
    ],
)
def test_times_that_cannot_be_read_back_are_refused(kind: type[Line], values: dict[str, Any]) -> None:
    """Postgres has years that Python has not: one such link would break every list that it is in."""
    whole = {LinkLine: link("a"), TombstoneLine: tombstone("a")}
    shared = {"domain": "sho.rt", "code": "a"}
    base = whole[kind].model_dump(mode="json") if kind in whole else shared
    with pytest.raises(ValidationError, match=next(iter(values))):
        kind.model_validate_json(json.dumps({**base, **values}))


async def test_days_that_have_not_come_are_left_out(client_with: ClientOf, links: Connection) -> None:
    """A click of the year 2190 would stay for ever: it is told and left out, and the link is there."""
    alice = await client_with("alice")
    day = datetime(2190, 1, 1, tzinfo=UTC)
    lines: list[Line] = [
        link("a"),
        DayLine(domain="sho.rt", code="a", day=day.date(), slots=[(0, 1, 0)]),
        ClickLine(domain="sho.rt", code="a", at=day),
    ]
    done = await bring(alice, write(lines))

    assert (done["state"], done["made"], done["refused"], done["visits"]) == ("done", 1, 2, 0)
    assert await links.fetchval("SELECT count(*) FROM click_days") == 0


async def test_file_that_came_before_the_move_changes_nothing_after_it(
    client_with: ClientOf, database: Database
) -> None:
    """Where a link came from moves with it: the same file finds it; undone and brought again it is that link, once."""
    alice = await client_with("alice", "links:read", "links:write", "stats:read")
    old = export({"code": "summer", "url": f"{URL}1"}, {"code": "winter", "url": f"{URL}2"})
    first = await bring(alice, old)
    await alice.patch("/api/v1/links/summer", json={"url": f"{URL}edited"})
    await alice.delete("/api/v1/links/winter")
    content = (await alice.get(MOVED)).content
    await forget(database, "links", "link_sources", "imports")
    moved = await bring(alice, content)
    again = await bring(alice, old)

    assert (first["made"], moved["made"], moved["refused"]) == (2, 1, 0)
    # Whoever deletes a link and imports it again gets it back, here as there.
    assert (again["found"], again["made"], again["refused"]) == (1, 1, 0)
    assert (await alice.get("/api/v1/links/summer")).json()["url"] == f"{URL}edited"
