"""Looking up what memory does not hold: together, once, in time, and never older than a known change."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
from redis.asyncio import Redis

from deploy.local.valkey import Valkey
from services.redirect.feed import Feed, FeedReader
from services.redirect.lookup.cache import Cache, open_cache
from services.redirect.lookup.resolver import Resolver, ResolverFull, Unresolved
from services.redirect.lookup.source import Source, open_source
from services.redirect.memory import Memory
from shared.records import READER, Record, VersionedRecord, pack_reading, redis_key, unpack_reading
from tests.conftest import Database
from tests.faults import FaultyProxy, faulty_proxy
from tests.redirect.conftest import AddLink

URL = "https://www.example.com/"
KEY = ("sho.rt", "a")


@dataclass
class Parts:
    """The tiers of a redirector, with proxies before both stores."""

    memory: Memory
    cache: Cache
    source: Source
    feed: Feed
    reader: FeedReader
    resolver: Resolver
    postgres: FaultyProxy
    redis: FaultyProxy

    async def url_of(self, code: str = "a") -> str | None:
        record = await self.resolver.resolve(("sho.rt", code))
        return record and record.url


@asynccontextmanager
async def parts_of(database: Database, valkey: Valkey, folder: Path) -> AsyncIterator[Parts]:
    folder.mkdir()
    async with AsyncExitStack() as stack:
        postgres_socket = folder / ".s.PGSQL.5432"
        target = database.server.sockets / ".s.PGSQL.5432"
        postgres = await stack.enter_async_context(faulty_proxy(postgres_socket, target))
        redis = await stack.enter_async_context(faulty_proxy(folder / "valkey.sock", valkey.socket))
        url = database.redirect_url.replace(quote(str(database.server.sockets), safe=""), quote(str(folder), safe=""))
        cache = await stack.enter_async_context(
            open_cache(valkey.url.replace(str(valkey.socket), str(folder / "valkey.sock")))
        )
        source = await stack.enter_async_context(open_source(url))
        memory = Memory(2**20)
        feed = Feed(memory)
        reader = FeedReader(database.redirect_url, feed)
        stack.callback(reader.close)
        await reader.poll()
        resolver = Resolver(memory=memory, cache=cache, source=source, feed=feed)
        yield Parts(memory, cache, source, feed, reader, resolver, postgres, redis)


@pytest.fixture
async def parts(database: Database, valkey: Valkey, valkey_url: str, socket: Path) -> AsyncIterator[Parts]:
    async with parts_of(database, valkey, socket.with_suffix("")) as found:
        yield found


@pytest.fixture
async def admin(valkey: Valkey, valkey_url: str) -> AsyncIterator[Redis]:
    """Redis with all rights, past the proxy."""
    async with Redis.from_url(valkey.admin_url) as redis:
        yield redis


@pytest.fixture
async def truth(database: Database) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The database as its owner."""
    conn = await asyncpg.connect(database.owner_url)
    yield conn
    await conn.close()


async def edit(truth: "asyncpg.Connection[asyncpg.Record]", url: str, code: str = "a") -> None:
    """What the write service does for an edit."""
    async with truth.transaction():
        await truth.execute("UPDATE links SET url = $2 WHERE code = $1", code, url)
        await truth.execute("INSERT INTO link_changes (domain, code) VALUES ('sho.rt', $1)", code)


async def test_record_comes_from_postgres_then_redis_then_memory(parts: Parts, add_link: AddLink, admin: Redis) -> None:
    """Each tier is filled by the one behind it, and asked before it."""
    await add_link("a", URL)
    assert await parts.url_of() == URL
    packed = await admin.get(redis_key(KEY))
    assert isinstance(packed, bytes)
    assert unpack_reading(packed).record is not None
    parts.postgres.refuse()
    parts.memory.clear()
    assert await parts.url_of() == URL
    parts.redis.refuse()
    assert await parts.url_of() == URL

    assert (parts.resolver.postgres_reads, parts.resolver.redis_hits) == (1, 1)


