"""The intake of clicks over HTTP: who may send, what each answer says, exactly once whatever races or dies."""

import asyncio
import gzip
import os
import random
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from services.links.app import create_app
from services.links.click_pipe import LARGEST_BATCH
from shared.clicks import Click
from shared.postgres import Connection
from shared.settings import LinksSettings
from tests.bench.measure import children
from tests.conftest import Database
from tests.links.click_data import FIRST_OFFSET, check_sums, click, make_links, records
from tests.serving import client_of, serve

TOKEN = "the internal token of the tests, long enough"  # noqa: S105  # of the tests
PREVIOUS = "the internal token before it, long enough"
URL = "/internal/clicks"


@pytest.fixture
def intake_settings(links_settings: LinksSettings) -> LinksSettings:
    tokens = {"internal_token": SecretStr(TOKEN), "internal_token_previous": SecretStr(PREVIOUS)}
    return links_settings.model_copy(update=tokens)


@pytest.fixture
async def intake(intake_settings: LinksSettings, socket: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may send clicks."""
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Journal-Format": "1"}
    async with serve(create_app(intake_settings), socket), client_of(socket, **headers) as client:
        client.timeout = httpx.Timeout(30)
        yield client


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    """A connection as the database's owner."""
    conn = await asyncpg.connect(database.owner_url)
    yield conn
    await conn.close()


async def send(
    client: httpx.AsyncClient,
    data: bytes,
    headers: dict[str, str] | None = None,
    *,
    segment: UUID,
    offset: int = FIRST_OFFSET,
) -> httpx.Response:
    place = {"segment": str(segment), "offset": str(offset)}
    return await client.post(URL, params=place, content=data, headers=headers)


async def worker_pids() -> list[int]:
    """The click workers of this process."""
    return [
        pid
        for pid in children(os.getpid())
        if b"services.links.click_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


async def test_clicks_are_taken_once(intake: httpx.AsyncClient, owner: Connection) -> None:
    """A batch is stored and its end answered; sent again, or overlapping, it is answered the same and not counted again."""
    (link,) = await make_links(owner, 1)
    first, second = records([click(link)] * 3), records([click(link)] * 2)
    segment = uuid4()
    end = FIRST_OFFSET + len(first)

    answers = [await send(intake, first, segment=segment) for _ in range(2)]
    overlap = await send(intake, first + second, segment=segment)
    from_header = await send(intake, b"x" * FIRST_OFFSET + first + second, segment=segment, offset=0)

    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {"offset": end})] * 2
    assert (overlap.status_code, overlap.json()) == (200, {"offset": end + len(second)})
    assert (from_header.status_code, from_header.json()) == (200, {"offset": end + len(second)})
    assert await check_sums(owner) == 5


async def test_gap_is_a_conflict(intake: httpx.AsyncClient, owner: Connection) -> None:
    """A batch beyond what is known is not taken; the answer says where to go on, 16 for a new segment."""
    (link,) = await make_links(owner, 1)
    data = records([click(link)])
    segment = uuid4()

    new = await send(intake, data, segment=segment, offset=17)
    assert await owner.fetchval("SELECT count(*) FROM click_segments") == 0
    await send(intake, data, segment=segment)
    gap = await send(intake, data, segment=segment, offset=FIRST_OFFSET + len(data) + 1)

    assert (new.status_code, new.json()) == (409, {"offset": FIRST_OFFSET})
    assert (gap.status_code, gap.json()) == (409, {"offset": FIRST_OFFSET + len(data)})
    assert await check_sums(owner) == 1


@pytest.mark.parametrize("damage", ["checksum", "length", "cut"])
async def test_damage_is_set_aside(intake: httpx.AsyncClient, owner: Connection, damage: str) -> None:
    """What is readable before is taken; the rest of the batch is set aside and counted, and the segment goes on."""
    (link,) = await make_links(owner, 1)
    good, bad, lost = (records([click(link)]) for _ in range(3))
    match damage:
        case "checksum":
            batch = good + bad[:-1] + bytes([bad[-1] ^ 1]) + lost
        case "length":
            batch = good + b"\xff\xff\xff\xff" + bad[4:] + lost
        case _:
            batch = bad[:-1]
    segment = uuid4()
    end = FIRST_OFFSET + len(batch)

    answer = await send(intake, batch, segment=segment)
    again = await send(intake, batch, segment=segment)
    following = await send(intake, good, segment=segment, offset=end)

    assert (answer.status_code, answer.json()) == (422, {"offset": end})
    assert (again.status_code, again.json()) == (200, {"offset": end})
    assert following.status_code == 200
    assert await check_sums(owner) == (1 if damage == "cut" else 2)
    assert await owner.fetchval("SELECT refused FROM click_segments") == 1
    assert "links_clicks_refused_total 1.0" in (await intake.get("/metrics")).text


