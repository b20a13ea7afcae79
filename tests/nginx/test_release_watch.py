"""What nginx's log says of a release while visitors and a tenant do their worst: the deployment's watch reads it."""

import asyncio
import contextlib
import json
from pathlib import Path

import httpx
import pytest

from deploy.host.site import HostSite
from deploy.host.watch import Tally
from tests.nginx.conftest import Front, NginxSite, Recorder, StartFront
from tests.serving import ANSWER_TIMEOUT_S

HOST = HostSite(
    root=Path("/nonexistent"), values={}, tinyurl_name="x", repository="x", public_base_url="https://sho.rt"
)
EACH = 60
"""So often each request is sent: with the others, well over the hundred answers that are needed for a verdict."""

GOOD = b"GET /api/v1/domains HTTP/1.1\r\nHost: sho.rt\r\nConnection: close\r\n\r\n"


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([line, "Host: sho.rt", "Connection: close", *headers, "", ""]).encode("latin-1") + body


VISITOR = [
    request("GET /x HTTP/9.9"),
    request("GET /x HTTP/1.1", "Transfer-Encoding: foo"),
    request("GET /x HTTP/1.1", "Transfer-Encoding: chunked", "Content-Length: 3"),
    request("BREW /x HTTP/1.1"),
    request("TRACE /x HTTP/1.1"),
    request("CONNECT sho.rt:443 HTTP/1.1"),
    request("GET /%zz HTTP/1.1"),
    request("GET /\x00 HTTP/1.1"),
    request(f"GET /{'a' * 9000} HTTP/1.1"),
    request(f"GET /{'a' * 40000} HTTP/1.1"),
    request("GET /x HTTP/1.1", f"Cookie: {'c' * 70000}"),
    request("GET /x HTTP/1.1", "Expect: 999-nonsense"),
    request("GET /x HTTP/1.1", "Range: bytes=9-1"),
    request("POST /x HTTP/1.1", "Content-Length: 99999999"),
    request("POST /api/v1/links HTTP/1.1", "Content-Length: 99999999"),
    request("POST /api/v1/links HTTP/1.1", "Content-Length: -1"),
    request("POST /api/v1/links HTTP/1.1", "Transfer-Encoding: chunked", body=b"zz\r\n"),
    request("GET /api/v1/links HTTP/1.1", "Authorization: Bearer tu_x_y"),
    request("GET /api/v1/links?cursor=%00 HTTP/1.1", "Authorization: Bearer \xff"),
    request("DELETE /api/v1/links/x HTTP/1.1"),
    request("GET /api/v1/%ff HTTP/1.1"),
    request("POST /dashboard/sign-in HTTP/1.1", "Content-Length: 99999"),
    # A body of 2 MB by nobody: the answer comes before all of it has been sent.
    request("POST /api/v1/links/batch HTTP/1.1", "Content-Length: 2000000", body=b"x" * 2_000_000),
    # Uploads and answers that are given up midway.
    request("POST /api/v1/links/batch HTTP/1.1", "Content-Length: 2000000", body=b"x" * 1000),
    b"GET /x HTTP/1.1\r\nHost: sho.rt\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
]


def tally_of(front: Front, **sockets: Path) -> Tally:
    found = Tally({f"unix:{path}": service for service, path in sockets.items()})
    for line in front.log.read_text(errors="replace").splitlines():
        found.count(line)
    return found


@pytest.mark.parametrize("worst", VISITOR, ids=lambda worst: worst[:40].decode("latin-1").partition("\r")[0])
async def test_a_visitor_cannot_look_like_an_error_of_the_release(
    site: NginxSite, sockets: dict[str, Path], worst: bytes
) -> None:
    """Refused by nginx, by a service, or given up by the client: none of it is an error."""
    async with asyncio.TaskGroup() as group:
        for _ in range(EACH):
            group.create_task(send(site.front, GOOD))
            group.create_task(send(site.front, worst))
    for _ in range(EACH):
        await send(site.front, GOOD)
    found = tally_of(site.front, **sockets)

    assert sum(count.answers for count in found.groups["links"].values()) >= HOST.error_minimum
    assert [count.errors for groups in found.groups.values() for count in groups.values() if count.errors] == []
    assert found.verdict(HOST) == ""


