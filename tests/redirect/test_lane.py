"""The fast lane is a drop-in: with it and without it, the same bytes get the same answer, and the same clicks."""

import asyncio
import contextlib
import inspect
import re
import select
import socket as socket_module
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from services.redirect.app import create_app
from services.redirect.lane import LaneProtocol
from services.redirect.protocol import VisitProtocol
from shared.clicks import Click, ClickParts
from shared.settings import RedirectSettings
from tests.redirect.conftest import AddLink
from tests.serving import TestServer, serve

READ_TIMEOUT_S = 30

PLAIN = (
    b"GET /plain HTTP/1.1\r\n"
    b"Host: sho.rt\r\n"
    b"X-Forwarded-For: 203.0.113.7\r\n"
    b"X-Request-ID: 0123456789abcdef0123456789abcdef\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Referer: https://news.example.org/\r\n"
    b"Accept-Language: en-GB,en;q=0.9\r\n"
    b"X-Error-Format: html\r\n"
    b"\r\n"
)

LINKS: list[tuple[str, str, dict[str, object]]] = [
    ("plain", "https://www.example.com/a?b=c#d", {}),
    ("moved", "https://www.example.com/moved", {"status_code": 308, "cache_control": 3600}),
    ("asks", "https://www.example.com/?own=1", {"forward_query": True}),
    ("off", "https://www.example.com/", {"enabled": False}),
]


@dataclass
class Way:
    """A redirect service with the lane on or off, and the clicks that it recorded."""

    socket: Path
    server: TestServer
    clicks: list[Click] = field(default_factory=list)

    async def send(self, chunks: Sequence[bytes]) -> tuple[bytes, list[tuple[int, tuple[bytes | None, ...]]]]:
        """Send chunks one after the other on a new connection, each when the last was worked off.

        Returns:
            All bytes that came back, and the clicks without their time.
        """
        self.clicks.clear()
        loop = asyncio.get_running_loop()
        received = bytearray()
        async with asyncio.timeout(READ_TIMEOUT_S):
            with socket_module.socket(socket_module.AF_UNIX) as client:
                client.setblocking(False)
                await loop.sock_connect(client, str(self.socket))
                # A server that refuses a request may close before it has read the rest.
                with contextlib.suppress(ConnectionError):
                    for chunk in chunks:
                        await loop.sock_sendall(client, chunk)
                        await self.server.settle()
                    client.shutdown(socket_module.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    while data := await loop.sock_recv(client, 65536):
                        received += data
        return bytes(received), [(link_id, request) for _, link_id, request in self.clicks]


@pytest.fixture
async def ways(redirect_settings: RedirectSettings, add_link: AddLink, socket: Path) -> AsyncIterator[tuple[Way, Way]]:
    """The same service twice, with the lane and without, both with their links in memory."""
    for code, url, fields in LINKS:
        await add_link(code, url, **fields)
    async with AsyncExitStack() as stack:
        found = []
        for protocol in (LaneProtocol, VisitProtocol):
            place = socket.with_suffix(f".{protocol.__name__}")
            clicks: list[Click] = []
            server = await stack.enter_async_context(
                serve(create_app(redirect_settings, clicks.extend), place, http=protocol)
            )
            way = Way(place, server, clicks)
            for code, _, _ in LINKS:
                await way.send([f"GET /{code} HTTP/1.1\r\nHost: sho.rt\r\n\r\n".encode()])
            found.append(way)
        yield found[0], found[1]


@pytest.fixture
async def loop_errors() -> list[str]:
    """What went wrong in callbacks of the event loop, where no caller hears of it."""
    errors: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(repr(context)))
    return errors


async def compare(ways: tuple[Way, Way], chunks: Sequence[bytes]) -> bytes:
    with_lane, without = [await way.send(chunks) for way in ways]
    assert with_lane == without
    return with_lane[0]


async def test_plain_get_takes_the_lane(ways: tuple[Way, Way]) -> None:
    """The request that nginx sends for a link in memory never reaches ASGI; the control does."""
    before = [way.server.server_state.total_requests for way in ways]
    answer = await compare(ways, [PLAIN])
    after = [way.server.server_state.total_requests for way in ways]

    assert answer.startswith(b"HTTP/1.1 302 Found\r\nlocation: https://www.example.com/a?b=c#d\r\n")
    assert [end - start for start, end in zip(before, after, strict=True)] == [0, 1]


