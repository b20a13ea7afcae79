"""Limits per client: no location and no method of nginx is without one."""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import crossplane
import pytest

from deploy.nginx.files import MAIN
from shared.api import ForeignApi
from tests.nginx.conftest import Front, Recorder, StartFront

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FOO")
RATE = 5
BURST_OF_FILES = 1000
"""Of the dashboard's files; of all else it is the rate."""

CANDIDATES = ("/docs/start.js", "/abc", "/abc+", "/abc/", "/abc.", "/abc)", "/abc%E2%80%8B", "/" + "a" * 8192)
"""For a location that is an expression, the first that it matches."""


def locations(configuration: Path) -> Iterator[tuple[str, str]]:
    """The addresses of a configuration that nginx writes: a host and a path for each location that a client can reach."""
    parsed = crossplane.parse(str(configuration), combine=True)
    assert parsed["status"] == "ok", parsed["errors"]
    (http,) = [each for each in parsed["config"][0]["parsed"] if each["directive"] == "http"]
    for server in (each for each in http["block"] if each["directive"] == "server"):
        (names,) = [each["args"] for each in server["block"] if each["directive"] == "server_name"]
        host = "nobody.example" if names == ["_"] else names[0]
        for location in (each for each in server["block"] if each["directive"] == "location"):
            if not location["args"][0].startswith("@") and not any(
                each["directive"] == "internal" for each in location["block"]
            ):
                yield host, sample(location)


def sample(location: dict[str, Any]) -> str:
    kind, path = ("", *location["args"])[-2:]
    if kind.startswith("~"):
        return next(candidate for candidate in CANDIDATES if re.search(path, candidate))
    return str(path)


@pytest.fixture
async def front(recorders: list[Recorder], start_front: StartFront, binary: Path | None) -> Front:
    """One that takes five requests a second, before services that answer everything: an error would be limited in any case."""
    paths = [recorder.path for recorder in recorders]
    rates = {"redirect_rate": RATE, "api_rate": RATE, "compat": get_args(ForeignApi)}
    return await asyncio.to_thread(start_front, redirect=paths, links=paths, dashboard=paths, binary=binary, **rates)


async def test_every_location_and_method_has_a_limit(front: Front) -> None:
    """Whatever is asked for, and however, who asks too often is answered 429; this holds for locations to come."""
    asked, unlimited = set(), []
    for host, path in locations(front.folder / MAIN):
        for method in METHODS:
            asked.add(path)
            request = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode()
            times = BURST_OF_FILES + 100 if path == "/dashboard/static/" else 8 * RATE
            if 429 not in await front.statuses(request, times):
                unlimited.append(f"{method} {host}{path}")

    assert not unlimited
    assert {
        "/",
        "/robots.txt",
        "/.well-known/security.txt",
        "/favicon.ico",
        "/api/",
        "/docs",
        "/dashboard/",
        "/dashboard",
        "/abc",
        "/rest/",
        "/yourls-api.php",
        "/api/v2/",
        "/api-create.php",
    } <= asked