async def test_all_fields_survive_the_way(parts: Parts, add_link: AddLink) -> None:
    """A record from Redis is the one from Postgres, field by field."""
    fields = {
        "status_code": 307,
        "cache_control": 5,
        "expired_url": URL + "over",
        "forward_query": True,
        "enabled": False,
    }
    await add_link("a", URL, **fields)
    from_postgres = await parts.resolver.resolve(KEY)
    parts.memory.clear()
    from_redis = await parts.resolver.resolve(KEY)

    assert from_postgres == from_redis
    assert isinstance(from_redis, Record)
    assert from_redis._asdict().items() >= fields.items()


async def test_misses_of_one_moment_travel_together(parts: Parts, add_link: AddLink) -> None:
    """A thousand waiting for a hundred codes cost each store one round trip."""
    for n in range(100):
        await add_link(f"c{n}", f"{URL}{n}")
    urls = await asyncio.gather(*(parts.url_of(f"c{n % 100}") for n in range(1000)))

    assert urls == [f"{URL}{n % 100}" for n in range(1000)]
    assert parts.resolver.postgres_reads == 100
    assert parts.postgres.connections == parts.redis.connections == 1


async def test_absent_code_is_remembered_in_redis_for_seconds(parts: Parts, add_link: AddLink, admin: Redis) -> None:
    """That there is no link is kept where nothing else is, and only for 5 seconds."""
    assert await parts.url_of() is None
    assert await parts.url_of() is None
    assert parts.resolver.postgres_reads == 1
    assert 0 < await admin.pttl(redis_key(KEY)) <= 5000

    await add_link("b", URL)
    assert await parts.url_of("b") == URL
    await parts.cache.put_many({("sho.rt", "b"): VersionedRecord(10**6, None)})
    packed = await admin.get(redis_key(("sho.rt", "b")))
    assert isinstance(packed, bytes)
    assert unpack_reading(packed).record is not None
    assert 9 * 60_000 <= await admin.pttl(redis_key(("sho.rt", "b"))) <= 10 * 60_000


async def test_what_only_a_newer_release_understands_is_not_in_redis(
    parts: Parts, add_link: AddLink, admin: Redis
) -> None:
    """This release may have read less of such a record than the newer one needs."""
    await add_link("a", URL, min_reader=READER + 1)

    assert await parts.url_of() == URL
    assert parts.resolver.postgres_reads == 1
    assert await admin.get(redis_key(KEY)) is None


