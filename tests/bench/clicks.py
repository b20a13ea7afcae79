"""A write service that takes every click at once: what `tinyurl bench` ships the redirect processes' journals to.

It reads of a batch only how long it is, so that shipping is measured and nothing slows it down.
"""

import asyncio
import sys
from urllib.parse import parse_qs, urlsplit

TOKEN = "benchmark" * 4


async def take_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every batch of a connection that it was taken to its end."""
    while head := await read_head(reader):
        request_line, *lines = head.decode().rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        # The last four bytes of gzip: how long the content is (RFC 1952, 2.3.1).
        length = int.from_bytes(body[-4:], "little") if "content-encoding" in headers else len(body)
        offset = int(parse_qs(urlsplit(request_line.split(" ")[1]).query)["offset"][0])
        answer = b'{"offset": %d}' % (offset + length)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """The head of the next request; nothing at the connection's end."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


async def main(path: str) -> None:
    server = await asyncio.start_unix_server(take_all, path)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
