"""Clicks that no worker can read: whatever they do to it, they alone are set aside, and everything else goes on."""

import asyncio
import gzip
import signal
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import msgpack
import pytest

from services.links.app import create_app
from services.links.clicks.pipe import EVERYTHING, LARGEST_BATCH
from services.links.clicks.process import start_worker
from services.links.clicks.queue import ClickTimes
from services.redirect.journal.intake import IntakeClient
from services.redirect.journal.shipper import run_shipper
from services.redirect.journal.writer import open_journal
from shared.clicks import Click
from shared.postgres import Connection
from shared.settings import LinksSettings
from tests.links.click_data import FIRST_OFFSET, check_sums, click, make_links, records
from tests.links.hostile_worker import COMMAND, SHORT_TIMES
from tests.links.intake_client import HEADERS, TOKEN, send
from tests.redirect.intake_server import until
from tests.redirect.journals import GIB
from tests.serving import client_of, serve

SHIP_TIMEOUT_S = 120


@pytest.fixture
async def hostile(intake_settings: LinksSettings, socket: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an intake whose worker some user agents harm."""
    app = create_app(intake_settings, click_worker=(*COMMAND, *SHORT_TIMES), click_times=ClickTimes(click=1.0))
    async with serve(app, socket), client_of(socket, **HEADERS) as client:
        client.timeout = httpx.Timeout(30)
        yield client


async def ship(client: httpx.AsyncClient, data: bytes, segment: UUID) -> list[int]:
    """Send a journal as a redirector does, until all of it is taken.

    Returns:
        The statuses of the answers.
    """
    offset, statuses = FIRST_OFFSET, []
    async with asyncio.timeout(SHIP_TIMEOUT_S):
        while offset < FIRST_OFFSET + len(data):
            answer = await send(client, data[offset - FIRST_OFFSET :], segment=segment, offset=offset)
            assert answer.status_code in (200, 422, 503), answer.text
            if answer.status_code != 503:
                assert answer.json()["offset"] > offset
                offset = answer.json()["offset"]
            statuses.append(answer.status_code)
    return statuses


async def select_refused(conn: Connection) -> int:
    refused: int = await conn.fetchval("SELECT coalesce(sum(refused), 0)::integer FROM click_segments")
    return refused


@pytest.mark.parametrize("harm", [b"sleeps", b"loops", b"exits", b"crashes", b"eats", b"recurses", b"raises"])
async def test_click_that_harms_the_worker_is_set_aside_alone(
    hostile: httpx.AsyncClient, owner: Connection, harm: bytes
) -> None:
    """In a record of 40 clicks one harms its reader: the other 39 and all other records are stored, and it is counted."""
    (link,) = await make_links(owner, 1)
    good = [click(link) for _ in range(20)]
    data = records(good, [*good, click(link, agent=harm), *good[1:]], good)
    other = asyncio.create_task(ship(hostile, records(good), uuid4()))
    await ship(hostile, data, uuid4())
    await other
    shown = (await hostile.get("/metrics")).text

    assert await check_sums(owner) == 20 + 20 + 39 + 20
    assert await select_refused(owner) == 1
    assert "links_clicks_refused_total 1.0" in shown


async def test_many_poisoned_clicks_of_one_record(hostile: httpx.AsyncClient, owner: Connection) -> None:
    """Clicks of several kinds that end their worker, at both ends and side by side: each is found, nothing else is lost."""
    (link,) = await make_links(owner, 1)
    agents = [b"exits", b"fine", b"crashes", b"eats", b"fine", b"raises", b"fine", b"exits"]
    poison = records([click(link, agent=agent) for agent in agents], [click(link)])
    poisoned = asyncio.create_task(ship(hostile, poison, uuid4()))
    await ship(hostile, records([click(link)]), uuid4())
    was_done = poisoned.done()
    await poisoned

    assert not was_done, "the other segment had its turn in between"
    assert await check_sums(owner) == 4 + 1
    assert await select_refused(owner) == 5


@pytest.mark.parametrize("in_record", [1, 7, 100])
async def test_slow_clicks_are_taken_in_parts(hostile: httpx.AsyncClient, owner: Connection, in_record: int) -> None:
    """Clicks that take longer than a batch may, and each of which does not, are read in parts by one worker, and all stored."""
    (link,) = await make_links(owner, 1)
    slow = [click(link, agent=b"slow %d" % number) for number in range(100)]
    ticks = [slow[start : start + in_record] for start in range(0, len(slow), in_record)]
    await ship(hostile, records(*ticks, [click(link)]), uuid4())
    shown = (await hostile.get("/metrics")).text

    assert await check_sums(owner) == 101
    assert await select_refused(owner) == 0
    assert "links_click_worker_restarts_total 0.0" in shown


async def test_clicks_that_are_too_much_together(hostile: httpx.AsyncClient, owner: Connection) -> None:
    """Clicks of which no worker can read ten, and each of which is harmless, are read by several workers: none is set aside."""
    (link,) = await make_links(owner, 1)
    keeping = [click(link, agent=b"keeps %d" % number) for number in range(10)]
    await ship(hostile, records(keeping, [click(link)]), uuid4())

    assert await check_sums(owner) == 11
    assert await select_refused(owner) == 0


async def test_a_click_that_met_two_kills_is_stored(
    hostile: httpx.AsyncClient, owner: Connection, tmp_path: Path
) -> None:
    """A worker that was killed twice from outside, both times at the same click, costs no click: that needs three, in a row."""
    (link,) = await make_links(owner, 1)
    agent = b"twice %s" % str(tmp_path / "readings").encode()
    await ship(hostile, records([click(link), click(link, agent=agent)]), uuid4())

    assert await check_sums(owner) == 2
    assert await select_refused(owner) == 0


async def test_what_postgres_is_too_slow_for_comes_in_parts(hostile: httpx.AsyncClient, owner: Connection) -> None:
    """A batch that times out in Postgres comes back smaller until it fits; a slow store sets nothing aside."""
    (link,) = await make_links(owner, 1)
    await owner.execute(
        """
        CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.02); RETURN new; END $$;
        CREATE TRIGGER slow BEFORE INSERT ON clicks FOR EACH ROW EXECUTE FUNCTION wait();
        """
    )
    statuses = await ship(hostile, records(*[[click(link)] * 10 for _ in range(10)]), uuid4())

    assert statuses[0] == 503
    assert await check_sums(owner) == 100
    assert await select_refused(owner) == 0


async def test_what_a_parser_prints_is_no_answer(hostile: httpx.AsyncClient, owner: Connection) -> None:
    """Text on the worker's standard output does not come between its answers."""
    (link,) = await make_links(owner, 1)
    statuses = await ship(hostile, records([click(link, agent=b"prints")]), uuid4())

    assert statuses == [200]
    assert await check_sums(owner) == 1


