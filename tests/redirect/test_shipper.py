"""The shipper: every click arrives once and in order, whatever the write service answers or does not."""

import asyncio
import os
from pathlib import Path

import pytest
from starlette.responses import JSONResponse, Response

from services.redirect.journal.intake import IntakeClient
from services.redirect.journal.shipper import run_shipper
from services.redirect.journal.writer import open_journal
from shared.journal import HEADER, pack_record
from tests.redirect.conftest import StartProcess
from tests.redirect.intake_server import TOKEN, IntakeServer, until
from tests.redirect.journals import GIB, click, read_folder


async def test_clicks_arrive_in_order(start: StartProcess, links: IntakeServer, socket: Path, folder: Path) -> None:
    """What is recorded arrives soon, and uncompressed on one host; at the end nothing is left in the folder."""
    async with links.listen(socket), start() as (journal, shipper):
        journal.record([click(0)])
        await until(lambda: links.clicks, 2)
        journal.record([click(number) for number in range(1, 100)])
        await until(lambda: shipper.shipped == 100, 2)

        assert links.clicks == [click(number) for number in range(100)]
        assert [post.encoding for post in links.posts] == [None, None]
        assert links.posts[0].offset == len(HEADER)
        assert (shipper.shipped, shipper.refused, shipper.failures) == (100, 0, 0)
    assert list(folder.iterdir()) == []