async def test_custom_code_is_found_although_it_was_absent(
    parts: Parts, add_link: AddLink, truth: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A code that is created after someone looked for it is found as soon as the feed tells."""
    assert await parts.url_of() is None
    await add_link("a", URL)
    await truth.execute("INSERT INTO link_changes (domain, code) VALUES ('sho.rt', 'a')")
    await parts.reader.poll()

    assert await parts.url_of() == URL


async def test_change_outdates_every_copy(
    parts: Parts, add_link: AddLink, truth: "asyncpg.Connection[asyncpg.Record]", admin: Redis
) -> None:
    """Once a change is known, neither memory nor Redis brings the old target back, whatever Redis still holds."""
    await add_link("a", URL + "old")
    await parts.url_of()
    old = await admin.get(redis_key(KEY))
    assert isinstance(old, bytes)
    await edit(truth, URL + "new")
    await parts.reader.poll()
    assert await parts.url_of() == URL + "new"

    await admin.set(redis_key(KEY), old)
    parts.memory.clear()
    assert await parts.url_of() == URL + "new"


async def test_slow_reader_cannot_bring_an_old_target_back(
    parts: Parts, add_link: AddLink, truth: "asyncpg.Connection[asyncpg.Record]", admin: Redis
) -> None:
    """A reader held between its reading of the old row and its fill reads again, and stores nothing old."""
    await add_link("a", URL + "old")
    await add_link("b", URL)
    await parts.url_of("b")
    parts.postgres.hold_answers()
    reading = asyncio.create_task(parts.url_of())
    await parts.postgres.wait_held()
    await edit(truth, URL + "new")
    await parts.reader.poll()
    parts.postgres.release_answers()

    assert await reading == URL + "new"
    assert await parts.url_of() == URL + "new"
    packed = await admin.get(redis_key(KEY))
    assert isinstance(packed, bytes)
    record = unpack_reading(packed).record
    assert record is not None
    assert record.url == URL + "new"


async def test_fill_of_one_who_did_not_know_is_refused_by_those_who_do(
    parts: Parts, add_link: AddLink, truth: "asyncpg.Connection[asyncpg.Record]", admin: Redis
) -> None:
    """A redirector that fills Redis with the old row, before it hears of the change, misleads nobody who has heard."""
    await add_link("a", URL + "old")
    await edit(truth, URL + "older")
    await parts.reader.poll()
    as_of_before = parts.feed.version
    await edit(truth, URL + "new")
    await parts.reader.poll()
    old = Record(1, URL + "old", 302, None, None, None, None, True, False, False, 1)
    await admin.set(redis_key(KEY), pack_reading(VersionedRecord(as_of_before, old)))

    assert await parts.url_of() == URL + "new"


async def test_garbage_in_redis_is_no_record(parts: Parts, add_link: AddLink, admin: Redis) -> None:
    """Bytes that are no record are passed over."""
    await add_link("a", URL)
    for garbage in (b"", b"\xc1", b"\x91\xa1x", b"\x92\x01\x02", b"\x81\x01\x02", b"x" * 100):
        await admin.set(redis_key(KEY), garbage)
        parts.memory.clear()
        assert await parts.url_of() == URL


async def test_redis_that_hangs_costs_its_deadline_a_few_times(parts: Parts, add_link: AddLink) -> None:
    """A Redis that does not answer is asked three times, then left alone but for trials, and answers come from Postgres."""
    for n in range(50):
        await add_link(f"c{n}", f"{URL}{n}")
    parts.redis.hold_answers()
    for n in range(50):
        assert await parts.url_of(f"c{n}") == f"{URL}{n}"
    assert 3 <= parts.cache.failures <= 10
    assert not parts.cache.is_up

    parts.redis.release_answers()
    async with asyncio.timeout(30):
        while not parts.cache.is_up:
            parts.memory.clear()
            await parts.url_of("c1")
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("fault", ["refuse", "hold_answers"])
async def test_postgres_away_is_no_404(parts: Parts, add_link: AddLink, fault: str) -> None:
    """Without Postgres a code that nobody knows is unresolved, one in memory is served past its lifetime, and both recover."""
    await add_link("a", URL)
    await parts.url_of()
    getattr(parts.postgres, fault)()
    parts.redis.refuse()
    entry = parts.memory.find(KEY)
    assert entry is not None
    for _ in range(5):
        with pytest.raises(Unresolved):
            await parts.url_of("unknown")
        entry.fresh_until = entry.answered_until = 0.0
        assert await parts.url_of() == URL
        assert entry.answered_until > 0
    assert parts.resolver.stale_answers == 5
    assert not parts.source.is_up

    parts.postgres.accept()
    parts.postgres.release_answers()
    async with asyncio.timeout(30):
        while True:
            try:
                assert await parts.url_of("unknown") is None
                break
            except Unresolved:
                await asyncio.sleep(0.01)


async def test_number_of_waiting_codes_is_bounded(parts: Parts) -> None:
    """No more than a bounded number of codes wait to be looked up; however many ask for one of them, it is one."""
    parts.resolver = Resolver(
        memory=parts.memory, cache=parts.cache, source=parts.source, feed=parts.feed, waiting_limit=10
    )
    results = await asyncio.gather(*(parts.url_of(f"x{n % 12}") for n in range(22)), return_exceptions=True)
    crowded = [type(result) for result in results if result is not None]

    assert crowded == [ResolverFull] * 2
    assert results[10:12] == [result for result in results if result is not None]
    assert await parts.url_of("x11") is None


async def test_visitor_who_leaves_disturbs_nobody(parts: Parts, add_link: AddLink) -> None:
    """When one of several waiting visitors goes away, the others get their answer."""
    await add_link("a", URL)
    await parts.url_of("warm")
    parts.postgres.hold_answers()
    visitors = [asyncio.create_task(parts.url_of()) for _ in range(3)]
    await parts.postgres.wait_held()
    visitors[0].cancel()
    parts.postgres.release_answers()

    assert await asyncio.gather(*visitors[1:]) == [URL, URL]