SIZE = LARGEST_BATCH - 100_000
LISTS = b"\xdd" + (SIZE - 5).to_bytes(4) + b"\x90" * (SIZE - 5)
CLICKS = b"\xdd" + (400_000).to_bytes(4) + msgpack.packb((1.0, 1, [None] * 7)) * 400_000
DEEP = b"\x91" * 100_000 + b"\x90"


@pytest.mark.parametrize("body", [LISTS, CLICKS, DEEP], ids=["lists", "clicks", "deep"])
async def test_record_that_no_worker_can_unpack(intake: httpx.AsyncClient, owner: Connection, body: bytes) -> None:
    """8 million lists, which would take 500 MiB, or 400,000 clicks: the record is set aside as one, what follows is stored."""
    (link,) = await make_links(owner, 1)
    data = records([click(link)]) + frame(body) + records([click(link)])
    segment, offset, end = uuid4(), FIRST_OFFSET, FIRST_OFFSET + len(data)
    async with asyncio.timeout(SHIP_TIMEOUT_S):
        while offset < end:
            sent = gzip.compress(data[offset - FIRST_OFFSET :], 1)
            answer = await send(intake, sent, {"Content-Encoding": "gzip"}, segment=segment, offset=offset)
            offset = answer.json().get("offset", offset)

    assert await check_sums(owner) == 2
    assert await select_refused(owner) == 1


async def test_journal_with_poison_goes_on(
    hostile: httpx.AsyncClient, owner: Connection, socket: Path, tmp_path: Path
) -> None:
    """From a visit to the count: the journal of a redirector and its shipper pass a click that kills, and its segment ends."""
    (link,) = await make_links(owner, 1)
    good: list[Click] = [click(link) for _ in range(30)]
    async with (
        open_journal(tmp_path / "one", GIB) as journal,
        open_journal(tmp_path / "two", GIB) as other,
        run_shipper(journal, IntakeClient(f"unix:{socket}", TOKEN)) as shipper,
        run_shipper(other, IntakeClient(f"unix:{socket}", TOKEN)) as other_shipper,
    ):
        journal.record([*good, click(link, agent=b"crashes")])
        journal.record(good)
        journal.record([click(link, agent=b"sleeps")])
        other.record(good)
        journal.record(good)
        await until(lambda: not any(segment.waiting_bytes for segment in journal.segments), SHIP_TIMEOUT_S)
        await until(lambda: other_shipper.shipped == 30)
        taken = shipper.shipped

    assert taken == 92, "what is set aside is taken, too"
    assert await check_sums(owner) == 4 * 30
    assert await select_refused(owner) == 2


async def test_worker_without_a_service_ends(intake_settings: LinksSettings, owner: Connection) -> None:
    """A worker whose service died while a click keeps the interpreter busy does not stay for ever."""
    (link,) = await make_links(owner, 1)
    worker = await start_worker((*COMMAND, *SHORT_TIMES), intake_settings)
    data = records([click(link, agent=b"loops")])
    taking = asyncio.create_task(
        worker.take(uuid4(), FIRST_OFFSET, False, data, EVERYTHING, timeout_s=60, click_timeout_s=60)
    )
    await until(lambda: worker.place.click == 0 and worker.place.record == FIRST_OFFSET)
    taking.cancel()
    worker.child.input.close()

    assert await asyncio.wait_for(worker.child.process.wait(), 30) == -signal.SIGALRM


def frame(body: bytes) -> bytes:
    """A record of any bytes."""
    return struct.pack("<II", len(body), zlib.crc32(body)) + body
