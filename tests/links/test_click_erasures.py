"""`DELETE /api/v1/links/{code}/clicks`: a link's clicks go out of counts and raw clicks, and nobody else's do."""

import zlib
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from services.links.clicks.batches import Store
from services.links.clicks.counts import EnrichedClick
from services.links.clicks.enrichment import Enricher
from services.links.clicks.packing import pack_clicks
from services.links.clicks.rows import insert_clicks
from services.links.packed.chunks import ChunkClicks, ChunkLinks, drop_link, pack_chunk
from services.links.packed.erasing import erase_some
from services.links.packed.moving import CountMover
from services.links.upkeep import erase_clicks
from shared.api import Dimensions
from shared.postgres import Connection, open_pool
from tests.conftest import Database
from tests.links.click_data import DAY_S, GOOGLEBOT, IPHONE, NOON, click, make_links, take
from tests.links.conftest import ClientOf
from tests.links.packed_data import count_raw, select_counts, select_raw

CLICKS = "/api/v1/links/alice1/clicks"
STATS = "/api/v1/links/alice1/stats"
BETWEEN = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-30T00:00:00Z"}

_clicks = st.builds(
    EnrichedClick,
    st.integers(0, 86_399_999_999),
    st.integers(1, 4),
    st.just("alice"),
    st.just(b"1" * 16),
    st.booleans(),
    st.builds(Dimensions, *[st.sampled_from(["a", "b", "ü"])] * len(Dimensions._fields)),
)


def clicks_of(chunk_clicks: ChunkClicks, links: ChunkLinks, link_id: int) -> list[tuple[object, ...]]:
    return [row[1:] for _, places in links.of_link(link_id) for row in chunk_clicks.rows(places)]


@given(clicks=st.lists(_clicks, min_size=1, max_size=30), gone=st.integers(1, 5))
def test_a_chunk_without_a_link_has_all_others(clicks: list[EnrichedClick], gone: int) -> None:
    """Nothing of the link is left in any column, known or not, and the clicks of other links are as they were."""
    ordered = sorted(clicks, key=lambda each: each.link_id)
    chunk = pack_chunk(0, ordered)
    left = drop_link(chunk, gone)
    kept = [each for each in clicks if each.link_id != gone]

    if len(kept) == len(clicks):
        assert left is chunk
    elif not kept:
        assert left is None
    else:
        assert left is not None
        before = ChunkClicks(chunk.since_us, chunk.clicks), ChunkLinks(chunk.links)
        after = ChunkClicks(left.since_us, left.clicks), ChunkLinks(left.links)
        for link_id in range(1, 5):
            assert clicks_of(*after, link_id) == ([] if link_id == gone else clicks_of(*before, link_id))
        assert set(after[1].links) == {each.link_id for each in kept}
        columns = columns_of(left.clicks).values()
        values = {value for column in columns if isinstance(column, list) for value in column[0]}
        assert values == {value for each in kept for value in each.dimensions}


def columns_of(packed: bytes) -> dict[int, Any]:
    """All columns of a chunk, whether they are known or not."""
    columns: dict[int, Any] = msgpack.unpackb(zlib.decompress(msgpack.unpackb(packed)[0]), strict_map_key=False)
    return columns


async def fill(conn: Connection, enricher: Enricher, stores: list[Store]) -> list[int]:
    """Click two links of alice and one of bob on three days, each batch stored in its own way."""
    ids = [*await make_links(conn, 2), *await make_links(conn, 1, owner="bob")]
    for number, store in enumerate(stores):
        ticks = [
            [
                click(link, at=NOON + day * DAY_S + number, agent=agent, address=b"192.0.2.%d" % number, language=b"de")
                for link in ids
                for agent in (IPHONE, GOOGLEBOT)
            ]
            for day in range(-2, 1)
        ]
        await take(conn, enricher, *ticks, store=store)
    return ids


async def test_clicks_of_a_link_are_erased_and_no_others(
    client_with: ClientOf, links: Connection, database: Database, enricher: Enricher
) -> None:
    """However they are stored, they are gone from counts, raw clicks and the number in lists; all other counts add up."""
    link, other, of_bob = await fill(links, enricher, [insert_clicks, pack_clicks, pack_clicks, insert_clicks])
    mover = CountMover()
    for _ in range(3):
        await mover.move_some(links)
    client = await client_with("alice", "stats:read", "links:write", "links:read")
    asked = [(await client.delete(CLICKS)).status_code for _ in range(2)]
    async with open_pool(database.links_url, size=1, application="tests") as pool:
        await erase_clicks(pool)
    stats = (await client.get(STATS, params=BETWEEN)).json()
    of_all = (await client.get("/api/v1/stats", params=BETWEEN)).json()
    raw = await select_raw(links)
    counted, counts = count_raw(raw), await select_counts(links)

    assert asked == [202, 202]
    assert Counter(each.link_id for each in raw) == {other: 24, of_bob: 24}
    assert +counts.slots == counted.slots
    assert +counts.values == counted.values
    assert (stats["totals"]["clicks"], stats["totals"]["unique_visitors"]) == (0, 0)
    assert of_all["totals"]["clicks"] == 24
    assert (await client.get(CLICKS)).json()["items"] == []
    rows = await links.fetch("SELECT id, clicks, humans, bots FROM links ORDER BY id")
    assert [tuple(row) for row in rows] == [(link, 0, 0, 0), (other, 24, 12, 12), (of_bob, 24, 12, 12)]
    assert await links.fetchval("SELECT count(*) FROM click_visitors WHERE link_id = $1", link) == 0


