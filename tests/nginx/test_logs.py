"""No log has a client's address or a query, whatever goes wrong with a request."""

import asyncio
import contextlib
import json
from pathlib import Path

import httpx
import pytest

from tests.local.test_up import StartUp, sign_in_url, start_up  # noqa: F401  # a fixture
from tests.nginx.conftest import Front, Recorder, StartFront

CLIENT = "127.0.0.77"
QUERY = "q77-of-a-visitor"

FOREIGN_KEYS = [
    ("/yourls-api.php", "signature"),
    ("/yourls-api.php", "password"),
    ("/yourls-api.php", "username"),
    ("/rest/v3/short-urls/shorten", "apiKey"),
    ("/api/v2/action/shorten", "key"),
    ("/api/v2/action/lookup", "key"),
    ("/api-create.php", "key"),
]
"""Where clients of other shorteners send a key in a query or a form."""

FORM = {"Content-Type": "application/x-www-form-urlencoded"}

SILENT = b"HTTP/1.1 100 Continue\r\n\r\n"


def line(method: bytes, path: bytes, connection: bytes = b"close") -> bytes:
    """What a request begins with."""
    return (
        b"%b /%b?q77-of-a-visitor HTTP/1.1\r\nHost: sho.rt\r\n"
        b"Referer: https://a.example/?q77-of-a-visitor\r\nConnection: %b\r\n" % (method, path, connection)
    )


REFUSED = [
    line(b"GET", b"abc") + b"Transfer-Encoding: foo\r\n\r\n",
    line(b"GET", b"abc").replace(b"HTTP/1.1", b"HTTP/9.9") + b"\r\n",
    line(b"GET", b"abc") + b"Content-Length: zz\r\n\r\n",
    line(b"GET", b"abc") + b"Host: sho.rt\r\n\r\n",
    line(b"GET", b"abc") + b"(bad): x\r\nbad header\r\n\r\n",
    line(b"GET", b"abc%00") + b"\r\n",
    line(b"GET", b"a" * 40_000) + b"\r\n",
    line(b"GET", b"abc") + b"X: " + b"x" * 33_000 + b"\r\n\r\n",
    line(b"GET", b"abc").replace(b"sho.rt", b"evil.example", 1) + b"\r\n",
    line(b"GET", b"abc") + b"Content-Length: 9000\r\n\r\n" + b"x" * 9000,
    line(b"POST", b"api/v1/links")
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"4e20\r\n"
    + b"x" * 20_000
    + b"\r\n0\r\n\r\n",
    line(b"POST", b"api/v1/links") + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    line(b"TRACE", b"abc") + b"\r\n",
    line(b"GET", b".well-known/acme-challenge/x") + b"\r\n",
]

BROKEN = {
    "breaks off": b"",
    "a bad header": b"HTTP/1.1 200 OK\r\nx\x00y: z\r\n\r\n",
    "large headers": b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000 + b"\r\n\r\n",
    "half an answer": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
}
"""What a service could answer that goes wrong at nginx."""


@pytest.fixture
async def front(recorders: list[Recorder], start_front: StartFront, binary: Path | None) -> tuple[Front, Recorder]:
    paths = [recorders[0].path]
    options = {"dashboard": paths, "binary": binary, "redirect_rate": 200, "api_rate": 200}
    return await asyncio.to_thread(start_front, redirect=paths, links=paths, **options), recorders[0]


async def test_no_address_and_no_query_of_a_client(front: tuple[Front, Recorder]) -> None:
    """Refused, limited, broken off, timed out, left behind by services that fail: nothing of it tells who it was."""
    nginx, service = front
    for request in REFUSED:
        await nginx.send(request, source=CLIENT)
    service.leaves = True
    for service.answer in BROKEN.values():
        for path in (b"abc", b"api/v1/links", b"dashboard/"):
            with contextlib.suppress(ConnectionError):
                await nginx.send(line(b"GET", path) + b"\r\n", source=CLIENT)
    service.leaves = False
    service.answer = SILENT
    await nginx.send(line(b"GET", b"abc") + b"\r\n", source=CLIENT)
    await leave_at_once(nginx)
    await hold_too_many_uploads(nginx)
    service.answer = Recorder.answer
    await ask_too_often(nginx, b"abc")
    # A service that is gone.
    service.path.unlink()
    for path in (b"abc", b"api/v1/links", b"docs", b"dashboard/"):
        await nginx.send(line(b"GET", path) + b"\r\n", source="127.0.0.78")
    wanted = {400, 405, 413, 414, 421, 429, 431, 499, 501, 503, 505}
    async with asyncio.timeout(20):
        while not wanted <= statuses(nginx):
            await asyncio.sleep(0.05)
    for file in (nginx.log, nginx.errors):
        text = file.read_text()
        assert CLIENT not in text, file.name
        assert QUERY not in text, file.name


