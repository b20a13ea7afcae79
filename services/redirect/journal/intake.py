"""The shipper's client of the write service: one connection that is kept, one request at a time, a deadline for each.

It is forty lines of HTTP/1.1 instead of a library. Both sides are ours, and a library would do its work for each request in
the event loop that answers visitors.
"""

import asyncio
import json
from dataclasses import dataclass

from shared.journal import FORMAT, FORMAT_HEADER
from shared.listen import find_sockets, parse_address

CONNECT_TIMEOUT_S = 1.0
DEADLINE_S = 10.0
LONGEST_ANSWER_BYTES = 64 * 1024

FAILURES = (OSError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError)
"""No connection, no answer in time (`TimeoutError` is an `OSError`), or an answer that is no HTTP of ours."""


@dataclass(frozen=True)
class Receipt:
    """The write service's answer to a batch: the status, and the offset up to which it has the segment."""

    status: int
    offset: int | None


@dataclass(frozen=True)
class Reply:
    """The write service's answer to a request; the names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class IntakeClient:
    """A connection to the write service, made when it is needed.

    Args:
        address: An address as in `LISTEN`. The path of a socket may be a pattern (`unix:/run/tinyurl/links-*.sock`), because
            during a deployment there are several sockets, and nobody listens at some of them.
        token: The secret that both services know.
        deadline_s: The time for a batch, from the connection to the answer.

    Attributes:
        is_on_this_host: Whether what is sent passes no network.
    """

    def __init__(self, address: str, token: str, *, deadline_s: float = DEADLINE_S) -> None:
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

    async def post(self, segment: str, offset: int, body: bytes, *, is_gzip: bool) -> Receipt:
        """Hand over whole records.

        Args:
            segment: Its UUID.
            offset: Where the first record begins, from the beginning of the segment.
            body: The records.
            is_gzip: Whether they are compressed.

        Raises:
            One of `FAILURES`.
        """
        headers = (
            f"{FORMAT_HEADER}: {FORMAT}\r\n"
            "Content-Type: application/octet-stream\r\n"
            f"{'Content-Encoding: gzip' if is_gzip else 'Accept: application/json'}\r\n"
        )
        reply = await self.ask(f"/internal/clicks?segment={segment}&offset={offset}", body, headers)
        return Receipt(reply.status, read_offset(reply.body))

    async def ask(self, path: str, body: bytes, headers: str) -> Reply:
        """Send a request and wait for its answer.

        Args:
            path: Its path and query.
            body: Its body.
            headers: Lines besides those that every request has.

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

    def _head(self, path: str, headers: str, length: int) -> bytes:
        return (
            f"POST {path} HTTP/1.1\r\n"
            "Host: links\r\n"
            f"Authorization: Bearer {self._token}\r\n"
            f"{headers}"
            f"Content-Length: {length}\r\n\r\n"
        ).encode()

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


def read_offset(body: bytes) -> int | None:
    """Return the offset in an answer; None without one."""
    try:
        offset = json.loads(body)["offset"]
    except (ValueError, KeyError, TypeError):
        return None
    return offset if type(offset) is int and offset >= 0 else None