async def test_prefetch_is_answered_like_a_visit(ways: tuple[Way, Way]) -> None:
    """A link that is fetched ahead takes the ordinary way, and its click says so whether there is a lane or not."""
    prefetch = PLAIN.replace(b"\r\n\r\n", b"\r\nX-Purpose: prefetch\r\n\r\n")
    answer = await compare(ways, [PLAIN, prefetch, PLAIN])

    assert answer.count(b"HTTP/1.1 302") == 3
    purposes = [[ClickParts(*parts).purpose for _, _, parts in way.clicks] for way in ways]
    assert purposes == [[None, b"prefetch", None]] * 2


async def test_every_split_of_a_request_gets_the_same_answer(ways: tuple[Way, Way]) -> None:
    """A request that arrives in two pieces, cut at any byte, is answered like a whole one."""
    whole = await compare(ways, [PLAIN])
    for cut in range(1, len(PLAIN)):
        assert await compare(ways, [PLAIN[:cut], PLAIN[cut:]]) == whole


async def test_request_after_a_split_one_is_answered(ways: tuple[Way, Way]) -> None:
    """The lane takes over again once an unfinished request is complete, and not before."""
    for cut in range(1, len(PLAIN), 7):
        assert (await compare(ways, [PLAIN + PLAIN[:cut], PLAIN[cut:], PLAIN])).count(b"HTTP/1.1 302") == 3


async def test_body_that_looks_like_a_request_is_a_body(ways: tuple[Way, Way]) -> None:
    """The body of a POST is never answered as if it were a request, however it arrives."""
    head = b"POST /plain HTTP/1.1\r\nHost: sho.rt\r\nContent-Length: %d\r\n\r\n" % len(PLAIN)
    chunked = b"POST /plain HTTP/1.1\r\nHost: sho.rt\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(PLAIN)

    assert (await compare(ways, [head, PLAIN])).count(b"HTTP/1.1 ") == 1
    assert (await compare(ways, [head, PLAIN, PLAIN])).count(b"HTTP/1.1 302") == 1
    assert (await compare(ways, [chunked, PLAIN, b"\r\n0\r\n\r\n", PLAIN])).count(b"HTTP/1.1 302") == 1
    assert (await compare(ways, [head.replace(b"POST", b"GET"), PLAIN, PLAIN])).count(b"HTTP/1.1 302") == 2


async def test_pipelined_requests_are_answered_in_order(ways: tuple[Way, Way]) -> None:
    """Answers keep the order of their requests, whichever way each of them took."""
    moved, off = PLAIN.replace(b"/plain", b"/moved"), PLAIN.replace(b"/plain", b"/off")
    answers = await compare(ways, [PLAIN, moved + off, PLAIN, off, moved])
    statuses = re.findall(rb"HTTP/1\.1 (\d+) ", answers)

    assert statuses == [b"302", b"308", b"410", b"302", b"410", b"308"]


async def test_request_behind_a_slow_one_waits_its_turn(ways: tuple[Way, Way]) -> None:
    """While a store is asked for one code, the next request on the connection is not answered before it."""
    for way in ways:
        reader, writer = await asyncio.open_unix_connection(str(way.socket))
        writer.write(PLAIN.replace(b"/plain", b"/never-seen"))
        while not way.server.server_state.tasks:
            await asyncio.sleep(0)
        writer.write(PLAIN)
        async with asyncio.timeout(READ_TIMEOUT_S):
            first = await reader.readuntil(b"\r\n\r\n")
            rest = await reader.readuntil(b"\r\nlocation: https://www.example.com/a?b=c#d\r\n")
        writer.close()

        assert first.startswith(b"HTTP/1.1 404")
        assert b"HTTP/1.1 302" in rest


async def test_connection_after_an_upgrade_that_was_not_made(ways: tuple[Way, Way]) -> None:
    """What follows a request for another protocol is not HTTP to the parser, and so not to the lane."""
    upgrade = PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")

    await compare(ways, [upgrade, PLAIN, PLAIN])


async def test_lane_is_taken_again_after_the_other_way(ways: tuple[Way, Way]) -> None:
    """A request that takes the ordinary way does not keep the following ones from the lane."""
    server = ways[0].server
    before = server.server_state.total_requests
    await compare(ways, [PLAIN.replace(b"GET", b"HEAD"), PLAIN, PLAIN])

    assert server.server_state.total_requests - before == 1


