"""A connection to the write service, for what redirect asks of it: one request at a time, with a deadline.

It is forty lines of HTTP/1.1 instead of a library. Both sides are ours, and a library would do its work for each request in
the event loop that answers visitors. The journal's shipper and `claims.py` use it.
"""

import asyncio
from typing import NamedTuple

from shared.listen import find_sockets, parse_address

CONNECT_TIMEOUT_S = 1.0
LONGEST_ANSWER_BYTES = 64 * 1024

FAILURES = (OSError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError)
"""No connection, no answer in time (`TimeoutError` is an `OSError`), or an answer that is no HTTP of ours."""


class Reply(NamedTuple):
    """An answer; the names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class LinksConnection:
    """A connection to the write service, made when it is needed, and kept.

    Args:
        address: An address as in `LISTEN`. The path of a socket may be a pattern (`unix:/run/tinyurl/links-*.sock`), because
            during a deployment there are several sockets, and nobody listens at some of them.
        token: The secret that both services know.
        deadline_s: The time for a request, from the connection to the answer.

    Attributes:
        is_on_this_host: Whether what is sent passes no network.
    """

    def __init__(self, address: str, token: str, *, deadline_s: float) -> None:
        self._address = parse_address(address)
        self.is_on_this_host = bool(self._address.path)
        self._token = token
        self._deadline_s = deadline_s
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def connect(self) -> None:
        """Make sure that there is a connection.

        Raises:
            OSError: Nobody takes it, or not in time.
        """
        if self._streams is not None:
            reader, writer = self._streams
            if not reader.at_eof() and not writer.is_closing():
                return
            self.close()
        if not self._address.path:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self._streams = await asyncio.open_connection(self._address.host, self._address.port)
            return
        failure: OSError = FileNotFoundError(self._address.path)
        for path in find_sockets(self._address.path):
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    self._streams = await asyncio.open_unix_connection(path)
                return
            except OSError as error:  # TimeoutError is one
                failure = error
        raise failure

    async def request(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """Post a body.

        Returns:
            The answer; its body is empty if it is longer than any of ours.

        Raises:
            One of `FAILURES`.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                await self.connect()
                assert self._streams is not None
                reader, writer = self._streams
                writer.writelines((self._head(path, headers, len(body)), body))
                await writer.drain()
                return await self._receive(reader)
        except BaseException:
            # The next answer on this connection would be the one to this request.
            self.close()
            raise

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def _head(self, path: str, headers: dict[str, str], length: int) -> bytes:
        lines = [
            f"POST {path} HTTP/1.1",
            "Host: links",
            f"Authorization: Bearer {self._token}",
            *(f"{name}: {value}" for name, value in headers.items()),
            f"Content-Length: {length}",
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    async def _receive(self, reader: asyncio.StreamReader) -> Reply:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(status_line.split(" ")[1])
        length = int(headers.get("content-length", -1))
        if not 0 <= length <= LONGEST_ANSWER_BYTES:
            self.close()
            return Reply(status, headers, b"")
        body = await reader.readexactly(length)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Reply(status, headers, body)
