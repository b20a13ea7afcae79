"""Packed clicks: what a day and a chunk hold, how large they may become, and what of them other releases may write."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.command.retention import drop_old_clicks
from services.links.app import create_app
from services.links.clicks.counts import EnrichedClick
from services.links.clicks.enrichment import Enricher
from services.links.clicks.packing import pack_clicks
from services.links.clicks.upkeep import delete_old_visitors
from services.links.packed import chunks
from services.links.packed.chunks import ChunkClicks, ChunkLinks, pack_chunk
from services.links.packed.days import (
    DAY_US,
    FORMAT,
    MOST_RANGES,
    MOST_VALUES_OF_LINK,
    MOST_VALUES_OF_OWNER,
    OTHER,
    SECOND_US,
    DayCounts,
)
from shared.api import Dimensions
from shared.postgres import Connection
from shared.settings import LinksSettings
from tests.conftest import Database
from tests.links.click_data import DAY_S, GOOGLEBOT, IPHONE, NOON, click, make_links, records, take
from tests.links.conftest import ClientOf
from tests.links.intake_client import HEADERS, send
from tests.links.packed_data import check_stored, select_counts, select_raw
from tests.serving import client_of, serve

DAY = int(NOON) // DAY_S
PLAIN = Dimensions("DE", "Firefox", "Linux", "desktop", "direct", "de")

_dimensions = st.builds(Dimensions, *[st.sampled_from(["", "a", "b", "unknown", "ü"])] * len(Dimensions._fields))
_clicks = st.builds(
    EnrichedClick,
    st.integers(0, DAY_US - 1).map(lambda time: -3 * DAY_US + time),
    st.integers(1, 5),
    st.sampled_from(["alice", "bob"]),
    st.none() | st.binary(min_size=16, max_size=16).filter(lambda visitor: any(visitor[:8])),
    st.booleans(),
    _dimensions,
)


@given(clicks=st.lists(_clicks, min_size=1, max_size=40))
def test_a_chunk_gives_back_its_clicks(clicks: list[EnrichedClick]) -> None:
    """Each link's clicks come out as they went in, to the microsecond, and none of another's."""
    ordered = sorted(clicks, key=lambda each: (each.link_id, each.owner))
    owners = {each.link_id: each.owner for each in reversed(ordered)}
    ordered = [each._replace(owner=owners[each.link_id]) for each in ordered]
    chunk = pack_chunk(-3, ordered)
    links, columns = ChunkLinks(chunk.links), ChunkClicks(chunk.since_us, chunk.clicks)

    for link_id in range(7):
        found = [
            EnrichedClick(row.time_us, link_id, owner, row.visitor, row.is_bot, row.dimensions)
            for owner, places in links.of_link(link_id)
            for row in columns.rows(places)
        ]
        expected = [each for each in ordered if each.link_id == link_id]
        assert found == [each._replace(visitor=each.visitor and each.visitor[:8]) for each in expected]
    for owner in ("alice", "bob"):
        places = [place for _, span in links.of_owners(owner) for place in span]
        assert places == [place for place, each in enumerate(ordered) if each.owner == owner]
    assert (chunk.since_us, chunk.until_us) == (min(c.time_us for c in clicks), max(c.time_us for c in clicks))


@given(numbers=st.lists(st.integers(1, 10_000), min_size=1, max_size=300))
def test_a_day_names_all_its_chunks_in_few_ranges(numbers: list[int]) -> None:
    """In whatever order chunks come, each is in one of the ranges, and these are sorted, apart, and few."""
    counts = DayCounts()
    for number in numbers:
        counts.add_chunk(number)
    ranges = list(DayCounts(counts.pack()).chunks())

    assert all(any(first <= number <= last for first, last in ranges) for number in numbers)
    ends = [end for each in ranges for end in each]
    assert ends == sorted(ends)
    assert len(ranges) <= MOST_RANGES
    if len(set(numbers)) <= MOST_RANGES:
        assert {number for first, last in ranges for number in range(first, last + 1)} == set(numbers)


async def test_further_values_of_a_day_count_together(
    client_with: ClientOf, links: Connection, enricher: Enricher
) -> None:
    """A day names so many values of a dimension; the clicks of others are in `other`, and no click is missing."""
    (link,) = await make_links(links, 1)
    count = MOST_VALUES_OF_OWNER + 20
    await take(
        links,
        enricher,
        [click(link, at=NOON, referrer=b"https://www.site-%d.example/" % n) for n in range(count)],
        [click(link, at=NOON, referrer=b"https://www.site-0.example/")],
        store=pack_clicks,
    )
    kept = {
        row["owner"]: DayCounts(row["counts"]).values("referrer", is_bot=False)
        for row in await links.fetch("SELECT owner, counts FROM click_days")
    }
    stats = await client_with("alice", "stats:read")
    params = {"from": "2026-11-24T00:00:00Z", "to": "2026-11-25T00:00:00Z", "top": "100"}
    referrers = (await stats.get("/api/v1/links/alice1/stats", params=params)).json()["dimensions"]["referrer"]

    assert [len(kept[""]), kept[""][OTHER]] == [MOST_VALUES_OF_LINK + 1, count - MOST_VALUES_OF_LINK]
    assert [len(kept["alice"]), kept["alice"][OTHER]] == [MOST_VALUES_OF_OWNER + 1, 20]
    assert referrers["top"][0] == {"value": "site-0.example", "clicks": 2, "humans": 2, "bots": 0}
    assert len(referrers["top"]) == 100
    assert sum(each["clicks"] for each in referrers["top"]) + referrers["other"]["clicks"] == count + 1


async def test_parts_of_a_newer_release_survive(links: Connection, enricher: Enricher) -> None:
    """What this release does not know of a day stays when it adds to the day, and a column of a chunk is passed over."""
    (link,) = await make_links(links, 1)
    await take(links, enricher, [click(link, at=NOON)], store=pack_clicks)
    newer = {40: {"Graz": 1}, 1000: [1, 2], 1001: b"x"}
    for row in await links.fetch("SELECT owner, counts FROM click_days"):
        parts = msgpack.unpackb(row["counts"], strict_map_key=False) | newer
        await links.execute("UPDATE click_days SET counts = $2 WHERE owner = $1", row["owner"], msgpack.packb(parts))
    await take(links, enricher, [click(link, at=NOON)], store=pack_clicks)
    rows = await links.fetch("SELECT counts FROM click_days")

    for row in rows:
        parts = msgpack.unpackb(row["counts"], strict_map_key=False)
        assert {number: parts[number] for number in newer} == newer
    assert await check_stored(links) == 2


async def test_formats_of_a_newer_release_are_left_alone(links: Connection, enricher: Enricher) -> None:
    """Days and chunks of a format that is not known here are neither read nor changed; clicks count beside them."""
    (link,) = await make_links(links, 1)
    await take(links, enricher, [click(link, at=NOON)], store=pack_clicks)
    for table in ("click_days", "click_chunks"):
        await links.execute(f"UPDATE {table} SET format = format + 1")
    before = await links.fetch("SELECT * FROM click_days ORDER BY owner")
    await take(links, enricher, [click(link, at=NOON)], store=pack_clicks)

    newer = await links.fetch("SELECT * FROM click_days WHERE format <> $1 ORDER BY owner", FORMAT)
    assert newer == before
    (row,) = await links.fetch("SELECT humans, counts FROM click_days WHERE format = $1 AND link_id = $2", FORMAT, link)
    assert (row["humans"], DayCounts(row["counts"]).clicks(is_bot=False)) == (1, 1)
    assert await links.fetchval("SELECT clicks FROM links") == 2
    assert await links.fetchval("SELECT count(*) FROM click_chunks WHERE format = $1", chunks.FORMAT) == 1


def test_numbers_of_parts_never_change() -> None:
    """The stored value of a day, as the first release wrote it: another number for a part would be another format."""
    counts = DayCounts()
    counts.add_clicks(
        [(DAY * DAY_US + 3600 * SECOND_US, 1, "alice", None, is_bot, PLAIN) for is_bot in (False, True)], 9
    )
    counts.add_visitors(False, 1)
    counts.add_visitors(True, 2)
    for number in (7, 8, 9):
        counts.add_chunk(number)
    values = [{value: 1} for value in PLAIN[:-1]]

    assert msgpack.unpackb(counts.pack(), strict_map_key=False) == {
        0: [7, 2],
        2: 1,
        3: 2,
        4: {4: 1},
        5: {4: 1},
        **{16 + 2 * place: value for place, value in enumerate(values)},
        **{17 + 2 * place: value for place, value in enumerate(values)},
    }


async def test_late_clicks_are_packed_without_visitors(links: Connection, enricher: Enricher) -> None:
    """Clicks that come days late count on their day, and add no visitor once that day's key is gone."""
    (link,) = await make_links(links, 1)
    day = datetime.fromtimestamp(NOON, UTC).date()
    await take(links, enricher, [click(link, at=NOON), click(link, at=NOON - DAY_S)], store=pack_clicks)
    before = (await select_counts(links)).visitors
    await delete_old_visitors(links, day + timedelta(days=2))
    late = [click(link, at=NOON), click(link, at=NOON, address=b"203.0.113.8"), click(link, at=NOON - 5 * DAY_S)]
    await take(links, enricher, late, [click(link, at=NOON + DAY_S)], store=pack_clicks)
    after = (await select_counts(links)).visitors

    assert {key: count for key, count in after.items() if key[1] != day + timedelta(days=1)} == before
    assert sum(each.visitor is None for each in await select_raw(links)) == 3
    assert await check_stored(links) == 6