async def test_incomplete_end_is_left_to_the_sender(intake: httpx.AsyncClient, owner: Connection) -> None:
    """Of a batch that ends within a record the whole records are taken, and the answer points at the rest."""
    (link,) = await make_links(owner, 1)
    first, second = records([click(link)]), records([click(link)])
    segment = uuid4()

    answer = await send(intake, first + second[:-1], segment=segment)
    rest = await send(intake, second, segment=segment, offset=answer.json()["offset"])

    assert (answer.status_code, answer.json()) == (200, {"offset": FIRST_OFFSET + len(first)})
    assert rest.status_code == 200
    assert await check_sums(owner) == 2


async def test_gzip_is_bounded(intake: httpx.AsyncClient, owner: Connection) -> None:
    """A batch may come with gzip; one that is larger than 8 MiB with or without it is refused, nothing of it taken."""
    (link,) = await make_links(owner, 1)
    data = records([click(link)])
    packed = gzip.compress(data)
    gzipped = {"Content-Encoding": "gzip"}
    segment = uuid4()

    good = await send(intake, packed, gzipped, segment=segment)
    large = bytes(LARGEST_BATCH + 1)
    too_large = [
        (await send(intake, body, headers, segment=uuid4())).status_code
        for body, headers in ((gzip.compress(large), gzipped), (large, {}))
    ]
    malformed = [
        (await send(intake, body, gzipped, segment=uuid4())).status_code
        for body in (data, packed[:-1], packed + b"x", packed + packed)
    ]

    assert (good.status_code, good.json()) == (200, {"offset": FIRST_OFFSET + len(data)})
    assert too_large == [413] * 2
    assert malformed == [400] * 4
    assert await owner.fetchval("SELECT count(*) FROM click_segments") == 1


async def test_unknown_format_stays_with_the_sender(intake: httpx.AsyncClient, owner: Connection) -> None:
    """Another format of the journal, or an encoding that is not known, is 415, and nothing is noted."""
    answers = [
        await send(intake, b"x", headers, segment=uuid4())
        for headers in ({"X-Journal-Format": "2"}, {"X-Journal-Format": ""}, {"Content-Encoding": "br"})
    ]

    assert [answer.status_code for answer in answers] == [415] * 3
    assert await owner.fetchval("SELECT count(*) FROM click_segments") == 0


_SEGMENT = UUID(int=1)
_OFFSETS = ("-1", "1e3", "²", "9" * 19)


@pytest.mark.parametrize(
    "place",
    ["", "?segment=x&offset=16", f"?segment={_SEGMENT}", *(f"?segment={_SEGMENT}&offset={n}" for n in _OFFSETS)],
)
async def test_malformed_place_is_refused(intake: httpx.AsyncClient, place: str) -> None:
    """Without a segment and an offset there is nothing to take: 400, which is no answer about damage."""
    assert (await intake.post(URL + place, content=b"x")).status_code == 400


async def test_token_is_needed(intake: httpx.AsyncClient, owner: Connection) -> None:
    """The token or the one before it; anything else, an API key too, is 401 before a byte of the body is looked at."""
    (link,) = await make_links(owner, 1)
    data = records([click(link)])
    wrong = [
        "",
        "Bearer",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {'x' * 32}",
    ]

    refused = [await send(intake, data, {"Authorization": value}, segment=uuid4()) for value in wrong]
    taken = await send(intake, data, {"Authorization": f"bearer {PREVIOUS}"}, segment=uuid4())

    assert [answer.status_code for answer in refused] == [401] * len(wrong)
    assert taken.status_code == 200
    assert await check_sums(owner) == 1


async def test_empty_previous_token_opens_nothing(intake_settings: LinksSettings, socket: Path) -> None:
    """A setting that is there and empty is no token."""
    settings = intake_settings.model_copy(update={"internal_token_previous": SecretStr("")})
    async with serve(create_app(settings), socket), client_of(socket, Authorization="Bearer") as client:
        answer = await client.post(URL, headers={"X-Journal-Format": "1"})

    assert answer.status_code == 401