async def test_what_is_large_is_compressed_for_a_network(links: IntakeServer, socket: Path, folder: Path) -> None:
    """A write service that has a port, not a Unix socket, gets large batches with gzip, and small ones as they are."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to, of = await asyncio.open_unix_connection(str(socket))
        await asyncio.wait([asyncio.create_task(copy(reader, of)), asyncio.create_task(copy(to, writer))])

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async with links.listen(socket), await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        intake = IntakeClient(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", TOKEN)
        async with open_journal(folder, GIB) as journal, run_shipper(journal, intake) as shipper:
            journal.record([click(0)])
            await until(lambda: shipper.shipped == 1)
            journal.record([click(number) for number in range(1, 100)])
            await until(lambda: shipper.shipped == 100)

    assert links.clicks == [click(number) for number in range(100)]
    assert [post.encoding for post in links.posts] == [None, "gzip"]


async def test_batches_are_bounded(start: StartProcess, links: IntakeServer, socket: Path) -> None:
    """A backlog goes in batches of whole records, of two mebibytes at most, one after the other."""
    async with start() as (journal, _):
        for number in range(800):
            journal.record([click(number, os.urandom(10_000))])
        async with links.listen(socket):
            await until(lambda: len(links.clicks) == 800)

    assert links.link_ids() == list(range(800))
    assert 4 <= len(links.posts) <= 6
    assert max(post.length for post in links.posts) <= 2 * 2**20


async def test_clicks_gather_while_batches_are_small(start: StartProcess, links: IntakeServer, socket: Path) -> None:
    """Under a steady load there are some batches a second, not as many as there can be."""
    loop = asyncio.get_running_loop()
    async with links.listen(socket), start() as (journal, _):
        end = loop.time() + 1
        while loop.time() < end:
            journal.record([click(journal.recorded)])
            await asyncio.sleep(0.002)
        posts = len(links.posts)

    assert 2 <= posts <= 6
    assert links.link_ids() == list(range(journal.recorded))


async def test_clicks_gather_longer_under_load(start: StartProcess, links: IntakeServer, socket: Path) -> None:
    """Where there is much to send, batches are fewer and larger; what comes after the load is not late."""
    loop = asyncio.get_running_loop()
    async with links.listen(socket), start() as (journal, shipper):
        end = loop.time() + 1.5
        while loop.time() < end:
            journal.record([click(journal.recorded, bytes(2000))])
            await asyncio.sleep(0.002)
        posts = len(links.posts)
        await until(lambda: shipper.shipped == journal.recorded, 2)

    assert 1 <= posts <= 4
    assert links.link_ids() == list(range(journal.recorded))


async def test_shipped_segments_make_room(folder: Path, socket: Path, links: IntakeServer) -> None:
    """A folder that was full takes clicks again once what it held was shipped, though the limit is one segment."""
    folder.mkdir()
    (folder / "somebody.damaged").write_bytes(bytes(2**20 - 5000))
    async with open_journal(folder, 2**20) as journal, run_shipper(journal, IntakeClient(f"unix:{socket}", TOKEN)):
        while not journal.dropped["full"]:
            journal.record([click(journal.recorded)])
        recorded = journal.recorded
        async with links.listen(socket), asyncio.timeout(60):
            while journal.recorded < recorded + 5:
                journal.record([click(journal.recorded)])
                await asyncio.sleep(0.01)
            await until(lambda: len(links.clicks) == journal.recorded)

    assert links.link_ids() == list(range(recorded + 5))


async def test_segment_of_which_the_service_knows_more_is_left(
    start: StartProcess, links: IntakeServer, socket: Path, folder: Path
) -> None:
    """If it has taken more of the live segment than was written, another one is begun, so that clicks count again."""
    links.answers.append(JSONResponse({"offset": 1_000_000}))
    async with links.listen(socket), start() as (journal, shipper):
        journal.record([click(1)])
        await until(lambda: shipper.damaged)
        journal.record([click(2)])
        await until(lambda: links.clicks)
        (kept,) = folder.glob("*.damaged")

    assert links.clicks == [click(2)]
    assert kept.name.startswith(links.posts[0].segment)


async def test_outage_loses_and_repeats_nothing(start: StartProcess, links: IntakeServer, socket: Path) -> None:
    """While the write service is away clicks are kept and redirects are not held up; then all of it arrives in order."""
    async with start() as (journal, shipper):
        for number in range(50):
            journal.record([click(number)])
        await until(lambda: shipper.failures >= 3)
        for _ in range(3):
            async with links.listen(socket):
                for number in range(journal.recorded, journal.recorded + 50):
                    journal.record([click(number)])
                await until(lambda: len(links.clicks) == journal.recorded)
            journal.record([click(journal.recorded)])

        assert journal.dropped == {"full": 0, "error": 0}
        async with links.listen(socket):
            await until(lambda: len(links.clicks) == journal.recorded)

    assert links.link_ids() == list(range(203))
    assert links.repeated == 0


@pytest.mark.parametrize(
    "answer",
    [
        Response(status_code=500),
        JSONResponse({"offset": 99}, status_code=500),
        Response(status_code=503, headers={"connection": "close"}),
        JSONResponse({}, status_code=200),
        JSONResponse({"offset": 16}, status_code=200),
        JSONResponse({"offset": "x"}, status_code=422),
        JSONResponse({"offset": 0}, status_code=409),
        Response(b"[", status_code=200),
        Response(b"x" * 100_000, status_code=200),
    ],
    ids=[
        "500",
        "500 with an offset",
        "closes",
        "no offset",
        "no progress",
        "no number",
        "begins at nothing",
        "no json",
        "too long",
    ],
)
async def test_any_other_answer_keeps_the_data(
    start: StartProcess, links: IntakeServer, socket: Path, answer: Response
) -> None:
    """An answer that does not say that a batch was taken is a failure, and the batch is sent again."""
    links.answers.append(answer)
    async with links.listen(socket), start() as (journal, shipper):
        journal.record([click(1)])
        await until(lambda: shipper.shipped == 1)

        assert links.clicks == [click(1)]
        assert [post.offset for post in links.posts] == [16, 16]
        assert shipper.failures == 1


async def test_answer_that_does_not_come(start: StartProcess, links: IntakeServer, socket: Path) -> None:
    """A write service that takes a batch and says nothing is given up, and the batch is sent again."""
    connected = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    mute = await asyncio.start_unix_server(say_nothing, socket)
    async with start(answer_s=0.2) as (journal, shipper):
        journal.record([click(1)])
        await until(lambda: shipper.failures)
        assert connected.is_set()
        mute.close()
        async with links.listen(socket):
            await until(lambda: links.clicks)

    assert links.clicks == [click(1)]


async def test_goes_back_where_the_service_knows_less(start: StartProcess, links: IntakeServer, socket: Path) -> None:
    """409 means to begin again at the offset that it names."""
    async with links.listen(socket), start() as (journal, _):
        journal.record([click(1)])
        await until(lambda: links.clicks)
        links.reached.clear()
        links.clicks.clear()
        journal.record([click(2)])
        await until(lambda: len(links.clicks) == 2)

    assert links.clicks == [click(1), click(2)]
    assert [post.offset for post in links.posts] == [16, 16 + len(pack_record([click(1)])), 16]


async def test_batch_that_the_service_cannot_read_is_left_to_it(
    start: StartProcess, links: IntakeServer, socket: Path
) -> None:
    """422 means that it was set aside there: the next batch follows, and a metric tells."""
    links.unreadable = [click(1), click(2)]
    async with links.listen(socket), start() as (journal, shipper):
        journal.record([click(1), click(2)])
        journal.record([click(3)])
        await until(lambda: shipper.shipped)

        assert links.clicks == [click(3)]
        assert (shipper.refused, shipper.shipped, shipper.failures) == (2, 1, 0)


async def test_end_ships_the_rest(start: StartProcess, links: IntakeServer, socket: Path, folder: Path) -> None:
    """A process that ends has shipped all it recorded, at once, even if the write service was away until then."""
    # Less than the pause after the fifth failure.
    async with start(drain_s=0.6) as (journal, shipper):
        journal.record([click(number) for number in range(100)])
        await until(lambda: shipper.failures >= 5)
        listening = links.listen(socket)
        await listening.__aenter__()
    await listening.__aexit__(None, None, None)

    assert links.link_ids() == list(range(100))
    assert list(folder.iterdir()) == []


async def test_end_without_a_service_leaves_the_rest_to_others(
    start: StartProcess, links: IntakeServer, socket: Path, folder: Path
) -> None:
    """What cannot be shipped in time stays, unlocked, and the next process ships it."""
    async with start(drain_s=0.2) as (journal, _):
        journal.record([click(1)])
    assert read_folder(folder) == [click(1)]
    async with links.listen(socket), start():
        await until(lambda: links.clicks)

    assert links.clicks == [click(1)]
