"""An answer's head and body leave in one write, and nothing that is written waits or gets lost."""

import asyncio

from uvicorn import Config
from uvicorn.server import ServerState

from shared.writes import JoiningProtocol, JoiningTransport


class Sent(asyncio.Transport):
    """Notes each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self._is_closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True


async def test_head_and_body_are_one_write() -> None:
    """What uvicorn answers to a request is sent at once, and so is the answer to the next one on the connection."""

    async def app(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b"hello"})  # type: ignore[operator]

    config = Config(app, http=JoiningProtocol, lifespan="off", server_header=False, date_header=False, log_config=None)
    config.load()
    protocol, sent = JoiningProtocol(config, ServerState(), {}), Sent()
    protocol.connection_made(sent)
    for _ in range(2):
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: sho.rt\r\n\r\n")
        await asyncio.gather(*protocol.tasks)

    assert sent.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"] * 2


async def test_a_single_write_leaves_with_the_turn() -> None:
    """A head whose body comes later does not wait for it."""
    sent = Sent()
    transport = JoiningTransport(sent, asyncio.get_running_loop())
    transport.write(b"head")
    before = list(sent.writes)
    await asyncio.sleep(0)
    for part in (b"1", b"2", b"3"):
        transport.write(part)
    await asyncio.sleep(0)

    assert before == []
    assert sent.writes == [b"head", b"12", b"3"]


async def test_closing_sends_what_is_kept() -> None:
    """A connection that is closed after a write gets it; one that the client has closed is written nothing."""
    sent, gone = Sent(), Sent()
    loop = asyncio.get_running_loop()
    transport, lost = JoiningTransport(sent, loop), JoiningTransport(gone, loop)
    transport.write(b"last")
    transport.close()
    lost.write(b"late")
    gone.close()
    await asyncio.sleep(0)

    assert (sent.writes, sent.is_closing()) == ([b"last"], True)
    assert gone.writes == []
