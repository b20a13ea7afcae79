"""Sends the head of an answer together with its body: uvicorn writes them apart, and uvloop sends each write at once.

That would be two system calls here and two of nginx, which reads them. `services/links/__main__.py` serves with it.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class JoiningProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which writes to a `JoiningTransport`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(cast(asyncio.Transport, JoiningTransport(transport, self.loop)))


class JoiningTransport:
    """A transport that keeps what is written until the next write, but not past this turn of the event loop.

    Args:
        transport: Sends it, and does everything else.
        loop: Its loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._kept = b""
        self._end_of_turn: asyncio.Handle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._end_of_turn is None:
            self._kept = data
            self._end_of_turn = self._loop.call_soon(self._send, b"")
        else:
            self._end_of_turn.cancel()
            self._send(data)

    def close(self) -> None:
        if self._end_of_turn is not None:
            self._end_of_turn.cancel()
            self._send(b"")
        self._transport.close()

    def _send(self, data: bytes) -> None:
        self._end_of_turn = None
        # The client may have gone meanwhile.
        if not self._transport.is_closing():
            self._transport.write(self._kept + data)