async def test_a_tenant_cannot_look_like_an_error_of_the_release(site: NginxSite, sockets: dict[str, Path]) -> None:
    """More batches at once than there are places, and what is wrong in every way: refusals, and no error."""
    headers = {"Authorization": f"Bearer {site.key}"}
    rows = [{"url": f"https://www.example.com/{n}"} for n in range(2000)]

    async def post(path: str, body: object) -> int:
        with contextlib.suppress(httpx.HTTPError):
            return (await site.client.post(path, json=body, headers=headers, timeout=30)).status_code
        return 0

    batches = await asyncio.gather(*(post("/api/v1/links/batch", {"links": rows}) for _ in range(40)))
    wrong = [
        {"url": "https://x.example/", "code": "\x00"},
        {"url": "https://[::1/"},
        {"tags": [None]},
        [[]],
        "x",
    ]
    await asyncio.gather(*(post("/api/v1/links", body) for body in wrong for _ in range(EACH)))
    found = tally_of(site.front, **sockets)

    assert any(status >= 400 for status in batches)
    assert sum(count.answers for count in found.groups["links"].values()) >= HOST.error_minimum
    assert found.verdict(HOST) == ""


async def test_a_process_that_fails_is_seen(recorders: list[Recorder], start_front: StartFront) -> None:
    """Its own 500 and 503, and a connection that breaks, which nginx answers with 502 in its place."""
    failing = recorders[0]
    front = await asyncio.to_thread(start_front, redirect=[recorders[1].path], links=[failing.path])
    for answer in (
        b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
        b"",
    ):
        failing.answer = answer
        front.log.write_text("")
        for _ in range(HOST.error_minimum):
            await send(front, GOOD)

        # nginx writes the line of a request after its answer.
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while len(front.log.read_text(errors="replace").splitlines()) < HOST.error_minimum:
                await asyncio.sleep(0.01)

        assert "100 of 100 answers" in tally_of(front, links=failing.path).verdict(HOST)
        assert tally_of(front, links=Path("/run/old.sock")).verdict(HOST) == ""


async def test_a_full_bound_is_no_error(recorders: list[Recorder], start_front: StartFront) -> None:
    """What the header of a refusal says is in the log; so is, of the address, one of sixteen groups and nothing else."""
    full = recorders[0]
    full.answer = b"HTTP/1.1 503 Service Unavailable\r\nx-busy: 1\r\ncontent-length: 0\r\n\r\n"
    front = await asyncio.to_thread(start_front, redirect=[recorders[1].path], links=[full.path])
    for _ in range(HOST.error_minimum):
        await send(front, GOOD)
    line = json.loads(front.log.read_text(errors="replace").splitlines()[0])

    assert tally_of(front, links=full.path).verdict(HOST) == ""
    assert (line["upstream_status"], line["busy"]) == ("503", "1")
    assert 1 <= int(line["client_group"]) <= 16
    assert "127.0.0.1" not in json.dumps(line)


async def send(front: Front, data: bytes) -> None:
    """Send and read what comes, if anything; a request without an end is given up."""
    with contextlib.suppress(OSError, TimeoutError):
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        try:
            writer.write(data)
            async with asyncio.timeout(ANSWER_TIMEOUT_S if data == GOOD else 1):
                await reader.read()
        finally:
            writer.close()


@pytest.fixture
def sockets(socket: Path) -> dict[str, Path]:
    """Where the services of `site` listen."""
    return {name: socket.with_suffix(f".{name}") for name in ("links", "redirect")}
