"""The click worker and its queue: exactly once whatever races or dies, and always a worker."""

import asyncio
import os
import random
import secrets
import signal
from pathlib import Path
from uuid import uuid4

import httpx
from pydantic import SecretStr

from services.links.app import create_app
from services.links.clicks.queue import TRIES, ClickTimes
from shared.clicks import Click
from shared.postgres import Connection
from shared.settings import LinksSettings
from tests.links.click_data import FIRST_OFFSET, check_sums, click, make_links, records
from tests.links.intake_client import HEADERS, send, worker_pids
from tests.serving import client_of, serve


async def test_postgres_away_takes_nothing(intake_settings: LinksSettings, socket: Path) -> None:
    """503 with Retry-After, and the same batch is taken when Postgres is back."""
    settings = intake_settings.model_copy(
        update={"links_database_url": SecretStr("postgresql://x@/x?host=/nonexistent")}
    )
    async with serve(create_app(settings), socket), client_of(socket, **HEADERS) as client:
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
    async with serve(create_app(intake_settings), socket), client_of(socket, **HEADERS) as client:
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


async def test_worker_rests(intake_settings: LinksSettings, socket: Path, owner: Connection) -> None:
    """A worker that has nothing to do is ended, and is no loss; the next batch has a new one, which ends like the first."""
    (link,) = await make_links(owner, 1)
    app = create_app(intake_settings, click_times=ClickTimes(rest=0.1))
    answers = []
    async with serve(app, socket), client_of(socket, **HEADERS) as client:
        for _ in range(3):
            answers.append(await send(client, records([click(link)]), segment=uuid4()))
            async with asyncio.timeout(30):
                while await worker_pids():
                    await asyncio.sleep(0.01)
        shown = (await client.get("/metrics")).text

    assert [answer.status_code for answer in answers] == [200] * 3
    assert await check_sums(owner) == 3
    assert "links_click_worker_restarts_total 0.0" in shown


async def test_worker_that_dies_while_it_works(patient_intake: httpx.AsyncClient, owner: Connection) -> None:
    """Its batch is tried once more and then not answered with 200; nothing of it is stored, and the next worker takes it."""
    (link,) = await make_links(owner, 1)
    data, segment = records([click(link)] * 3), uuid4()
    backends: set[int] = set()
    async with owner.transaction():
        await owner.execute("LOCK TABLE click_uniques_by_owner")
        sending = asyncio.create_task(send(patient_intake, data, segment=segment))
        for _ in range(TRIES):
            await until_storing(owner, backends)
            (pid,) = await worker_pids()
            os.kill(pid, signal.SIGKILL)
        answer = await sending
    await until_gone(owner, backends)
    stored = await owner.fetchval("SELECT count(*) FROM clicks")
    again = [await send(patient_intake, data, segment=segment) for _ in range(2)]

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert stored == 0
    assert [(each.status_code, each.json()) for each in again] == [(200, {"offset": FIRST_OFFSET + len(data)})] * 2
    assert await check_sums(owner) == 3


async def test_worker_that_hangs_is_replaced(intake_settings: LinksSettings, socket: Path, owner: Connection) -> None:
    """A worker that does not answer within its deadline is killed; the batch comes again and goes to another one."""
    (link,) = await make_links(owner, 1)
    data, segment = records([click(link)]), uuid4()
    app = create_app(intake_settings, click_times=ClickTimes(batch=10))
    async with serve(app, socket), client_of(socket, **HEADERS) as intake:
        await send(intake, records([click(link)]), segment=uuid4())
        (hung,) = await worker_pids()
        os.kill(hung, signal.SIGSTOP)
        answer = await send(intake, data, segment=segment)
        again = await send(intake, data, segment=segment)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert not Path(f"/proc/{hung}").exists()
    assert again.status_code == 200
    assert await check_sums(owner) == 2


async def until_storing(conn: Connection, backends: set[int]) -> None:
    """Wait until a backend beyond these waits for the lock of a test, and add it to them."""
    waiting = "SELECT pid FROM pg_locks WHERE relation = 'click_uniques_by_owner'::regclass AND NOT granted"
    async with asyncio.timeout(30):
        while not (new := {row["pid"] for row in await conn.fetch(waiting)} - backends):
            await asyncio.sleep(0.01)
    backends |= new


async def until_gone(conn: Connection, backends: set[int]) -> None:
    async with asyncio.timeout(30):
        while await conn.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ($1)", list(backends)):
            await asyncio.sleep(0.01)