async def test_without_a_token_there_is_no_route(service: Path) -> None:
    """Not configured, it answers as an unknown path does, and no worker runs; the documentation never shows it."""
    async with client_of(service, Authorization="Bearer") as client:
        answer = await client.post(URL)
        schema = await client.get("/openapi.json")

    assert answer.status_code == 404
    assert "/internal" not in schema.text
    assert await worker_pids() == []


async def test_postgres_away_takes_nothing(intake_settings: LinksSettings, socket: Path) -> None:
    """503 with Retry-After, and the same batch is taken when Postgres is back."""
    settings = intake_settings.model_copy(
        update={"links_database_url": SecretStr("postgresql://x@/x?host=/nonexistent")}
    )
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Journal-Format": "1"}
    async with serve(create_app(settings), socket), client_of(socket, **headers) as client:
        answer = await send(client, records([click(1)]), segment=uuid4())

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_broken_schema_is_no_refusal(intake: httpx.AsyncClient, owner: Connection) -> None:
    """What is wrong with the database and not with a click sets nothing aside; once it is right all is taken."""
    (link,) = await make_links(owner, 1)
    data, segment = records([click(link)]), uuid4()
    await owner.execute("ALTER TABLE click_uniques_by_owner RENAME TO away")
    broken = await send(intake, data, segment=segment)
    await owner.execute("ALTER TABLE away RENAME TO click_uniques_by_owner")
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tinyurl clicks'"
    await owner.execute(ended)

    answer = await send(intake, data, segment=segment)
    if answer.status_code == 503:
        answer = await send(intake, data, segment=segment)

    assert broken.status_code == 503
    assert (answer.status_code, answer.json()) == (200, {"offset": FIRST_OFFSET + len(data)})
    assert await check_sums(owner) == 1


async def test_exactly_once_under_racing_shippers_and_kills(intake: httpx.AsyncClient, owner: Connection) -> None:
    """Eight senders of overlapping pieces of one journal, while the worker is killed again and again: each click once."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    links = await make_links(owner, 20)
    ticks: list[list[Click]] = [[click(chance.choice(links)) for _ in range(chance.randint(1, 9))] for _ in range(300)]
    pieces = [records(tick) for tick in ticks]
    journal = b"".join(pieces)
    ends = [FIRST_OFFSET + sum(map(len, pieces[: n + 1])) for n in range(len(pieces))]
    segment = uuid4()
    end = FIRST_OFFSET + len(journal)

    async def ship() -> None:
        reached = FIRST_OFFSET
        while reached < end:
            start = chance.choice([FIRST_OFFSET, *(at for at in ends if at <= reached), reached])
            until = min((at for at in ends if at > start + chance.randint(0, 20_000)), default=end)
            answer = await send(
                intake, journal[start - FIRST_OFFSET : until - FIRST_OFFSET], segment=segment, offset=start
            )
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 200:
                assert answer.json()["offset"] >= reached
                reached = answer.json()["offset"]

    async def kill() -> int:
        kills = 0
        while True:
            await asyncio.sleep(chance.uniform(0.05, 1.0))
            for pid in await worker_pids():
                os.kill(pid, signal.SIGKILL)
                kills += 1
            if kills >= 4:
                return kills

    await send(intake, pieces[0], segment=segment)
    async with asyncio.timeout(120):
        killing = asyncio.create_task(kill())
        await asyncio.gather(*(ship() for _ in range(8)))
        await killing

    assert await check_sums(owner) == sum(map(len, ticks))
    assert await owner.fetchval("SELECT reached FROM click_segments") == end
    assert await owner.fetchval("SELECT refused FROM click_segments") == 0


async def test_worker_is_started_again_and_ends_with_the_service(
    intake_settings: LinksSettings, socket: Path, owner: Connection
) -> None:
    """A worker that was killed while idle is replaced without a lost batch; when the service stops, none is left."""
    (link,) = await make_links(owner, 1)
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Journal-Format": "1"}
    async with serve(create_app(intake_settings), socket), client_of(socket, **headers) as client:
        first = await send(client, records([click(link)]), segment=uuid4())
        (pid,) = await worker_pids()
        os.kill(pid, signal.SIGKILL)
        second = await send(client, records([click(link)]), segment=uuid4())
        (other,) = await worker_pids()
        shown = (await client.get("/metrics")).text

    assert (first.status_code, second.status_code) == (200, 200)
    assert pid != other
    assert "links_click_worker_restarts_total 1.0" in shown
    assert "links_clicks_taken_total 2.0" in shown
    assert 'links_click_batches_total{status="200"} 2.0' in shown
    assert await worker_pids() == []
    assert not Path(f"/proc/{other}").exists()
