"""Chunks of a day are merged in steps, while clicks come, are asked for and are erased: each click stays, and is named once."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.links.clicks.counts import EnrichedClick
from services.links.clicks.enrichment import Enricher
from services.links.clicks.packing import pack_clicks
from services.links.packed import merging
from services.links.packed.chunks import TIMES, ChunkClicks, ChunkLinks, pack_chunk, pack_columns, unpack_columns
from services.links.packed.days import DAY_US, DayCounts
from services.links.packed.erasing import erase_some, insert_erasure
from services.links.packed.merging import SMALL_BYTES, STEP_BYTES, Run, SizedChunk, choose_run, merge_chunks, merge_some
from services.links.packed.rows import select_chunk_spans, select_chunks
from services.links.stats.packed import select_packed_clicks
from services.links.stats.scopes import Period
from services.links.upkeep import Merger
from services.links.web.cursors import Position
from shared.api import UNKNOWN, Dimensions
from shared.postgres import Connection, open_pool
from shared.settings import LinksSettings
from tests.conftest import Database
from tests.links.click_data import DAY_S, IPHONE, NOON, click, make_links, take
from tests.links.conftest import ClientOf
from tests.links.packed_data import check_stored, select_raw
from tests.links.stats_data import COUNT, DAYS, FIRST, STORES, store_clicks

TODAY = date(2026, 11, 24)
CLICKS = "/api/v1/links/alice1/clicks"

_clicks = st.builds(
    EnrichedClick,
    st.sampled_from([0, 1, 255, 256, DAY_US - 1]) | st.integers(0, DAY_US - 1),
    st.integers(1, 5),
    st.just(""),
    st.none() | st.sampled_from([b"1" * 16, b"2" * 16]),
    st.booleans(),
    st.builds(Dimensions, *[st.sampled_from(["a", "b", "ü"])] * len(Dimensions._fields)),
)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chunks are many, some clicks are large, and a step is soon full."""
    for name, value in {"MANY_SMALL": 2, "SMALL_BYTES": 600, "STEP_BYTES": 2_000, "MERGED_CLICKS": 12}.items():
        monkeypatch.setattr(merging, name, value)


async def check_named(conn: Connection) -> None:
    """Check that the day of each link and owner names the chunks of all its clicks."""
    found: Counter[object] = Counter()
    for row in await conn.fetch("SELECT link_id, owner, day, counts FROM click_days"):
        day = (row["day"] - date(1970, 1, 1)).days
        ranges = list(DayCounts(row["counts"]).chunks())
        spans = await select_chunk_spans(conn, day, ranges, day * DAY_US, (day + 1) * DAY_US)
        for _, chunk in await select_chunks(conn, day, [span.number for span in spans]):
            links, clicks = ChunkLinks(chunk.links), ChunkClicks(chunk.since_us, chunk.clicks)
            whose = links.of_link(row["link_id"]) if row["link_id"] else links.of_owners(row["owner"])
            found[row["link_id"] or row["owner"], row["day"]] += sum(
                len(list(clicks.rows(places))) for _, places in whose
            )
    raw = await select_raw(conn)
    assert +found == Counter((each.link_id, each.day) for each in raw) + Counter((each.owner, each.day) for each in raw)


@given(batches=st.lists(st.lists(_clicks, min_size=1, max_size=12), min_size=1, max_size=5), size=st.integers(1, 9))
def test_merged_chunks_have_the_same_clicks(batches: list[list[EnrichedClick]], size: int) -> None:
    """No more chunks come out than went in; a link's clicks follow each other by time, those of a moment as they came."""
    by_link = [
        sorted((each._replace(owner=f"owner {each.link_id % 2}") for each in batch), key=lambda each: each.link_id)
        for batch in batches
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "MERGED_CLICKS", size)
        merged = merge_chunks([pack_chunk(0, each) for each in by_link])

    assert len(merged) <= len(batches)
    opened = [(ChunkLinks(each.links), ChunkClicks(each.since_us, each.clicks)) for each in merged]
    for link_id in range(6):
        found = [
            EnrichedClick(row.time_us, link_id, owner, row.visitor, row.is_bot, row.dimensions)
            for links, clicks in opened
            for owner, places in links.of_link(link_id)
            for row in clicks.rows(places)
        ]
        expected = [each for batch in by_link for each in batch if each.link_id == link_id]
        assert found == [
            each._replace(visitor=each.visitor and each.visitor[:8])
            for each in sorted(expected, key=lambda each: each.time_us)
        ]
    for chunk, (_, clicks) in zip(merged, opened, strict=True):
        times = [row.time_us for row in clicks.rows(range(sum(count for *_, count in ChunkLinks(chunk.links))))]
        assert (chunk.since_us, chunk.until_us) == (min(times), max(times))
    owners = [{owner for owner, _ in links.of_owners(None)} for links, _ in opened]
    assert all(max(one) <= min(next_one) for one, next_one in pairwise(owners))


