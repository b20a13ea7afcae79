"""The importing process gives several imports their turns: none disturbs another, waits for a file, or fails for ever."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from services.links.imports import process, running, stages
from services.links.imports.forms import DomainMap, ImportOptions, OnConflict
from services.links.imports.process import MOST_FAILURES, Importer
from services.links.imports.rows import ImportRow, insert_import, select_import, update_state
from services.links.imports.running import Run
from services.links.imports.spool import FileConnection, append_part
from services.links.imports.stages import Stage
from shared.postgres import Connection, OwnConnection, open_connection
from shared.settings import LinksSettings
from tests.conftest import Database
from tests.links.import_client import export, some_links

PART = 10_000


@pytest.fixture
async def file_conn(database: Database) -> AsyncIterator[OwnConnection]:
    async with open_connection(database.links_url, "tests") as conn:
        yield conn


@pytest.fixture
def importer(own_conn: OwnConnection, file_conn: OwnConnection, links_settings: LinksSettings) -> Importer:
    return Importer(own_conn, FileConnection(file_conn), links_settings)


@pytest.fixture
async def own_conn(database: Database) -> AsyncIterator[OwnConnection]:
    async with open_connection(database.links_url, "tests") as conn:
        yield conn


async def spool(
    conn: Connection, owner: str, content: bytes, *, on_conflict: OnConflict = "skip", dry_run: bool = False
) -> UUID:
    """Store a file to import, in small parts."""
    options = ImportOptions(
        filename="", on_conflict=on_conflict, domains=DomainMap(default="sho.rt", hosts={}), zone="UTC", encoding=None,
        day_first=None, fold_case=False, scheme=None, slashes=None,
    )  # fmt: skip
    import_id = UUID(int=int.from_bytes(owner.encode()))
    await insert_import(conn, import_id, owner, options, format=None, is_admin=False, is_gzip=False, dry_run=dry_run)
    for start in range(0, len(content), PART):
        assert await append_part(conn, import_id, start, content[start : start + PART])
    await update_state(conn, import_id, "waiting", stage="reading")
    return import_id


async def read(conn: Connection, import_id: UUID) -> ImportRow:
    job = await select_import(conn, import_id)
    assert job is not None
    return job


async def work(importer: Importer) -> None:
    """Give turns until nothing is left to do."""
    async with asyncio.timeout(60):
        while (await importer.turn(False))[0] == process.MORE:
            pass
    await importer.close()


async def test_dry_runs_of_two_owners_do_not_meet(
    importer: Importer, links: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a dry run has checked is not found in another owner's, also if they take turns after each step."""
    monkeypatch.setattr(process, "TURN_S", 0.001)
    monkeypatch.setitem(stages.STEP_ROWS, Stage.CHECK_LINKS, 50)
    content = export(*some_links(200), *some_links(1), {"code": "c0000000", "url": "https://www.example.com/0"})
    both = [await spool(links, owner, content, dry_run=True) for owner in ("anna", "ben")]
    await work(importer)
    jobs = [await read(links, each) for each in both]

    assert [(each.state, each.counts.made, each.counts.found) for each in jobs] == [("done", 200, 2)] * 2


async def test_more_owners_than_open_files_all_get_through(
    importer: Importer, links: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more imports than may be open at once each is read once from its beginning, however short the turns are."""
    monkeypatch.setattr(process, "TURN_S", 0.001)
    monkeypatch.setitem(stages.STEP_ROWS, Stage.CHECK_LINKS, 50)
    ids = [
        await spool(links, f"o{number}", export(*some_links(200, number * 1_000)))
        for number in range(process.OPEN_AT_ONCE + 2)
    ]
    await work(importer)

    assert [(await read(links, each)).counts.made for each in ids] == [200] * len(ids)


async def test_file_of_which_every_process_dies_ends_its_import(
    own_conn: OwnConnection,
    file_conn: OwnConnection,
    links: Connection,
    links_settings: LinksSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reading begins anew in each process, so the steps before the place where they die do not make up for it."""
    monkeypatch.setattr(process, "TURN_S", 0.001)
    monkeypatch.setitem(stages.STEP_ROWS, Stage.CHECK_LINKS, 50)
    import_id = await spool(links, "anna", export(*some_links(4_000)))
    rows_read = []
    for _ in range(MOST_FAILURES + 1):
        importer = Importer(own_conn, FileConnection(file_conn), links_settings)
        await importer.turn(False)
        await importer.close()
        rows_read.append((await read(links, import_id)).counts.rows_read)

    assert all(rows < 4_000 for rows in rows_read)
    assert (await read(links, import_id)).state == "failed"


async def test_turn_does_not_wait_for_a_slow_file(
    own_conn: OwnConnection,
    file_conn: OwnConnection,
    links: Connection,
    links_settings: LinksSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step whose rows are not read yet does nothing, and a later one goes on."""
    monkeypatch.setattr(running, "WAIT_S", 0.05)
    monkeypatch.setitem(stages.STEP_ROWS, Stage.CHECK_LINKS, 50)
    import_id = await spool(links, "anna", export(*some_links(2_000)))
    files = FileConnection(file_conn)
    run = Run(own_conn, files, await read(links, import_id), links_settings)
    await run.step()
    async with files.turn:
        waited = [await run.step() for _ in range(50)]
        stopped = (await read(links, import_id)).position
        assert (await run.step(), (await read(links, import_id)).position) == (0, stopped)
    while await run.step() is not None:
        pass
    await run.close()

    assert waited == [0] * 50
    assert stopped < 2_000
    assert (await read(links, import_id)).counts.made == 2_000