async def test_visitors_are_one_whoever_stores_them(links: Connection, enricher: Enricher) -> None:
    """A visitor whose clicks are stored in rows and packed is one of the day, in whichever order."""
    one, two = await make_links(links, 2)
    for address, stores in ((b"192.0.2.1", ["rows", "packed"]), (b"192.0.2.2", ["packed", "rows", "packed"])):
        for kind in stores:
            clicks = [
                click(link, at=NOON, address=address, agent=agent)
                for link in (one, two)
                for agent in (IPHONE, GOOGLEBOT)
            ]
            await (
                take(links, enricher, clicks, store=pack_clicks) if kind == "packed" else take(links, enricher, clicks)
            )

    assert Counter((await select_counts(links)).visitors.values()) == {2: 6}
    assert await check_stored(links) == 20


async def test_what_postgres_refuses_of_packed_clicks_is_set_aside(
    links: Connection, owner: Connection, enricher: Enricher
) -> None:
    """A click that cannot be stored is found by halving, and all others of the batch are stored and counted."""
    good, bad = await make_links(links, 2)
    await owner.execute(f"ALTER TABLE click_days ADD CONSTRAINT no_bad CHECK (link_id <> {bad})")
    taken = await take(links, enricher, *([click(bad if n % 40 == 7 else good)] for n in range(120)), store=pack_clicks)

    assert (taken.clicks, taken.refused) == (117, 3)
    assert await check_stored(links) == 117


