"""What nginx itself refuses: always our own page or problem with the right status, whatever was sent, at every server."""

import json
from pathlib import Path

import pytest

from services.redirect.answers import error
from tests.nginx.conftest import Front, NginxSite, StartFront

HOST = b"Host: sho.rt\r\nConnection: close\r\n"

REQUESTS = {
    "HTTP/9.9": (b"GET /x HTTP/9.9\r\n" + HOST, 505),
    "HTTP/2.0 as text": (b"GET /x HTTP/2.0\r\n" + HOST, 505),
    "HTTP/x": (b"GET /x HTTP/x\r\n" + HOST, 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n", 400),
    "TLS": (bytes.fromhex("16030100a5010000a10303") + b"x" * 100, 400),
    "words": (b"hello\r\n", 400),
    "lower case": (b"get /x HTTP/1.1\r\n" + HOST, 400),
    "no slash": (b"GET x HTTP/1.1\r\n" + HOST, 400),
    "a space": (b"GET /x y HTTP/1.1\r\n" + HOST, 400),
    "NUL": (b"GET /x\x00y HTTP/1.1\r\n" + HOST, 400),
    "an encoded NUL": (b"GET /x%00y HTTP/1.1\r\n" + HOST, 400),
    "half an escape": (b"GET /%zz HTTP/1.1\r\n" + HOST, 400),
    "above the root": (b"GET /../x HTTP/1.1\r\n" + HOST, 400),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\n" + HOST, 400),
    "TRACE": (b"TRACE /x HTTP/1.1\r\n" + HOST, 405),
    "no host": (b"GET /x HTTP/1.1\r\n", 400),
    "an empty host": (b"GET /x HTTP/1.1\r\nHost:\r\n", 400),
    "a bad host": (b"GET /x HTTP/1.1\r\nHost: a b/c\r\n", 400),
    "two hosts": (b"GET /x HTTP/1.1\r\nHost: sho.rt\r\nHost: sho.rt\r\n", 400),
    "a host of others": (b"GET /x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n", 421),
    "a header without a name": (b"GET /x HTTP/1.1\r\n" + HOST + b": x\r\n\x01(: y\r\n", 400),
    "NUL in a header": (b"GET /x HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n", 400),
    "an unknown encoding": (b"GET /x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: foo\r\n", 501),
    "chunks in HTTP/1.0": (b"POST /api/v1/links HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n", 400),
    "length and chunks": (
        b"POST /api/v1/links HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        400,
    ),
    "no number": (b"POST /api/v1/links HTTP/1.1\r\n" + HOST + b"Content-Length: zz\r\n", 400),
    "a large body": (
        b"POST /api/v1/links HTTP/1.1\r\n" + HOST + b"Content-Length: 400000\r\n\r\n" + b"x" * 299_998,
        413,
    ),
    "a long path": (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n" + HOST, 414),
    "a very long path": (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n" + HOST, 414),
    "a long header": (b"GET /x HTTP/1.1\r\n" + HOST + b"Cookie: " + b"x" * 33_000 + b"\r\n", 431),
    "long headers": (b"GET /x HTTP/1.1\r\n" + HOST + (b"Cookie: " + b"x" * 30_000 + b"\r\n") * 6, 431),
}
KINDS = {
    400: "bad-request",
    405: "method-not-allowed",
    413: "body-too-large",
    414: "address-too-long",
    421: "wrong-host",
    431: "headers-too-large",
    501: "not-implemented",
    505: "http-version",
}


@pytest.fixture
def front(start_front: StartFront, tmp_path: Path, binary: Path | None) -> Front:
    nobody = [tmp_path / "nobody.sock"]
    return start_front(redirect=nobody, links=nobody, dashboard=nobody, binary=binary)


async def test_what_cannot_be_understood(front: Front) -> None:
    """Each of these is answered with a problem of its own kind, never with nginx's own page."""
    for name, (request, status) in REQUESTS.items():
        head, _, body = (await front.send(request + b"\r\n", is_all=True)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status), (name, head[:80])
        assert b"Content-Type: application/problem+json" in head, name
        assert b"X-Content-Type-Options: nosniff" in head, name
        problem = json.loads(body)
        assert (problem["status"], problem["type"]) == (status, f"urn:tinyurl:problem:{KINDS[status]}"), name
        assert problem["title"], name


async def test_browser_gets_a_page(front: Front) -> None:
    """A browser whose cookies are too large, for example, reads what is wrong."""
    for name in ("a long header", "an unknown encoding", "a large body", "a long path", "a host of others"):
        request, status = REQUESTS[name]
        line, _, rest = request.partition(b"\r\n")
        answer = await front.send(line + b"\r\nAccept: text/html,*/*\r\n" + rest + b"\r\n", is_all=True)

        assert answer.startswith(b"HTTP/1.1 %d " % status), name
        assert b"<h1>" in answer, name


SHARED = {
    b"GET /x HTTP/1.1\r\nContent-Length: zz\r\n": 400,
    b"GET /.well-known/none HTTP/1.1\r\n": 404,
    b"TRACE /x HTTP/1.1\r\n": 405,
    b"GET /x HTTP/1.1\r\n": 503,
}
"""What nginx answers itself as the redirect service would: no server is there that it could ask."""


async def test_redirect_says_the_same(front: Front) -> None:
    """An error reads the same, byte for byte, whether nginx answers it or the redirect service, as page and as problem."""
    for start, status in SHARED.items():
        for accept in (b"text/html", b"*/*"):
            line, _, headers = start.partition(b"\r\n")
            request = line + b"\r\nAccept: " + accept + b"\r\n" + HOST + headers + b"\r\n"
            head, _, body = (await front.send(request, is_all=True)).partition(b"\r\n\r\n")

            assert head.startswith(b"HTTP/1.1 %d " % status), (line, head[:80])
            assert body == error(status, "html" if accept == b"text/html" else "json").body, (line, accept)


async def test_answer_arrives_before_the_request_is_read(front: Front) -> None:
    """Who is refused while still sending can read why: the connection is not reset under the answer."""
    for name in ("a long header", "long headers", "a very long path"):
        request, status = REQUESTS[name]
        answer = await front.send(request + b"X: " + b"x" * 2**20 + b"\r\n\r\n", is_all=True)

        assert answer.startswith(b"HTTP/1.1 %d " % status), name
        assert answer.endswith(b"}"), name


async def test_words_of_before_http_1(front: Front) -> None:
    """HTTP/0.9 has no status and no headers; it gets the body alone."""
    assert json.loads(await front.send(b"GET /x\r\n"))["status"] == 421


async def test_visitor_with_large_cookies(site: NginxSite) -> None:
    """A visitor who brings 31 KB of cookies of a parent domain is redirected, and so is one with a query of 20 KB."""
    link = await site.create(url="https://www.example.com/", code="mine")
    for headers, query in (
        ({"Cookie": "a=" + "x" * 31_000}, ""),
        ({"Cookie": "; ".join(f"c{n}=" + "x" * 200 for n in range(150))}, ""),
        ({"Referer": "https://a.example/?" + "x" * 20_000, "User-Agent": "x" * 20_000}, ""),
        ({}, "?x=" + "y" * 20_000),
    ):
        answer = await site.client.get(f"/mine{query}", headers=headers)

        assert (answer.status_code, answer.headers["location"]) == (302, link["url"])