def test_columns_of_a_newer_release_are_merged() -> None:
    """A column that is not known here stays, and has what is missing where a chunk does not have it."""
    plain = Dimensions(*["a"] * len(Dimensions._fields))
    one, two = [pack_chunk(0, [EnrichedClick(time, 1, "alice", None, False, plain)] * 2) for time in (5, 3)]
    columns, seen = unpack_columns(one.clicks)
    newer = {99: (["Graz", "Wien"], bytes([0, 1])), 100: b"abcdefghijkl"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "MERGED_CLICKS", 4)
        (merged,) = merge_chunks([one._replace(clicks=pack_columns(columns | newer, seen)), two])
    found, _ = unpack_columns(merged.clicks)

    assert found[TIMES] == bytes([0, 0, 2, 2])
    assert found[99] == [[UNKNOWN, "Graz", "Wien"], bytes([0, 0, 1, 2])]
    assert found[100] == b"".join(b"\0\0" + b"abcdefghijkl"[place : place + 2] for place in range(0, 12, 2))


SMALL, LARGE, WHOLE = (True, SMALL_BYTES - 1), (True, STEP_BYTES // 4), (False, SMALL_BYTES - 1)


@pytest.mark.parametrize(
    ("sizes", "is_over", "expected"),
    [
        ([SMALL] * 15, False, None),
        ([WHOLE, LARGE, *[SMALL] * 16, LARGE], False, Run(range(2, 18), is_whole=False)),
        ([WHOLE, LARGE, SMALL, *[LARGE] * 4], False, Run(range(1, 6), is_whole=True)),
        ([LARGE] * 3, False, None),
        ([LARGE, WHOLE, *[LARGE] * 3], False, None),
        ([LARGE, WHOLE, SMALL, *[LARGE] * 2], True, Run(range(2, 5), is_whole=True)),
        ([WHOLE, LARGE, *[SMALL] * 15], True, None),
    ],
)
def test_chunks_are_merged_when_they_are_many(
    sizes: list[tuple[bool, int]], is_over: bool, expected: Run | None
) -> None:
    """Small ones become larger ones; enough of any size, or two larger ones of a day that is over, become whole ones."""
    run = choose_run((SizedChunk(number, *each) for number, each in enumerate(sizes)), is_over=is_over)

    assert run == (expected and expected._replace(numbers=list(expected.numbers)))


@given(
    batches=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 6), st.sampled_from(["", "merge", "merge", "erase"])),
        min_size=1,
        max_size=14,
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("small_steps")
async def test_each_click_is_in_one_chunk_that_its_day_names(
    conn: Connection, enricher: Enricher, batches: list[tuple[int, int, str]]
) -> None:
    """However batches, late ones, erasures and steps alternate, each click is there once, and where its day says."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        ids = [*await make_links(conn, 2), *await make_links(conn, 2, owner="bob")]
        for number, (late_days, count, then) in enumerate(batches):
            clicks = [
                click(ids[n % 4], at=NOON - late_days % 2 * DAY_S + n // 4, address=b"192.0.2.%d" % number)
                for n in range(count * 4 - late_days)
            ]
            await take(conn, enricher, clicks, store=pack_clicks)
            if then == "merge":
                await merge_some(conn, TODAY)
            elif then == "erase":
                await insert_erasure(conn, ids[number % 4], "alice" if number % 4 < 2 else "bob")
                for _ in range(2):
                    await merge_some(conn, TODAY)
                    await erase_some(conn)
            # What is being erased is in chunks that no day names.
            if not await conn.fetchval("SELECT EXISTS (SELECT FROM click_erased_spans)"):
                await check_named(conn)
        while await merge_some(conn, TODAY) or await erase_some(conn):
            pass

        await check_named(conn)
    finally:
        await transaction.rollback()


async def merge_all(conn: Connection, today: date = TODAY) -> int:
    """Returns the steps."""
    steps = 0
    while await merge_some(conn, today):
        steps += 1
    return steps


async def chunk_count(conn: Connection) -> int:
    count: int = await conn.fetchval("SELECT count(*) FROM click_chunks")
    return count


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("stores", [STORES["packed"] * 20, STORES["both"] * 8], ids=["packed", "both"])
async def test_answers_stay_while_chunks_are_merged(
    client_with: ClientOf, database: Database, stores: tuple[Any, ...]
) -> None:
    """Statistics of whole days and of parts of days, and raw clicks, are the same before, in the middle and after."""
    await store_clicks(database, stores)
    reader = await client_with("alice", "stats:read")
    questions: list[tuple[str, dict[str, str]]] = [
        (path, {"from": since.isoformat(), "to": until.isoformat(), "interval": "hour", "time_zone": "Asia/Kathmandu"})
        for path in ("/api/v1/links/alice1/stats", "/api/v1/stats")
        for since, until in (
            (FIRST + timedelta(hours=7), FIRST + timedelta(days=DAYS - 1, hours=5)),
            (FIRST + timedelta(days=2, hours=11), FIRST + timedelta(days=2, hours=16)),
        )
    ]
    questions.append((CLICKS, {"limit": "500"}))

    async def answers() -> list[bytes]:
        return [(await reader.get(path, params=params)).content for path, params in questions]

    conn = await asyncpg.connect(database.links_url)
    before, chunks, steps = await answers(), await chunk_count(conn), 0
    while await merge_some(conn, TODAY):
        steps += 1
        if steps % 5 == 0:
            assert await answers() == before
    assert await answers() == before
    assert await check_stored(conn) == COUNT

    assert steps > 10
    assert await chunk_count(conn) < chunks / 2
    await conn.close()


@pytest.mark.usefixtures("small_steps")
async def test_pages_go_on_while_chunks_are_merged(
    client_with: ClientOf, links: Connection, enricher: Enricher
) -> None:
    """Who reads raw clicks page by page gets each once, also those of one moment, whatever is merged and stored meanwhile."""
    (link,) = await make_links(links, 1)

    async def store(numbers: range) -> None:
        for number in numbers:
            clicks = [
                click(link, at=NOON + n // 2, referrer=b"https://s%d.example/" % (number * 6 + n)) for n in range(6)
            ]
            await take(links, enricher, clicks, store=pack_clicks)

    await store(range(12))
    reader = await client_with("alice", "stats:read")
    expected = [each["referrer"] for each in (await reader.get(CLICKS, params={"limit": "500"})).json()["items"]]
    found: list[str] = []
    cursor, steps = None, 0
    while cursor is not None or not found:
        page = (await reader.get(CLICKS, params={"limit": "5"} | ({"cursor": cursor} if cursor else {}))).json()
        found += [each["referrer"] for each in page["items"]]
        cursor = page["next_cursor"]
        steps += await merge_some(links, TODAY)
        if len(found) == 30:
            # Later than everything that was listed, at moments that were.
            await store(range(12, 13))
    late = {f"s{number}.example" for number in range(72, 78)}

    assert steps >= 3
    assert [each for each in found if each not in late] == expected
    assert len(found) == len(set(found))


async def test_cursors_of_the_release_before_go_on(links: Connection, enricher: Enricher) -> None:
    """A cursor that names a chunk and a place in it goes on behind its moment, and so does that release with one of ours."""
    (link,) = await make_links(links, 1)
    await take(links, enricher, [click(link, at=NOON + n) for n in range(4)], store=pack_clicks)
    always = Period(FIRST, FIRST + timedelta(days=60))
    asked: dict[str, Any] = {"bots": "include", "limit": 10}
    rows = await select_packed_clicks(links, link, always, after=None, **asked)
    theirs = Position(rows[1].clicked_at, -(7 << 20 | 2) - 1)
    ours = Position(rows[1].clicked_at, rows[1].id)

    assert [row.clicked_at.timestamp() - NOON for row in rows] == [3, 2, 1, 0]
    for after in (theirs, ours):
        assert await select_packed_clicks(links, link, always, after=after, **asked) == rows[2:]
    assert ours.row_id < -(2**41 << 20)


@pytest.mark.usefixtures("small_steps")
async def test_step_that_is_interrupted_merges_nothing(database: Database, enricher: Enricher) -> None:
    """A process that dies in the middle of a step leaves everything as it was; the lock is free, and the next one merges."""
    conn, other = [await asyncpg.connect(database.links_url) for _ in range(2)]
    (link,) = await make_links(conn, 1)
    for n in range(4):
        await take(conn, enricher, [click(link, at=NOON + n)], store=pack_clicks)
    tables = ("click_chunks", "click_days")
    before = [await conn.fetch(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]
    # The step has merged its chunks when it waits for the days.
    blocker = await asyncpg.connect(database.owner_url)
    await blocker.execute("BEGIN; LOCK TABLE click_days")
    step = asyncio.create_task(merge_some(other, TODAY))
    async with asyncio.timeout(20):
        while not await blocker.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
    assert await merge_some(conn, TODAY) is False
    other.terminate()
    await asyncio.wait([step])
    await blocker.execute("ROLLBACK")
    after = [await conn.fetch(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]
    async with asyncio.timeout(20):
        while not await merge_some(conn, TODAY):
            await asyncio.sleep(0.01)

    assert after == before
    assert await chunk_count(conn) == 1
    assert await check_stored(conn) == 4
    await check_named(conn)
    for each in (conn, blocker):
        await each.close()


@pytest.mark.usefixtures("small_steps")
async def test_clicks_that_come_late_are_merged_later(links: Connection, enricher: Enricher) -> None:
    """A click of a day whose chunks are merged is found at once, and merged with further ones when they are many."""
    ids = await make_links(links, 3)
    for n in range(30):
        await take(links, enricher, [click(each, at=NOON + n) for each in ids], store=pack_clicks)
    await merge_all(links)
    merged, whole = await chunk_count(links), "SELECT count(*) FROM click_chunks WHERE NOT mergeable"
    assert await links.fetchval(whole) > 0
    await take(links, enricher, [click(ids[1], at=NOON)], store=pack_clicks)
    await check_named(links)
    await take(links, enricher, [click(ids[2], at=NOON)], store=pack_clicks)
    await merge_all(links, TODAY + timedelta(days=9))

    await check_named(links)
    assert await chunk_count(links) <= merged + 1
    assert await check_stored(links) == 92


@pytest.mark.usefixtures("small_steps")
async def test_clicks_that_are_being_erased_are_not_merged(links: Connection, enricher: Enricher) -> None:
    """The chunks of a day wait until what was asked to be erased of it is; then the others' clicks are merged."""
    ids = await make_links(links, 2)
    for n in range(6):
        await take(links, enricher, [click(each, at=NOON + n) for each in ids], store=pack_clicks)
    await insert_erasure(links, ids[0], "alice")
    while not await links.fetchval("SELECT count(*) FROM click_erased_spans"):
        await erase_some(links)
    assert await merge_some(links, TODAY) is False
    while await erase_some(links):
        pass
    assert await merge_some(links, TODAY) is True

    assert Counter(each.link_id for each in await select_raw(links)) == {ids[1]: 6}
    await check_named(links)
    await insert_erasure(links, ids[1], "alice")
    while await erase_some(links):
        pass
    assert await chunk_count(links) == 0