GARBAGE = {
    "HTTP/9.9": b"GET /abc HTTP/9.9\r\nHost: sho.rt\r\n\r\n",
    "an unknown encoding": b"GET /abc HTTP/1.1\r\nHost: sho.rt\r\nTransfer-Encoding: foo\r\n\r\n",
    "no path": b"GET abc HTTP/1.1\r\nHost: sho.rt\r\n\r\n",
    "no host": b"GET /abc HTTP/1.1\r\nAccept: */*\r\n\r\n",
    "a long header": b"GET /abc HTTP/1.1\r\nHost: sho.rt\r\nX: " + b"x" * 33_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_has_a_limit(front: Front, request_bytes: bytes) -> None:
    """What nginx refuses before it knows which location is meant counts as well."""
    assert {429} < set(await front.statuses(request_bytes, 8 * RATE))


async def test_large_body_has_a_limit(front: Front) -> None:
    """So does a body that is refused by its length."""
    async with front.client() as client:
        answers = await asyncio.gather(*(client.post("/api/v1/links", content=b" " * 400_000) for _ in range(8 * RATE)))

    assert {answer.status_code for answer in answers} == {413, 429}


async def test_refusal_says_when_to_come_again(front: Front) -> None:
    """A 429 is a page for a browser and a problem for a program, with `Retry-After`, also where an error was due."""
    for path in ("/", "/a/b", "/robots.txt", "/api/v1/links", "/dashboard/"):
        for accept, shown in (("text/html", b"<h1>Too many requests</h1>"), ("*/*", b"problem:too-many-requests")):
            request = f"GET {path} HTTP/1.1\r\nHost: sho.rt\r\nAccept: {accept}\r\n\r\n".encode()
            answers = await front.send(request * 8 * RATE + request.replace(b"Host", b"Connection: close\r\nHost"))
            refused = answers.split(b"HTTP/1.1 429 ")[1:]

            assert all(b"Retry-After: 1\r\n" in each and shown in each for each in refused)
            assert refused


NEIGHBOURS = [
    ("203.0.113.7", "203.0.113.8", False),
    ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
    ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
    ("2001:db8:a0a:a0a::", "2001:db8:a0a:a0a:a0a:a0a:a0a:a0a", True),
    ("::ffff:203.0.113.7", "::ffff:203.0.113.8", False),
    ("::ffff:203.0.113.7", "203.0.113.7", True),
    ("64:ff9b::203.0.113.7", "64:ff9b::203.0.113.8", False),
]


@pytest.mark.parametrize("neighbours", NEIGHBOURS, ids=lambda each: f"{each[0]} {each[1]}")
async def test_who_is_one_client(
    recorders: list[Recorder], start_front: StartFront, binary: Path | None, neighbours: tuple[str, str, bool]
) -> None:
    """A /64 is one client; an IPv4 address is one, however it is written."""
    first, second, is_one = neighbours
    paths = [recorder.path for recorder in recorders]
    options = {"redirect_rate": RATE, "trusted_proxies": ["127.0.0.1"], "binary": binary}
    front = await asyncio.to_thread(start_front, redirect=paths, links=paths, **options)
    request = "GET /abc HTTP/1.1\r\nHost: sho.rt\r\nX-Forwarded-For: {}\r\n\r\n"
    await front.statuses(request.format(first).encode(), 8 * RATE)
    (status,) = await front.statuses(request.format(second).encode())

    assert (status == 429) is is_one


async def test_requests_under_way_are_limited(
    recorders: list[Recorder], start_front: StartFront, binary: Path | None
) -> None:
    """A client has at most 8 uploads and 256 requests at a time; a visitor of another address is served meanwhile."""
    paths = [recorder.path for recorder in recorders]
    options = {"dashboard": paths, "trusted_proxies": ["127.0.0.1"], "binary": binary}
    front = await asyncio.to_thread(start_front, redirect=paths, links=paths, **options)
    uploads = ("POST /api/v1/links/batch", "PUT /dashboard/_stcore/upload_file/session/file")
    for allowed, starts in ((8, uploads), (256, ("POST /api/v1/links",))):
        for start in starts:
            async with contextlib.AsyncExitStack() as stack:
                for recorder in recorders:
                    recorder.answer = b"HTTP/1.1 100 Continue\r\n\r\n"
                held = f"{start} HTTP/1.1\r\nHost: sho.rt\r\nContent-Length: 9\r\n\r\n1".encode()
                for _ in range(allowed):
                    _, writer = await asyncio.open_connection("127.0.0.1", front.port)
                    stack.callback(writer.close)
                    writer.write(held)
                await until_limited(front, start)
                for recorder in recorders:
                    recorder.answer = Recorder.answer
                visit = b"GET /abc HTTP/1.1\r\nHost: sho.rt\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"

                assert await front.statuses(visit) == [302]


async def until_limited(front: Front, start: str) -> None:
    """Ask until nginx has seen all that was sent before."""
    request = f"{start} HTTP/1.1\r\nHost: sho.rt\r\nContent-Length: 0\r\nExpect: \r\n\r\n".encode()
    async with asyncio.timeout(20):
        while await front.statuses(request) != [429]:
            await asyncio.sleep(0.05)