async def test_clicks_between_the_steps_count(links: Connection, enricher: Enricher, store: Store) -> None:
    """A click that comes after its day's step stays, in counts and raw clicks, with its visitor."""
    link, *_ = await fill(links, enricher, [store])
    await links.execute("INSERT INTO click_erasures (link_id, owner) VALUES ($1, 'alice')", link)
    while await links.fetchval("SELECT count(*) FROM click_erasures"):
        await erase_some(links)
    await take(links, enricher, [click(link, at=NOON, agent=IPHONE)], store=store)
    while await erase_some(links):
        pass
    counts = await select_counts(links)

    assert sum(each.link_id == link for each in await select_raw(links)) == 1
    assert sum(count for (whose, *_), count in counts.slots.items() if whose == link) == 1
    assert counts.visitors[link, datetime.fromtimestamp(NOON, UTC).date(), False] == 1
    assert await links.fetchval("SELECT clicks FROM links WHERE id = $1", link) == 1


async def test_chunks_of_a_newer_release_are_left(links: Connection, enricher: Enricher) -> None:
    """A column that is not known here loses the link's places, too; a chunk of a format that is not known stays as it is."""
    link, _, _ = await fill(links, enricher, [pack_clicks])
    for row in await links.fetch("SELECT id, clicks FROM click_chunks ORDER BY id"):
        newer = {99: (["Graz", "Wien"], bytes([0, 0, 1, 1, 1, 1])), 100: b"aabbcc"}
        _, seen = msgpack.unpackb(row["clicks"])
        packed = msgpack.packb((zlib.compress(msgpack.packb(columns_of(row["clicks"]) | newer)), seen))
        await links.execute("UPDATE click_chunks SET clicks = $2 WHERE id = $1", row["id"], packed)
    newest = await links.fetchval("SELECT max(id) FROM click_chunks")
    await links.execute("UPDATE click_chunks SET format = 2 WHERE id = $1", newest)
    await links.execute("INSERT INTO click_erasures (link_id, owner) VALUES ($1, 'alice')", link)
    while await erase_some(links):
        pass
    rows = await links.fetch("SELECT links, clicks FROM click_chunks ORDER BY id")

    for row in rows[:-1]:
        columns = columns_of(row["clicks"])
        assert (columns[99], columns[100]) == ([["Wien"], bytes(4)], b"bbcc")
    assert link in ChunkLinks(rows[-1]["links"]).links


async def test_clicks_of_an_owner_are_erased(
    client_with: ClientOf, links: Connection, database: Database, enricher: Enricher
) -> None:
    """Everything of all his links is gone, unique visitors, too; another owner's is as it was, and who comes again is new."""
    *mine, of_bob = await fill(links, enricher, [insert_clicks, pack_clicks])
    client = await client_with("alice", "stats:read", "links:write")
    refused = await client.delete("/api/v1/clicks", params={"owner": "bob"})
    asked = await client.delete("/api/v1/clicks")
    async with open_pool(database.links_url, size=1, application="tests") as pool:
        await erase_clicks(pool)
    erased = (await client.get("/api/v1/stats", params=BETWEEN)).json()["totals"]
    await take(links, enricher, [click(mine[0], at=NOON, address=b"192.0.2.0", agent=IPHONE)], store=pack_clicks)
    after = (await client.get("/api/v1/stats", params=BETWEEN)).json()["totals"]

    assert (refused.status_code, asked.status_code) == (403, 202)
    assert erased == {"clicks": 0, "humans": 0, "bots": 0, "imported": 0, "unique_visitors": 0}
    assert after == {"clicks": 1, "humans": 1, "bots": 0, "imported": 0, "unique_visitors": 1}
    assert Counter(each.link_id for each in await select_raw(links)) == {of_bob: 12, mine[0]: 1}
    assert sum(count for (whose, *_), count in (await select_counts(links)).visitors.items() if whose == "bob") == 12


async def test_only_who_may_write_may_erase(client_with: ClientOf, links: Connection) -> None:
    """The scope is needed, and another owner's link is not found."""
    await make_links(links, 1)
    reader, bob = await client_with("alice", "stats:read"), await client_with("bob", "links:write")

    assert [(await client.delete(CLICKS)).status_code for client in (reader, bob)] == [403, 404]
    assert await links.fetchval("SELECT count(*) FROM click_erasures") == 0
