"""Visits of links for the tests of the promises: raw, fast, and with what was seen in words that a checker understands."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 8.0

_location = re.compile(rb"\r\nlocation: ([^\r\n]*)\r\n", re.IGNORECASE)
_length = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class ObservedVisit:
    """An answer to a visit.

    Attributes:
        status: 0 if the connection broke or nothing came in time.
        location: Of a redirect.
    """

    status: int
    location: str | None = None


class Visitor:
    """One keep-alive connection to a redirector's socket, or to nginx's port; it connects again when it breaks.

    Used in a `with` block, which closes it.
    """

    def __init__(self, address: Path | int) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def __enter__(self) -> "Visitor":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def visit(
        self, code: str, agent: bytes | None = None, *, method: str = "GET", headers: bytes = b""
    ) -> ObservedVisit:
        first = f"{method} /{code} HTTP/1.1\r\nHost: sho.rt\r\nX-Forwarded-For: 203.0.113.7\r\nX-Error-Format: json\r\n"
        named = b"" if agent is None else b"User-Agent: " + agent + b"\r\n"
        request = first.encode() + named + headers + b"\r\n"
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if self._streams is None:
                    self._streams = await self._connect()
                reader, writer = self._streams
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = _length.search(head)
                await reader.readexactly(int(length[1]) if length and method != "HEAD" else 0)
        except (OSError, EOFError, TimeoutError):
            self.close()
            return ObservedVisit(0)

        location = _location.search(head)
        return ObservedVisit(int(head.split(b" ", 2)[1]), location[1].decode() if location else None)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._address, int):
            return await asyncio.open_connection("127.0.0.1", self._address)
        return await asyncio.open_unix_connection(str(self._address))