async def test_two_buffers_in_one_tick_are_answered_in_order(ways: tuple[Way, Way]) -> None:
    """Even if the event loop hands over two buffers at once, an answer that is owed is written first."""
    reader, writer, connection = await connect(ways[0])
    connection.data_received(PLAIN)
    connection.data_received(b"no request\r\n\r\n")
    async with asyncio.timeout(READ_TIMEOUT_S):
        answers = await reader.read()
    writer.close()

    assert re.findall(rb"HTTP/1\.1 (\d+) ", answers) == [b"302", b"400"]


async def test_answer_that_is_owed_survives_a_shutdown(ways: tuple[Way, Way]) -> None:
    """A server that stops in the very tick of a request still answers it."""
    reader, writer, connection = await connect(ways[0])
    connection.data_received(PLAIN)
    connection.shutdown()
    async with asyncio.timeout(READ_TIMEOUT_S):
        answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 302")


async def test_answer_to_a_closed_connection_is_dropped(ways: tuple[Way, Way], loop_errors: list[str]) -> None:
    """An answer that is owed to someone who has gone does no harm, and the others of the tick get theirs."""
    _, gone_writer, gone = await connect(ways[0])

    def answer_and_abort() -> None:
        gone.data_received(PLAIN)
        gone.transport.abort()
        asyncio.get_running_loop().remove_reader(near)

    # In the loop's polling phase, so that the connection is wholly closed by the end of the tick.
    near, far = socket_module.socketpair()
    asyncio.get_running_loop().add_reader(near, answer_and_abort)
    far.send(b"x")
    await ways[0].server.settle()
    near.close()
    far.close()
    reader, writer, connection = await connect(ways[0])
    connection.data_received(PLAIN)
    async with asyncio.timeout(READ_TIMEOUT_S):
        answer = await reader.readuntil(b"\r\n\r\n")
    for each in (gone_writer, writer):
        each.close()

    assert answer.startswith(b"HTTP/1.1 302")
    assert loop_errors == []


@pytest.mark.parametrize("filler", [PLAIN, PLAIN.replace(b"/plain ", b"/none?x ")], ids=["lane", "asgi"])
async def test_reader_that_does_not_read_is_not_answered_without_bound(ways: tuple[Way, Way], filler: bytes) -> None:
    """The lane stops when the client leaves its answers lying, and goes on when it takes them."""
    loop = asyncio.get_running_loop()
    with socket_module.socket(socket_module.AF_UNIX) as client:
        client.setblocking(False)
        await loop.sock_connect(client, str(ways[0].socket))
        await ways[0].server.settle()
        connection = connection_of(ways[0])
        # Whichever way fills the buffer, what follows could all be the lane's.
        sent = 0
        while not connection.flow.write_paused:
            await loop.sock_sendall(client, filler)
            await ways[0].server.settle()
            sent += 1
        sending = asyncio.create_task(send_one_by_one(client, 5000))
        async with asyncio.timeout(READ_TIMEOUT_S):
            while not sending.done() and not is_stuck(client):
                await asyncio.sleep(0)
            waiting = connection.transport.get_write_buffer_size()
            received = bytearray()
            while received.count(b"HTTP/1.1 ") < sent + 5000:
                received += await loop.sock_recv(client, 1 << 20)
            await sending

    assert waiting < 256 * 1024
    assert connection.is_idle


async def connect(way: Way) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, LaneProtocol]:
    """Open a connection, and find the server's end of it."""
    known = set(way.server.server_state.connections)
    reader, writer = await asyncio.open_unix_connection(str(way.socket))
    async with asyncio.timeout(READ_TIMEOUT_S):
        while not way.server.server_state.connections - known:
            await asyncio.sleep(0)
    (connection,) = way.server.server_state.connections - known
    assert isinstance(connection, LaneProtocol)
    return reader, writer, connection


def connection_of(way: Way) -> LaneProtocol:
    (connection,) = way.server.server_state.connections
    assert isinstance(connection, LaneProtocol)
    return connection


async def send_one_by_one(client: socket_module.socket, requests: int) -> None:
    for _ in range(requests):
        await asyncio.get_running_loop().sock_sendall(client, PLAIN)
        await asyncio.sleep(0)


def is_stuck(client: socket_module.socket) -> bool:
    """Tell whether the server has stopped reading: the socket takes nothing more."""
    return not select.select([], [client], [], 0)[1]


CONTROLS = [bytes([byte]) for byte in (*range(32), 127) if bytes([byte]) != b"\t"]