async def test_setting_lets_the_worker_pack(
    intake_settings: LinksSettings, owner: Connection, socket: Path, enricher: Enricher
) -> None:
    """With PACKED_CLICKS the click worker packs what it takes, each click once; without, it writes rows."""
    (link,) = await make_links(owner, 1)
    data, segment = records([click(link)] * 3), uuid4()
    for is_packed in (True, False):
        settings = intake_settings.model_copy(update={"packed_clicks": is_packed})
        async with serve(create_app(settings), socket), client_of(socket, **HEADERS) as client:
            client.timeout = httpx.Timeout(30)
            for _ in range(2):
                answer = await send(client, data, segment=segment)
                assert answer.status_code == 200, answer.text
        segment = uuid4()

    assert await owner.fetchval("SELECT count(*) FROM clicks") == 3
    assert await owner.fetchval("SELECT count(*) FROM click_chunks") == 1
    assert await check_stored(owner) == 6


async def test_a_day_that_has_just_begun_is_not_read_whole(
    links: Connection, owner: Connection, enricher: Enricher
) -> None:
    """What is known of the table is of the days before; each row of the new one is still found by its key."""
    ids = await make_links(links, 500)
    await take(links, enricher, [click(link, at=NOON) for link in ids], store=pack_clicks)
    await owner.execute("ANALYZE click_days")
    # A plan that was made before would be kept.
    await links.execute("DISCARD PLANS")
    async with links.transaction():
        for some in (ids, ids[:50], ids[-50:]):
            await take(links, enricher, [click(link, at=NOON + DAY_S) for link in some], store=pack_clicks)
        read = await links.fetchval("SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'click_days'")

    assert read == 0
    assert await check_stored(links) == 1100


@pytest.mark.parametrize("kept_days", [0, 30])
async def test_retention_drops_chunks_and_keeps_counts(
    links: Connection, database: Database, enricher: Enricher, kept_days: int
) -> None:
    """Chunks of the days before the last N go; counts stay; doing it again does nothing."""
    (link,) = await make_links(links, 1)
    now = datetime.now(UTC)
    ages = [60, 60, 31, 30, 1, 0]
    await take(links, enricher, [click(link, at=now.timestamp() - days * DAY_S) for days in ages], store=pack_clicks)
    before = await select_counts(links)
    dropped, _ = await drop_old_clicks(database.links_url, kept_days)

    assert dropped == ([] if kept_days == 0 else [now.date() - timedelta(days=days) for days in (60, 31)])
    assert await drop_old_clicks(database.links_url, kept_days) == ([], 0)
    assert await select_counts(links) == before
    assert len(await select_raw(links)) == (6 if kept_days == 0 else 3)