@pytest.mark.usefixtures("small_steps")
async def test_everything_at_once_adds_up(database: Database, enricher: Enricher) -> None:
    """Batches, two mergers and an erasure on the same links and days at once: no deadlock, and each click is there once."""
    async with open_pool(database.links_url, size=6, application="tests") as pool:
        ids = await make_links(pool, 6)  # type: ignore[arg-type]  # it has `fetch`
        done = asyncio.Event()

        async def store(number: int) -> None:
            async with pool.acquire() as conn:
                for n in range(12):
                    clicks = [click(link, agent=IPHONE, at=NOON + number + n % 2 * DAY_S) for link in ids]
                    await take(conn, enricher, clicks, store=pack_clicks)

        async def work(step: Callable[[Connection], Any]) -> None:
            while not done.is_set():
                async with pool.acquire() as conn:
                    await step(conn)
                    await asyncio.sleep(0)

        workers = [asyncio.create_task(work(step)) for step in (merge_some, merge_some, erase_some)]
        stores = [asyncio.create_task(store(n)) for n in range(3)]
        async with pool.acquire() as conn:
            await insert_erasure(conn, ids[0], "alice")
        await asyncio.gather(*stores)
        done.set()
        await asyncio.gather(*workers)
        async with pool.acquire() as conn:
            while await merge_some(conn) or await erase_some(conn):
                pass
            await check_named(conn)
            raw = Counter(each.link_id for each in await select_raw(conn))
            deadlocks = await conn.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = $1", database.name)

    assert {link: raw[link] for link in ids[1:]} == dict.fromkeys(ids[1:], 36)
    assert deadlocks == 0


async def test_service_merges_in_a_process_aside(
    links_settings: LinksSettings, database: Database, enricher: Enricher
) -> None:
    """Upkeep starts the process when chunks are many; small ones that come out are merged with later ones."""
    conn = await asyncpg.connect(database.links_url)
    (link,) = await make_links(conn, 1)
    async with open_pool(database.links_url, size=1, application="tests") as pool:
        for count, left in ((15, 15), (1, 1), (15, 1)):
            for _ in range(count):
                await take(conn, enricher, [click(link)], store=pack_clicks)
            await Merger(links_settings).merge_chunks(pool)
            assert await chunk_count(conn) == left
    await check_named(conn)
    await conn.close()