@pytest.mark.parametrize("control", CONTROLS, ids=[control.hex() for control in CONTROLS])
async def test_control_characters_are_answered_alike(ways: tuple[Way, Way], control: bytes) -> None:
    """A visit with a control in a header is answered with the lane as without; what could end a line is refused by both."""
    for header in (b"User-Agent", b"Referer", b"Accept-Language"):
        place = PLAIN.index(header) + len(header) + 5
        answer = await compare(ways, [PLAIN[:place] + control + PLAIN[place:]])
        assert answer.startswith(b"HTTP/1.1 400" if control in b"\r\n" else b"HTTP/1.1 302")
        assert b"text/plain" not in answer


LONG = {b"User-Agent": ("agent", 512), b"Referer": ("referrer", 2048), b"Accept-Language": ("language", 64)}


async def test_long_headers_are_cut_alike(ways: tuple[Way, Way]) -> None:
    """Of a header of any length both ways record the same first bytes, and no more than the click worker reads."""
    for name, (part, longest) in LONG.items():
        for length in (63, 64, 65, 511, 512, 513, 2047, 2048, 2049, 20_000):
            request = re.sub(name + rb": [^\r]*", name + b": " + b"x" * length, PLAIN)
            (_, with_lane), (_, without) = [await way.send([request]) for way in ways]
            assert with_lane == without
            assert getattr(ClickParts(*with_lane[0][1]), part) == b"x" * min(length, longest)


RAW = {
    "umlaut": b"x=\xc3\xbc",
    "latin-1": b"x=\xfc",
    "cut character": b"x=\xe2\x80",
    "bad percent": b"x=%zz&%",
    "NUL": b"x=%00",
    "unwise": b'x=|^{}`"<>\\',
    "empty": b"",
    "twice": b"?",
    "long": b"x=" + b"\xff" * 8000,
}


@pytest.mark.parametrize("query", RAW.values(), ids=RAW)
async def test_any_query_is_answered(ways: tuple[Way, Way], query: bytes) -> None:
    """Raw bytes and broken escapes in a query keep nobody from the link, whether it is forwarded or not, however it arrives."""
    for code in (b"/plain", b"/asks"):
        request = PLAIN.replace(b"/plain", code + b"?" + query)
        whole = await compare(ways, [request])
        assert whole.startswith(b"HTTP/1.1 302")
        assert whole.split(b"\r\n\r\n")[0].isascii()
        for cut in range(1, min(40, len(request)), 3):
            assert await compare(ways, [request[:cut], request[cut:], PLAIN]) == whole + await compare(ways, [PLAIN])
    if query == RAW["umlaut"]:
        assert b"location: https://www.example.com/?own=1&x=%C3%BC\r\n" in whole


@pytest.mark.parametrize(
    "request_bytes", [b"hello\r\n\r\n", PLAIN.replace(b" HTTP/1.1", b" HTTP/9.9"), PLAIN.replace(b"Host", b"Ho st")]
)
async def test_what_cannot_be_understood_is_a_problem(ways: tuple[Way, Way], request_bytes: bytes) -> None:
    """What the parser refuses gets our own error, and the connection ends."""
    answer = await compare(ways, [request_bytes])

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n")
    assert b"\r\nconnection: close\r\n" in answer
    assert b"urn:tinyurl:problem:bad-request" in answer