async def test_log_tells_what_went_wrong(front: tuple[Front, Recorder]) -> None:
    """What the error log had is in the access log: the path as it was asked for, the service's status, the limit."""
    nginx, service = front
    service.answer = b""
    await nginx.send(line(b"GET", b"abc") + b"\r\n")
    await nginx.send(line(b"GET", b"a;b") + b"\r\n")
    service.answer = Recorder.answer
    await ask_too_often(nginx, b"api/v1/links")
    async with asyncio.timeout(20):
        while 429 not in statuses(nginx):
            await asyncio.sleep(0.05)
    lines = [json.loads(text) for text in nginx.log.read_text().splitlines()]
    broken, missing = lines[:2]
    limited = next(each for each in lines if each["status"] == 429)

    assert broken.items() >= {"path": "/abc", "status": 503, "upstream_status": "502 : 502"}.items()
    assert broken["upstream"].startswith("unix:")
    assert missing.items() >= {"path": "/a;b", "status": 404, "upstream_status": "", "rate": "PASSED"}.items()
    assert limited.items() >= {"path": "/api/v1/links", "rate": "REJECTED"}.items()


def statuses(nginx: Front) -> set[int]:
    return {json.loads(text)["status"] for text in nginx.log.read_text().splitlines()}


async def ask_too_often(nginx: Front, path: bytes) -> None:
    many = (line(b"GET", path, b"keep-alive") + b"\r\n") * 450
    await nginx.send(many + line(b"GET", path) + b"\r\n", source=CLIENT)


async def leave_at_once(nginx: Front) -> None:
    """Ask, and go before the answer: 499."""
    _, writer = await asyncio.open_connection("127.0.0.1", nginx.port, local_addr=(CLIENT, 0))
    writer.write(line(b"GET", b"api/v1/links") + b"\r\n")
    await writer.drain()
    writer.write_eof()
    async with asyncio.timeout(20):
        while 499 not in statuses(nginx):
            await asyncio.sleep(0.05)
    writer.close()


async def hold_too_many_uploads(nginx: Front) -> None:
    """Begin more uploads than an address may have, each slower than nginx waits."""

    async def upload() -> None:
        with contextlib.suppress(ConnectionError):
            await nginx.send(line(b"POST", b"api/v1/links/batch") + b"Content-Length: 9\r\n\r\n1", source=CLIENT)

    await asyncio.gather(*(upload() for _ in range(10)))


def test_no_log_of_the_whole_stack(start_up: StartUp) -> None:  # noqa: F811
    """Neither the services nor the stores write down who came, and with which query, when something goes wrong."""
    up = start_up(with_dashboard=True)
    sign_in_url(up)
    key = up.state()["api_key"]
    up.create(url=f"https://www.example.com/?{QUERY}", code="mine", forward_query=True)
    transport = httpx.HTTPTransport(local_address=CLIENT)
    with httpx.Client(transport=transport, base_url=up.url, headers={"Authorization": f"Bearer {key}"}) as client:
        for method, path, body in (
            ("GET", "/mine", None),
            ("GET", "/none", None),
            ("POST", "/mine", b"x" * 2000),
            ("GET", "/dashboard/", None),
            ("POST", "/dashboard/sign-in", b"key=wrong"),
            ("POST", "/dashboard/_stcore/nothing", b"x"),
            ("POST", "/api/v1/links", b"{"),
            ("POST", "/api/v1/links", b'{"url": "javascript:q77-of-a-visitor"}'),
            ("POST", "/api/v1/links", b'{"url": "https://a.example/?q77-of-a-visitor\\u0000"}'),
            (
                "POST",
                "/api/v1/links/batch",
                b'{"links": [{"url": "https://a.example/?q77-of-a-visitor", "code": "mine"}]}',
            ),
            ("PATCH", "/api/v1/links/mine", b'{"url": 7}'),
            ("GET", "/api/v1/links", None),
        ):
            headers = {"Content-Type": "application/json"} if path.startswith("/api") else {"Origin": up.url}
            client.request(method, f"{path}?{QUERY}=\xfc%00", content=body, headers=headers)
        for path, name in FOREIGN_KEYS:
            for sent in (f"{name}={QUERY}", f"{name}={QUERY}%00&action=shorturl&format=json&url={QUERY}"):
                for headers in ({}, {"Authorization": ""}):
                    answers = [client.get(f"{path}?{sent}", headers=headers)]
                    answers.append(client.post(path, content=sent, headers=headers | FORM))
                    # But for what a client asks for, which may come back.
                    assert not [each.text for each in answers if f"{name}={QUERY}" in each.text]
        up.process.terminate()
        with contextlib.suppress(httpx.HTTPError):
            client.get(f"/mine?{QUERY}")
    up.process.wait(timeout=30)
    logs = [log for log in [*(up.data / "logs").rglob("*"), up.output] if log.is_file()]

    assert {"access.log", "links.log", "redirect-1.log", "dashboard.log", "nginx.log"} <= {log.name for log in logs}
    for log in logs:
        assert CLIENT not in log.read_text(errors="replace"), log.name
        assert QUERY not in log.read_text(errors="replace"), log.name
