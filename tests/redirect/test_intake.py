"""Where the write service is found, and that it has to know us."""

import asyncio
import os
from pathlib import Path

from services.redirect.journal.intake import IntakeClient
from services.redirect.journal.shipper import run_shipper
from services.redirect.journal.writer import open_journal
from shared.listen import find_sockets
from tests.redirect.conftest import StartProcess
from tests.redirect.intake_server import TOKEN, IntakeServer, until
from tests.redirect.journals import GIB, click


async def test_wrong_token_keeps_the_data(folder: Path, socket: Path, links: IntakeServer) -> None:
    """A write service that does not know us gets nothing, and the clicks are kept."""
    intake = IntakeClient(f"unix:{socket}", "another token, which is long enough too")
    async with links.listen(socket), open_journal(folder, GIB) as journal, run_shipper(journal, intake) as shipper:
        journal.record([click(1)])
        await until(lambda: links.refused_tokens > 1)

        assert links.clicks == []
        assert journal.segments[0].waiting_bytes > 0
        assert shipper.failures > 0
        intake._token = TOKEN


async def test_newest_socket_that_answers(folder: Path, socket: Path, links: IntakeServer) -> None:
    """Of several sockets the newest is used; one that nobody listens at, or no longer, is passed over."""
    old, new, stale = (socket.with_suffix(f".{name}") for name in ("old", "new", "stale"))
    newer, pattern = IntakeServer(), str(socket.with_suffix(".*"))
    async with IntakeServer().listen(stale):
        pass
    async with links.listen(old), open_journal(folder, GIB) as journal:
        async with newer.listen(new), run_shipper(journal, IntakeClient(f"unix:{pattern}", TOKEN)):
            for age, path in enumerate((stale, new, old)):
                os.utime(path, (2_000_000_000 - age, 2_000_000_000 - age))
            assert find_sockets(pattern) == [str(stale), str(new), str(old)]
            journal.record([click(1)])
            await until(lambda: newer.clicks)
        async with open_journal(folder, GIB) as other, run_shipper(other, IntakeClient(f"unix:{pattern}", TOKEN)):
            other.record([click(2)])
            await until(lambda: links.clicks)

    assert (newer.clicks, links.clicks) == ([click(1)], [click(2)])


async def test_connection_that_was_closed_is_no_failure(start: StartProcess, links: IntakeServer, socket: Path) -> None:
    """A write service that was restarted while nothing was to be shipped gets the next batch at the first try."""
    async with start() as (journal, shipper):
        async with links.listen(socket):
            journal.record([click(1)])
            await until(lambda: shipper.shipped == 1)
        async with links.listen(socket):
            journal.record([click(2)])
            await until(lambda: shipper.shipped == 2)

        assert shipper.failures == 0


async def test_port_is_an_address_too(folder: Path, links: IntakeServer, socket: Path) -> None:
    """The write service may be on another host."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near = await asyncio.open_unix_connection(socket)
        await asyncio.gather(pipe(reader, near[1]), pipe(near[0], writer))

    async with links.listen(socket), await asyncio.start_server(forward, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with open_journal(folder, GIB) as journal, run_shipper(journal, IntakeClient(f"{host}:{port}", TOKEN)):
            journal.record([click(1)])
            await until(lambda: links.clicks)

    assert links.clicks == [click(1)]


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
