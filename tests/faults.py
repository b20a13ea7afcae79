"""A proxy before a store's Unix socket that makes it fail the ways that stores do: refuse, hang, break, answer late."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

CHUNK = 65536


class FaultyProxy:
    """Forwards connections to a Unix socket.

    Attributes:
        connections: How many were made so far.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._answers_flow = asyncio.Event()
        self._answers_flow.set()
        self._refuses = False
        self._held = asyncio.Event()
        self.connections = 0

    def hold_answers(self) -> None:
        """Let requests through and keep what the store answers, as a network that delays does."""
        self._held.clear()
        self._answers_flow.clear()

    def release_answers(self) -> None:
        """Hand over what was kept, and all that follows."""
        self._answers_flow.set()

    async def wait_held(self) -> None:
        """Wait until the store has answered something that is being kept."""
        async with asyncio.timeout(10):
            await self._held.wait()

    def refuse(self) -> None:
        """Break every connection, and every new one at once."""
        self._refuses = True
        self.cut()

    def accept(self) -> None:
        self._refuses = False

    def cut(self) -> None:
        """Break the connections that there are."""
        for pair in list(self._pairs):
            for writer in pair:
                writer.transport.abort()

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refuses:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(str(self._target))
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, up_writer)
        self._pairs.add(pair)
        requests = asyncio.create_task(self._pump(reader, up_writer, are_answers=False))
        answers = asyncio.create_task(self._pump(up_reader, writer, are_answers=True))
        try:
            await asyncio.wait((requests, answers), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._pairs.discard(pair)
            for task in (requests, answers):
                task.cancel()
            for each in pair:
                each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, are_answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if are_answers and not self._answers_flow.is_set():
                    self._held.set()
                    await self._answers_flow.wait()
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def faulty_proxy(listen: Path, target: Path) -> AsyncIterator[FaultyProxy]:
    """Run a proxy at a socket."""
    proxy = FaultyProxy(target)
    server = await asyncio.start_unix_server(proxy.serve_connection, str(listen))
    try:
        yield proxy
    finally:
        server.close()
        proxy.release_answers()
        proxy.cut()
        await asyncio.sleep(0)
