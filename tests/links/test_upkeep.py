"""The works by the clock: none stops another, and none stops for ever."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from services.links.upkeep import LONGEST_PAUSE, WORKS, prune_for_ever
from services.links.web.idempotency import delete_old_requests
from shared.postgres import Connection, Pool, open_pool
from tests.conftest import Database

TIMEOUT_S = 60


async def test_work_that_fails_stops_nothing(database: Database) -> None:
    """An exception that nobody expected is survived by the others and by the work itself, which is tried less often."""
    done: list[str] = []
    is_over = asyncio.Event()

    async def fail(pool: Pool) -> None:
        done.append("failed")
        raise KeyError("nobody expects this")

    async def count(pool: Pool) -> None:
        done.append("counted")
        if done.count("failed") == 7:
            is_over.set()

    async with open_pool(database.links_url, size=1, application="tests") as pool:
        upkeep = asyncio.create_task(prune_for_ever(pool, (fail, count), interval_s=0.001))
        await asyncio.wait_for(is_over.wait(), TIMEOUT_S)
        upkeep.cancel()
    rounds = "".join("f" if each == "failed" else "c" for each in done).split("f")[1:-1]
    longest = [1, 2, 4, 8, LONGEST_PAUSE, LONGEST_PAUSE]

    assert [len(each) <= most <= 2 * len(each) for each, most in zip(rounds, longest, strict=True)] == [True] * 6


async def test_keys_are_deleted_although_partitions_cannot_be_made(database: Database) -> None:
    """What fails in one work keeps no other from its own: keys go in time without any right to create partitions."""
    owner = await asyncpg.connect(database.owner_url)
    today = datetime.now(UTC).date()
    await owner.execute("REVOKE EXECUTE ON FUNCTION create_click_partition(date) FROM tinyurl_links")
    await owner.execute("INSERT INTO click_keys (day, key) VALUES ($1, '')", today - timedelta(days=2))
    async with open_pool(database.links_url, size=1, application="tests") as pool:
        upkeep = asyncio.create_task(prune_for_ever(pool, WORKS, interval_s=0.001))
        async with asyncio.timeout(TIMEOUT_S):
            while await owner.fetchval("SELECT count(*) FROM click_keys"):
                await asyncio.sleep(0.01)
        upkeep.cancel()
    await owner.close()


async def test_answers_are_purged_in_parts(database: Database) -> None:
    """A part that fails takes back none of those before it; what is younger than a day stays."""
    owner: Connection = await asyncpg.connect(database.owner_url)
    links: Connection = await asyncpg.connect(database.links_url)
    await owner.execute(
        """
        INSERT INTO remembered_requests (owner, key, request_hash, created_at)
        SELECT 'alice', n::text, '', now() - make_interval(hours => 40 - n, mins => 30) FROM generate_series(1, 20) AS n;
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'too slow'; END $$;
        CREATE TRIGGER slow BEFORE DELETE ON remembered_requests FOR EACH ROW WHEN (old.key = '12') EXECUTE FUNCTION refuse();
        """
    )
    with pytest.raises(asyncpg.RaiseError):
        await delete_old_requests(links, at_once=3)
    left = await owner.fetchval("SELECT count(*) FROM remembered_requests")
    await owner.execute("DROP TRIGGER slow ON remembered_requests")
    rest = await delete_old_requests(links, at_once=3)
    kept = [row["key"] for row in await owner.fetch("SELECT key FROM remembered_requests ORDER BY created_at")]
    await owner.close()
    await links.close()

    assert left == 11
    assert rest == 7
    assert kept == ["17", "18", "19", "20"]