NAMES = st.sampled_from(
    [b"Host", b"X-Forwarded-For", b"X-Request-ID", b"User-Agent", b"Referer", b"Accept-Language", b"X-Error-Format"]
)
VALUES = st.sampled_from(
    [
        b"sho.rt",
        b"SHO.RT:80",
        b"html",
        b"json",
        b"a b",
        b"",
        b" ",
        b"\t",
        b" x ",
        b"\xff\xfe",
        b"a\rb",
        b"a\nb",
        b"a\x00b",
        b"a\x01b",
        b"\xc3\xbc",
    ]
    + [b"x" * 9000, b"203.0.113.7", b"0123456789abcdef", b"\x7f", b"a\r\n b", b"elsewhere.example"]
)
EXTRA = st.sampled_from(
    [b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade\r\nUpgrade: h2c", b"Upgrade: websocket"]
    + [
        b"Expect: 100-continue",
        b"Range: bytes=0-3",
        b'If-None-Match: "1"',
        b"If-Modified-Since: Tue, 01 Jan 2030 00:00:00 GMT",
    ]
    + [
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"Content-Length: x",
        b"Transfer-Encoding: chunked",
        b"Accept: text/html",
    ]
    + [b"Cookie: a=b", b"Host: other.example", b"broken", b": empty", b"X-Forwarded-For : 1", b"TE: trailers"]
)
BODIES = st.sampled_from([b"", b"", b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", PLAIN, b"\r\n", b"0\r\n\r\n"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request: mostly what nginx sends, with anything that may be odd about one."""
    if draw(st.booleans()):
        return PLAIN.replace(b"/plain", draw(st.sampled_from([b"/plain", b"/moved", b"/off", b"/asks", b"/none"])))
    method = draw(st.sampled_from([b"GET", b"GET", b"GET", b"HEAD", b"POST", b"OPTIONS", b"PUT", b"get", b"FOO"]))
    target = draw(
        st.sampled_from(
            [
                b"/plain",
                b"/moved",
                b"/asks?x=1&own=2",
                b"/asks",
                b"/off",
                b"/none",
                b"/plain?",
                b"/plain#f",
                b"/asks?x=\xc3\xbc",
                b"/plain?\xff",
                b"/plain.",
                b"/plain\xe2\x80\x8b",
                b"//plain",
                b"/",
            ]
            + [
                b"/pl%61in",
                b"/plain/",
                b"/%00",
                b"http://sho.rt/plain",
                b"*",
                b"/livez",
                b"/plain%0d%0a",
                b"/" + b"a" * 65,
            ]
        )
    )
    version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"http/1.1"]))
    lines = PLAIN.split(b"\r\n")[1:8] if draw(st.booleans()) else [b"Host: sho.rt"]
    lines += draw(st.lists(st.builds(lambda name, value: name + b": " + value, NAMES, VALUES), max_size=2))
    lines += draw(st.lists(EXTRA, max_size=2))
    if draw(st.booleans()):
        lines = draw(st.permutations(lines))
    line_end = draw(st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]))
    head = line_end.join([method + b" " + target + b" " + version, *lines, b"", b""])
    return head + draw(BODIES)


@st.composite
def traffic(draw: st.DrawFn) -> list[bytes]:
    """A few requests of one connection, each whole, several in one piece, or cut anywhere."""
    sent = draw(st.lists(requests(), min_size=1, max_size=4))
    if draw(st.booleans()):
        return sent
    whole = b"".join(sent)
    cuts = sorted(draw(st.sets(st.integers(1, len(whole) - 1), max_size=4)))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(chunks=traffic())
async def test_any_traffic_gets_the_same_bytes(ways: tuple[Way, Way], chunks: list[bytes]) -> None:
    """Whatever a connection carries, the lane changes nothing but the time that it takes."""
    await compare(ways, chunks)


async def test_idle_connection_is_closed_and_a_used_one_is_not(ways: tuple[Way, Way]) -> None:
    """The keep-alive timer, which the lane does not set anew for each answer, still ends an idle connection only."""
    way = ways[0]
    way.server.config.timeout_keep_alive = 1
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(READ_TIMEOUT_S):
        reader, writer = await asyncio.open_unix_connection(str(way.socket))
        used_until = loop.time() + 2.5
        while loop.time() < used_until:
            writer.write(PLAIN)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 302")
            await asyncio.sleep(0.1)
        assert await reader.read() == b""
        writer.close()

    assert loop.time() - used_until < 2.5


def test_base_class_has_what_the_lane_builds_on() -> None:
    """An upgrade of uvicorn that takes away what the lane relies on fails here, by name."""
    methods = {
        "connection_made": ["self", "transport"],
        "data_received": ["self", "data"],
        "on_message_begin": ["self"],
        "on_message_complete": ["self"],
        "on_response_complete": ["self"],
        "pause_writing": ["self"],
        "shutdown": ["self"],
        "timeout_keep_alive_handler": ["self"],
    }
    for name, parameters in methods.items():
        method = getattr(HttpToolsProtocol, name, None)
        assert method is not None, f"uvicorn's HttpToolsProtocol no longer has {name}: see services/redirect/lane.py"
        assert list(inspect.signature(method).parameters) == parameters, (
            f"HttpToolsProtocol.{name} takes other arguments"
        )
    source = inspect.getsource(HttpToolsProtocol)
    for attribute in (
        "parser",
        "cycle",
        "pipeline",
        "flow",
        "transport",
        "loop",
        "timeout_keep_alive_task",
        "app_state",
    ):
        assert f"self.{attribute}" in source, f"HttpToolsProtocol no longer has the attribute {attribute}"
    assert "self.timeout_keep_alive_task.cancel()" in source, "HttpToolsProtocol no longer cancels its keep-alive timer"
    assert "on_response" in inspect.signature(RequestResponseCycle).parameters, "the end of a response is not reported"
    assert "response_complete" in inspect.getsource(RequestResponseCycle), "a cycle no longer tells that it is complete"
