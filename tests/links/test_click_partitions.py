"""Raw clicks by day: partitions made ahead, and dropped by `tinyurl retention`."""

import asyncio
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from typer.testing import CliRunner

from deploy.command.cli import app
from deploy.command.retention import drop_old_clicks
from services.links.clicks.enrichment import Enricher
from services.links.clicks.upkeep import create_partitions, select_partitions
from shared.postgres import Connection, open_pool
from shared.settings import LONGEST_RETENTION_DAYS
from tests.conftest import Database
from tests.links.click_data import COUNTS, DAY_S, NOON, check_sums, click, make_links, records, take
from tests.links.intake_client import send


async def test_partitions_are_created_ahead(links: Connection, enricher: Enricher) -> None:
    """Today's and those of three days to come, by several at once; clicks of a day that came too early move into its own."""
    (link,) = await make_links(links, 1)
    today = datetime.fromtimestamp(NOON, UTC).date()
    await take(links, enricher, [click(link, at=NOON + days * DAY_S) for days in range(-1, 6)])
    for _ in range(2):
        await create_partitions(links, today)
    await take(links, enricher, [click(link, at=NOON), click(link, at=NOON + 4 * DAY_S)])

    assert await select_partitions(links) == [today + timedelta(days=days) for days in range(4)]
    assert await links.fetchval("SELECT count(*) FROM clicks_default") == 4
    assert await links.fetchval("SELECT count(*) FROM clicks WHERE tableoid = 'clicks_20261124'::regclass") == 2
    assert await check_sums(links) == 9
    assert await links.fetchval("SELECT count(DISTINCT id) FROM clicks") == 9


@pytest.mark.parametrize("may_create", [True, False])
async def test_first_clicks_find_their_partition(
    intake: httpx.AsyncClient, owner: Connection, may_create: bool
) -> None:
    """Partitions exist before anything is stored; if they cannot be made, the clicks are taken all the same."""
    (link,) = await make_links(owner, 1)
    today = datetime.now(UTC).date()
    if not may_create:
        await owner.execute("REVOKE EXECUTE ON FUNCTION create_click_partition(date) FROM tinyurl_links")
    answer = await send(intake, records([click(link)] * 3), segment=uuid4())
    days = await select_partitions(owner)

    assert answer.status_code == 200
    assert await check_sums(owner) == 3
    assert await owner.fetchval("SELECT count(*) FROM clicks_default") == (0 if may_create else 3)
    assert set(days) >= ({today + timedelta(days=ahead) for ahead in range(3)} if may_create else set())
    assert bool(days) is may_create


async def test_clicks_do_not_wait_for_partitions(intake: httpx.AsyncClient, owner: Connection) -> None:
    """If a partition takes longer than a batch may, as when millions of clicks move into it, clicks are taken without it."""
    (link,) = await make_links(owner, 1)
    await owner.execute(
        """
        CREATE OR REPLACE FUNCTION create_click_partition(day date) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(9); END $$
        """
    )
    answer = await send(intake, records([click(link)]), segment=uuid4())

    assert answer.status_code == 200
    assert await check_sums(owner) == 1


async def test_partitions_are_created_while_clicks_are_stored(database: Database, enricher: Enricher) -> None:
    """Several services that create the same partitions at once, and batches meanwhile: nobody fails."""
    today = datetime.fromtimestamp(NOON, UTC).date()
    async with open_pool(database.links_url, size=8, application="tests") as pool:
        (link,) = await make_links(pool, 1)  # type: ignore[arg-type]  # it has `fetch`

        async def create() -> None:
            async with pool.acquire() as conn:
                await create_partitions(conn, today)

        async def store() -> int:
            async with pool.acquire() as conn:
                return sum([(await take(conn, enricher, [click(link, at=NOON)] * 50)).clicks for _ in range(10)])

        *_, one, two = await asyncio.gather(create(), create(), create(), store(), store())
        async with pool.acquire() as conn:
            assert await check_sums(conn) == one + two == 1000


async def test_retention_drops_raw_clicks_and_keeps_counts(
    links: Connection, database: Database, enricher: Enricher, tmp_path: Path
) -> None:
    """Whole days before the last N go, with and without a partition; counts stay; doing it again does nothing."""
    (link,) = await make_links(links, 1)
    now = datetime.now(UTC)
    today = now.date()
    for days in (40, 31, 30, 1):
        await links.execute("SELECT create_click_partition($1)", today - timedelta(days=days))
    ages = [60, 60, 40, 31, 30, 29, 1, 0]
    await take(links, enricher, [click(link, at=now.timestamp() - days * DAY_S) for days in ages])
    before = {table: await links.fetch(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4") for table in COUNTS}
    kept_all = await run_retention(database, tmp_path, days=0)
    dropped = await run_retention(database, tmp_path, days=30)
    again = await run_retention(database, tmp_path, days=30)

    assert kept_all == (0, "raw clicks are kept for ever\n")
    assert dropped[0] == 0
    assert "of 2 days" in dropped[1]
    assert "and 2 of days without" in dropped[1]
    assert again == (0, "nothing to do: no raw clicks are older than 30 days\n")
    assert await links.fetchval("SELECT count(*) FROM clicks") == 4
    assert {table: await links.fetch(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4") for table in COUNTS} == before
    assert await links.fetchval("SELECT clicks FROM links") == len(ages)
    assert await drop_old_clicks(database.links_url, 0) == ([], 0)


@pytest.mark.parametrize("days", ["36501", "1000000", "99999999999999999999", "-1", "1.5", "many", ""])
async def test_impossible_retention_is_refused_by_name(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: str
) -> None:
    """A number of days that no calendar has, or that is none, is refused with the setting's or the option's name."""
    monkeypatch.setenv("LINKS_DATABASE_URL", database.links_url)
    runner, here = CliRunner(), ["--data", str(tmp_path)]
    by_option = await asyncio.to_thread(runner.invoke, app, ["retention", "--days", days, *here])
    monkeypatch.setenv("CLICKS_RETENTION_DAYS", days)
    by_setting = await asyncio.to_thread(runner.invoke, app, ["retention", *here])

    assert (by_option.exit_code, by_setting.exit_code) == (2, 2)
    assert "--days" in unstyled(by_option.output)
    assert "CLICKS_RETENTION_DAYS" in by_setting.output


async def test_longest_retention_works(database: Database, tmp_path: Path) -> None:
    """The largest number of days that is taken leads to a day that Postgres and Python know."""
    done = await run_retention(database, tmp_path, days=LONGEST_RETENTION_DAYS)

    assert done == (0, "nothing to do: no raw clicks are older than 36500 days\n")


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "1e12"])
def test_impossible_interval_is_refused_by_name(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: str
) -> None:
    """An interval that is no time to wait is refused before anything is done."""
    monkeypatch.setenv("LINKS_DATABASE_URL", database.links_url)
    refused = CliRunner().invoke(app, ["retention", "--every", hours, "--data", str(tmp_path)])

    assert refused.exit_code == 2
    assert "--every" in unstyled(refused.output)


async def run_retention(database: Database, folder: Path, *, days: int) -> tuple[int, str]:
    """Run `tinyurl retention` as a process of its own, and return its exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.command.cli", "retention", "--days", str(days), "--data", str(folder)),
        env={**os.environ, "LINKS_DATABASE_URL": database.links_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def unstyled(output: str) -> str:
    """What a terminal shows, without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", output)
