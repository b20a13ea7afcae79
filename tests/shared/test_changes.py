"""The change feed's table: versions become visible in their order, and old ones go."""

import asyncio

import asyncpg
import pytest

from shared.changes import Change, delete_old_changes, insert_change, select_changes, select_recent_changes
from shared.postgres import Connection
from tests.conftest import Database

KEY = ("sho.rt", "a")


async def add(conn: Connection, code: str, age: str = "0s") -> int:
    version: int = await conn.fetchval(
        """
        INSERT INTO link_changes (domain, code, changed_at)
        VALUES ('sho.rt', $1, clock_timestamp() - $2::text::interval) RETURNING version
        """,
        code,
        age,
    )
    return version


async def test_versions_become_visible_in_their_order(database: Database) -> None:
    """However many transactions announce changes at once, whoever sees a version has seen every lower one."""
    seen: list[list[int]] = []
    done = asyncio.Event()

    async def watch() -> None:
        conn = await asyncpg.connect(database.redirect_url)
        while not done.is_set():
            seen.append([change.version for change in await select_changes(conn, after=0, limit=10_000)])
        seen.append([change.version for change in await select_changes(conn, after=0, limit=10_000)])
        await conn.close()

    async def write(n: int) -> None:
        conn = await asyncpg.connect(database.links_url)
        for _ in range(20):
            async with conn.transaction():
                await insert_change(conn, ("sho.rt", str(n)))
                await asyncio.sleep(0.001 * (n % 3))
        await conn.close()

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(write(n) for n in range(8)))
    done.set()
    await watching

    assert len(seen[-1]) == 160
    for earlier in seen:
        assert earlier == seen[-1][: len(earlier)]


async def test_without_the_lock_versions_would_overtake_each_other(database: Database) -> None:
    """The control: a bare insert makes a later version visible while an earlier one is not."""
    slow, fast = await asyncpg.connect(database.links_url), await asyncpg.connect(database.links_url)
    transaction = slow.transaction()
    await transaction.start()
    early = await add(slow, "slow")
    late = await add(fast, "fast")
    first = [change.version for change in await select_changes(fast, after=0, limit=10)]
    await transaction.commit()
    second = [change.version for change in await select_changes(fast, after=0, limit=10)]
    await slow.close()
    await fast.close()

    assert first == [late]
    assert second == [early, late]


async def test_changes_after_a_version(conn: Connection) -> None:
    """The newest changes after a version come oldest first; of too many the oldest are left out."""
    versions = [await insert_change(conn, ("sho.rt", code)) for code in "abcd"]

    assert [change.key[1] for change in await select_changes(conn, after=versions[1], limit=10)] == ["c", "d"]
    assert [change.key[1] for change in await select_changes(conn, after=0, limit=3)] == ["b", "c", "d"]
    assert await select_changes(conn, after=versions[-1], limit=3) == []


async def test_recent_changes_are_all_after_some_version(conn: Connection) -> None:
    """What is read at a start has no gap, also where the server's clock was set back in between."""
    await add(conn, "old", "700s")
    await add(conn, "new", "10s")
    await add(conn, "old again, by the clock", "700s")
    newest = await add(conn, "newest", "5s")

    assert await select_recent_changes(conn, seconds=660, limit=10) == [Change(newest, ("sho.rt", "newest"))]
    assert len(await select_recent_changes(conn, seconds=1000, limit=10)) == 4
    assert len(await select_recent_changes(conn, seconds=1000, limit=2)) == 2
    assert [change.version for change in await select_recent_changes(conn, seconds=1, limit=10)] == [newest]


async def test_old_changes_are_pruned_but_for_the_newest(conn: Connection) -> None:
    """Changes older than a day go; the newest stays, so that its version is known."""
    await add(conn, "a", "2 days")
    kept = await add(conn, "b", "23 hours")
    newest = await add(conn, "c", "3 days")

    assert await delete_old_changes(conn) == 1
    assert [change.version for change in await select_changes(conn, after=0, limit=10)] == [kept, newest]


async def test_old_changes_are_pruned_in_parts(conn: Connection) -> None:
    """Whatever the size of a part, all that is old goes; what a clock dated ahead stays and hides nothing that follows it."""
    for _ in range(5):
        await add(conn, "old", "2 days")
    ahead = [await add(conn, "ahead", "-300 days") for _ in range(4)]
    for _ in range(3):
        await add(conn, "old", "25 hours")
    young = [await add(conn, "young", "1 hour") for _ in range(4)]

    assert await delete_old_changes(conn, at_once=2) == 8
    assert [change.version for change in await select_changes(conn, after=0, limit=20)] == [*ahead, *young]
    assert await delete_old_changes(conn, at_once=2) == 0


async def test_interrupted_pruning_keeps_what_it_has_done(database: Database) -> None:
    """A part that fails takes back none of those before it, so pruning ends however much there is."""
    owner, links = await asyncpg.connect(database.owner_url), await asyncpg.connect(database.links_url)
    versions = [await add(owner, "old", "2 days") for _ in range(10)]
    newest = await add(owner, "new")
    await owner.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'too slow'; END $$;
        CREATE TRIGGER slow BEFORE DELETE ON link_changes FOR EACH ROW WHEN (old.version % 10 = 7) EXECUTE FUNCTION refuse();
        """
    )
    with pytest.raises(asyncpg.RaiseError):
        await delete_old_changes(links, at_once=3)
    left = [change.version for change in await select_changes(links, after=0, limit=20)]
    await owner.execute("DROP TRIGGER slow ON link_changes")
    rest = await delete_old_changes(links, at_once=3)
    await links.close()
    await owner.close()

    assert versions[0] == 1
    assert left == [*versions[6:], newest]
    assert rest == 4
