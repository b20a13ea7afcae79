"""nginx before the services: what it lets through, what it says itself, what it never believes."""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from deploy.local.nginx import Nginx
from services.links.links.batch import LARGEST_BATCH
from services.links.web.bodies import LARGEST_BODY
from services.redirect.lane import _match_plain_get
from tests.nginx.conftest import NginxSite, Recorder, StartFront

URL = "https://www.example.com/a?b=c#d"
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    "Referer": "https://news.example.org/",
    "Accept-Language": "de",
}


@pytest.fixture
def configuration(tmp_path: Path) -> Nginx:
    return Nginx(
        folder=tmp_path,
        port=8080,
        domains=["sho.rt"],
        links=[Path("/nonexistent/links.sock")],
        redirect=[Path("/nonexistent/redirect.sock")],
        dashboard=[Path("/nonexistent/dashboard.sock")],
        access_log="off",
        options={"trusted_proxies": ["10.0.0.0/8", "192.0.2.1"]},
    )


def test_configuration_is_valid(configuration: Nginx) -> None:
    """nginx has nothing to mind."""
    assert configuration.check() == ""


def test_configuration_has_no_known_weakness(configuration: Nginx) -> None:
    """gixy finds nothing."""
    configuration.write()
    done = subprocess.run(
        [sys.executable, "-m", "gixy", "--format", "json", str(configuration.configuration)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert json.loads(done.stdout) == []


async def test_redirect_gets_a_fixed_set_of_headers(recorders: list[Recorder], start_front: StartFront) -> None:
    """Whatever a client sends, the redirect service gets the same few headers in the same order: the lane's shape."""
    front = await asyncio.to_thread(start_front, redirect=[recorders[0].path], links=[recorders[1].path])
    forged = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Real-IP": "6.6.6.6",
        "X-Request-ID": "forged",
        "X-Error-Format": "forged",
        "Forwarded": "for=6.6.6.6",
        "X-Forwarded-Host": "evil.example",
        "Cookie": "a=b",
        "Authorization": "Bearer secret",
        "If-None-Match": '"x"',
        "Range": "bytes=0-1",
    }
    async with front.client() as client:
        await client.get("/abc", headers={**forged, **BROWSER})
        await client.request("GET", "/abc", content=b"a body", headers=BROWSER)
        client.headers.clear()
        answer = await client.get("/abc", headers={"Host": "127.0.0.1"})
    browser, with_body, bare = recorders[0].received
    request_id = re.search(rb"X-Request-ID: ([0-9a-f]{32})\r\n", bare)

    assert browser.split(b"X-Request-ID")[0] == b"GET /abc HTTP/1.1\r\nHost: sho.rt\r\nX-Forwarded-For: 127.0.0.1\r\n"
    assert browser.endswith(
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nReferer: https://news.example.org/\r\n"
        b"Accept-Language: de\r\nX-Error-Format: html\r\n\r\n"
    )
    assert b"orged" not in browser
    assert b"6.6.6.6" not in browser
    assert all(_match_plain_get(request) for request in (browser, with_body, bare))
    assert request_id is not None
    assert answer.headers["x-request-id"] == request_id[1].decode()


async def test_only_a_visit_with_a_password_brings_one(recorders: list[Recorder], start_front: StartFront) -> None:
    """Redirect gets a body, a password and the cookie of one from a visit that has them, and nothing else of the client."""
    front = await asyncio.to_thread(start_front, redirect=[recorders[0].path], links=[recorders[1].path])
    async with front.client() as client:
        await client.get("/abc", headers={"Cookie": "a=b; tinyurl_unlock=1.x; c=d", **BROWSER})
        await client.get("/abc", headers={"Authorization": "Basic x", "If-None-Match": '"x"'})
        own = {"Sec-Fetch-Site": "same-origin", "Origin": "null", "X-Unlock": "forged", "X-Forwarded-Host": "forged"}
        await client.post("/abc", data={"password": "x"}, headers={"User-Agent": "", **own})
        refused = await client.put("/abc", data={"password": "x"})
    cookie, basic, form = recorders[0].received

    assert cookie.startswith(b"GET /abc HTTP/1.1\r\nHost: sho.rt\r\nX-Forwarded-For: 127.0.0.1\r\n")
    assert b"X-Unlock: 1.x\r\n" in cookie
    assert b"Cookie" not in cookie
    assert b"Authorization: Basic x\r\n" in basic
    assert b"If-None-Match" not in basic
    head, _, body = form.partition(b"\r\n\r\n")
    assert [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]] == [
        b"Host",
        b"X-Forwarded-For",
        b"X-Request-ID",
        b"X-Error-Format",
        b"Content-Length",
        b"Content-Type",
        b"Sec-Fetch-Site",
        b"Origin",
        b"X-Forwarded-Host",
    ]
    assert (body, b"orged" in form) == (b"password=x", False)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_many_visits_at_once_keep_their_connections(socket: Path, start_front: StartFront) -> None:
    """A hundred visits at once, and a hundred after them, need a hundred connections to redirect, and no new ones."""
    visits, waves = 100, 2
    connections: list[asyncio.StreamWriter] = []
    all_there = asyncio.Barrier(visits)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await all_there.wait()
                writer.write(b"HTTP/1.1 302 Found\r\nlocation: https://www.example.com/\r\ncontent-length: 0\r\n\r\n")

    redirect = socket.with_suffix(".redirect")
    async with await asyncio.start_unix_server(answer, str(redirect)):
        redirect.chmod(0o666)
        front = await asyncio.to_thread(start_front, redirect=[redirect], links=[redirect])
        limits = httpx.Limits(max_connections=visits, max_keepalive_connections=visits)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{front.port}", limits=limits) as client:
            for _ in range(waves):
                answers = await asyncio.gather(
                    *(client.get(f"/v{n}", headers={"Host": "sho.rt"}) for n in range(visits))
                )
                assert {answer.status_code for answer in answers} == {302}
        for connection in connections:
            connection.close()

    assert len(connections) == visits


async def test_redirect_is_told_of_a_prefetch(recorders: list[Recorder], start_front: StartFront) -> None:
    """Each header by which a browser says that nobody clicked becomes one, after all others; other values say nothing."""
    front = await asyncio.to_thread(start_front, redirect=[recorders[0].path], links=[recorders[1].path])
    said = [
        *(
            {name: value}
            for name in ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
            for value in ("prefetch", "Preview")
        ),
        {"Sec-Purpose": "prefetch;prerender"},
        {"sec-purpose": "prefetch;anonymous-client-ip", "Purpose": "prefetch"},
        {"Purpose": "navigate", "X-Moz": "prerender"},
    ]
    unsaid = [{}, {"Sec-Purpose": ""}, {"Purpose": "navigate"}, {"Prefetch": "1"}]
    async with front.client() as client:
        for headers in (*said, *unsaid):
            await client.get("/abc", headers={**BROWSER, **headers})
    end = b"\r\nX-Error-Format: html"
    received = [request[request.index(end) :] for request in recorders[0].received]

    assert received == [end + b"\r\nX-Purpose: prefetch\r\n\r\n"] * len(said) + [end + b"\r\n\r\n"] * len(unsaid)


async def test_client_address_behind_a_trusted_proxy(recorders: list[Recorder], start_front: StartFront) -> None:
    """Only a proxy that is named is believed when it tells the client's address."""
    for trusted, address in ((["127.0.0.1"], b"203.0.113.9"), (["10.0.0.0/8"], b"127.0.0.1")):
        front = await asyncio.to_thread(
            start_front, redirect=[recorders[0].path], links=[recorders[1].path], trusted_proxies=trusted
        )
        async with front.client() as client:
            await client.get("/abc", headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.9"})

        assert b"X-Forwarded-For: " + address + b"\r\n" in recorders[0].received[-1]


async def test_link_through_nginx(site: NginxSite) -> None:
    """A link is created over the API and followed, with the target as it is, and the answer's headers in place."""
    link = await site.create(url=URL, code="mine")
    answers = [await site.client.get("/mine", headers=BROWSER) for _ in range(2)]

    for answer in answers:
        assert (answer.status_code, answer.content, answer.headers["location"]) == (302, b"", link["url"])
        assert answer.headers["cache-control"] == "private, no-store"
        assert answer.headers["x-robots-tag"] == "noindex"
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
        assert answer.headers["server"] == "nginx"
        assert "date" in answer.headers
        assert "set-cookie" not in answer.headers
    head = await site.client.head("/mine", headers=BROWSER)
    assert head.headers["location"] == link["url"]


async def test_longest_target_and_query(site: NginxSite) -> None:
    """A target of 8 KiB, with as much of a visitor's query as a location may have, comes through."""
    url = "https://www.example.com/" + "a" * (8192 - 24)
    await site.create(url=url, code="long", forward_query=True)
    for query, location in (("", url), ("?x=" + "y" * 7000, f"{url}?x={'y' * 7000}"), ("?x=" + "%22" * 2500, None)):
        for _ in range(2):
            answer = await site.client.get(f"/long{query}")
            assert answer.status_code == 302
            assert answer.headers["location"] == (location or f"{url}{query}")


ROUTES = [
    ("GET", "/", 302),
    ("GET", "/docs", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/robots.txt", 200),
    ("HEAD", "/", 302),
    ("POST", "/", 302),
    ("POST", "/robots.txt", 405),
    ("GET", "/.well-known/security.txt", 404),
    ("GET", "/.well-known/acme-challenge/x", 404),
    ("GET", "/.well-known", 404),
    ("POST", "/.well-known/security.txt", 405),
    ("GET", "/favicon.ico", 204),
    ("GET", "/api/v1/links", 401),
    ("GET", "/api/v1/nothing", 404),
    ("GET", "/api", 404),
    ("GET", "/livez", 404),
    ("GET", "/readyz", 404),
    ("GET", "/metrics", 404),
    ("GET", "/internal", 404),
    ("GET", "/internal/clicks", 404),
    ("GET", "/internal/claims", 404),
    ("POST", "/internal/claims", 404),
    ("GET", "/internal/unlocks", 404),
    ("POST", "/internal/unlocks", 404),
    ("POST", "/internal/clicks?segment=00000000-0000-0000-0000-000000000001&offset=16", 404),
    ("POST", "/internal%2fclicks", 404),
    ("POST", "/api/../internal/clicks", 404),
    ("POST", "/api/%2e%2e/internal/clicks", 404),
    ("POST", "/api//../internal/clicks", 404),
    ("GET", "/api/v1/../../metrics", 404),
    ("GET", "/%6detrics", 404),
    ("GET", "/.git/config", 404),
    ("GET", "/.env", 404),
    ("GET", "/none", 404),
    ("GET", "/mine", 302),
    ("GET", "/%6dine", 302),
    ("GET", "/%256dine", 404),
    ("GET", "/MINE", 404),
    ("GET", "//mine", 404),
    ("GET", "/mine/", 302),
    ("HEAD", "/mine.", 302),
    ("GET", "/mine),", 302),
    ("GET", "/mine%E2%80%8B", 302),
    ("GET", "/mine\u200b", 302),
    ("GET", "/mine%20", 302),
    ("GET", "/mine%3F", 302),
    ("GET", "/mine?x=\u00fc", 302),
    ("GET", "/mine?%zz", 302),
    ("GET", "/mine??", 302),
    ("GET", "/none.", 404),
    ("GET", "/mine-", 404),
    ("GET", "/mine.php", 404),
    ("GET", "/mine\u00fc", 404),
    ("GET", "/docs/", 404),
    ("GET", "/api/", 404),
    ("GET", "/api.", 404),
    ("POST", "/mine/", 405),
    ("GET", "/mine/x", 404),
    ("GET", "/mine+", 200),
    ("HEAD", "/mine%2B", 200),
    ("GET", "/mine+.", 200),
    ("POST", "/mine+", 405),
    ("GET", "/none+", 404),
    ("GET", "/mine++", 404),
    ("GET", "/mine+/x", 404),
    ("GET", "/docs+", 404),
    ("GET", "/mine%2f", 302),
    ("GET", "/mine%00", 400),
    ("GET", "/mine%0d%0a", 302),
    ("GET", "/mi;ne", 404),
    ("GET", "/" + "a" * 256, 404),
    ("GET", "/" + "a" * 9000, 414),
    ("GET", "http://sho.rt/mine", 302),
    ("POST", "/mine", 405),
    ("PUT", "/mine", 405),
    ("DELETE", "/mine", 405),
    ("OPTIONS", "/mine", 405),
    ("TRACE", "/mine", 405),
    ("FOO", "/mine", 405),
    ("CONNECT", "sho.rt:443", 405),
]


async def test_routes(site: NginxSite) -> None:
    """Each path goes where it belongs, and garbage is answered at the edge."""
    await site.create(url=URL, code="mine")
    wrong = {}
    for method, target, status in ROUTES:
        answer = await site.front.send(
            f"{method} {target} HTTP/1.1\r\nHost: sho.rt\r\nConnection: close\r\n\r\n".encode()
        )
        got = int(answer.split()[1])
        if got != status:
            wrong[f"{method} {target[:40]}"] = (got, status)

    assert wrong == {}


CONTROLS = [byte for byte in (*range(1, 32), 127) if byte not in b"\r\n"]


async def test_odd_headers_lose_no_visit(site: NginxSite) -> None:
    """A control or a byte of no known alphabet in a header, or none of it but blanks, and the visit is still answered."""
    await site.create(url=URL, code="mine")
    values = [bytes([97, byte, 98]) for byte in CONTROLS] + [b"\xff\xfe", b"\xc3\xbc", b"", b"  ", b"\t", b"a\tb"]
    for name in (b"User-Agent", b"Referer", b"Accept-Language"):
        for value in values:
            answer = await site.front.send(
                b"GET /mine?x HTTP/1.1\r\nHost: sho.rt\r\nConnection: close\r\n%b: %b\r\n\r\n" % (name, value)
            )
            assert (answer.split()[1], name, value) == (b"302", name, value)


SMUGGLED = b"GET /mine HTTP/1.1\r\nHost: sho.rt\r\n\r\n"
HOSTILE = {
    "length and chunks": b"POST /api/v1/links HTTP/1.1\r\nHost: sho.rt\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "bad chunk": b"POST /api/v1/links HTTP/1.1\r\nHost: sho.rt\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "two lengths": b"POST /api/v1/links HTTP/1.1\r\nHost: sho.rt\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "negative length": b"POST /api/v1/links HTTP/1.1\r\nHost: sho.rt\r\nContent-Length: -1\r\n\r\n",
    "two hosts": b"GET /mine HTTP/1.1\r\nHost: sho.rt\r\nHost: evil.example\r\n\r\n",
    "no host": b"GET /mine HTTP/1.1\r\n\r\n",
    "blank before the colon": b"GET /mine HTTP/1.1\r\nHost : sho.rt\r\n\r\n",
    "no HTTP": b"hello\r\n\r\n",
    "HTTP/9": b"GET /mine HTTP/9.9\r\nHost: sho.rt\r\n\r\n",
    "NUL in a header": b"GET /mine HTTP/1.1\r\nHost: sho.rt\r\nX: a\x00b\r\n\r\n",
    "a header of 64 KiB": b"GET /mine HTTP/1.1\r\nHost: sho.rt\r\nX: " + b"x" * 65536 + b"\r\n\r\n",
    "1 MiB of cookies": b"GET /mine HTTP/1.1\r\nHost: sho.rt\r\n" + b"Cookie: a=b\r\n" * 80_000 + b"\r\n",
    "path of 64 KiB": b"GET /" + b"x" * 65536 + b" HTTP/1.1\r\nHost: sho.rt\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_request_is_refused_once(site: NginxSite, request_bytes: bytes) -> None:
    """What proxies and servers are known to read differently gets one answer of 4xx, and nothing hides behind it."""
    try:
        answer = await site.front.send(request_bytes)
    except ConnectionError:
        return  # Refused while it was still being sent.

    statuses = re.findall(rb"HTTP/1\.1 (\d+) ", answer)
    assert len(statuses) <= 1
    assert all(400 <= int(status) < 500 or int(status) == 505 for status in statuses)


async def test_host_that_is_not_ours(site: NginxSite) -> None:
    """An unknown host name gets 421, and no answer ever reflects one."""
    await site.create(url=URL, code="mine")
    for host in ("evil.example", "sho.rt.evil.example", "127.0.0.2"):
        for path in ("/mine", "/api/v1/links", "/docs"):
            answer = await site.client.get(path, headers={"Host": host})
            assert answer.status_code == 421
            assert "evil" not in answer.text
    headers = {"Authorization": f"Bearer {site.key}", "X-Forwarded-Host": "evil.example"}
    for host in ("localhost", "127.0.0.1"):
        created = await site.client.post("/api/v1/links", json={"url": URL}, headers={**headers, "Host": host})
        assert created.json()["short_url"].startswith("https://sho.rt/")
        assert (await site.client.get("/mine", headers={"Host": host})).status_code == 302


async def test_domains_have_their_own_links(site: NginxSite) -> None:
    """A code leads where the domain that was asked says."""
    await site.create(url=URL + "1", code="both")
    await site.create(url=URL + "2", code="both", domain="go.example.org")

    for host, url in (("sho.rt", URL + "1"), ("go.example.org", URL + "2"), ("GO.example.org:80", URL + "2")):
        assert (await site.client.get("/both", headers={"Host": host})).headers["location"] == url


async def test_domain_has_its_own_root_robots_and_files(site: NginxSite) -> None:
    """What is decided about a domain is there within a second, under `www.`, too; the other domain stays as it was."""
    headers = {"Authorization": f"Bearer {site.key}"}
    root = "https://root.example.com/"
    decided = {"root_url": root, "not_found_url": f"{root}?{{code}}", "page_title": "Example"}
    await site.create(url=URL, code="found", crawlable=True)
    before = await site.client.get("/")
    assert (await site.client.patch("/api/v1/domains/sho.rt", json=decided, headers=headers)).status_code == 200
    stored = await site.client.put("/api/v1/domains/sho.rt/files/security.txt", content="Contact: x", headers=headers)
    assert stored.status_code == 204
    async with asyncio.timeout(1):
        while (await site.client.get("/.well-known/security.txt")).status_code != 200:
            await asyncio.sleep(0.01)
    answers = [await site.client.get(path, headers={"Host": "www.sho.rt"}) for path in ("/", "/none")]
    other = {"Host": "go.example.org"}

    assert before.headers["location"] == "/docs"
    assert [answer.headers["location"] for answer in answers] == [root, f"{root}?none"]
    assert "Allow: /found$" in (await site.client.get("/robots.txt")).text
    assert "Allow: /found$" not in (await site.client.get("/robots.txt", headers=other)).text
    assert (await site.client.get("/", headers=other)).headers["location"] == "/docs"
    assert (await site.client.get("/none", headers=other)).status_code == 404


async def test_root_and_robots_without_redirectors(start_front: StartFront, tmp_path: Path) -> None:
    """While the redirect service is away `/` leads where the setting says, and crawlers are told to come again."""
    front = await asyncio.to_thread(start_front, redirect=[tmp_path / "gone"], links=[tmp_path / "gone"])
    async with front.client() as client:
        root, robots, file = [await client.get(path) for path in ("/", "/robots.txt", "/.well-known/security.txt")]

    assert (root.status_code, root.headers["location"]) == (302, "/docs")
    assert (robots.status_code, file.status_code) == (503, 503)


async def test_redirectors_of_the_release_before(recorders: list[Recorder], start_front: StartFront) -> None:
    """A redirector that knows no domains answers 404 there; visitors get what they always got."""
    for recorder in recorders:
        recorder.answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
    paths = [recorder.path for recorder in recorders]
    front = await asyncio.to_thread(start_front, redirect=paths, links=paths)
    async with front.client() as client:
        root, robots = await client.get("/"), await client.get("/robots.txt")

    assert (root.status_code, robots.status_code) == (302, 200)
    assert robots.text == "User-agent: *\nDisallow: /api/\nDisallow: /dashboard/\n"


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        ("/mine%2f..", b"/"),
        ("/mine%2F%2e%2e?q=1", b"/?q=1"),
        ("/mine/..%2frobots.txt", b"/robots.txt"),
        ("/mine%2f../.well-known/security.txt", b"/.well-known/security.txt"),
    ],
)
async def test_redirect_reads_the_path_that_nginx_read(
    recorders: list[Recorder], start_front: StartFront, sent: str, passed: bytes
) -> None:
    """No spelling of a path of a domain is a code to the redirect service, or brings a body there past any limit."""
    front = await asyncio.to_thread(start_front, redirect=[recorders[0].path], links=[recorders[1].path])
    await front.send(
        f"POST {sent} HTTP/1.1\r\nHost: sho.rt\r\nContent-Length: 10\r\nConnection: close\r\n\r\npassword=a".encode()
    )
    (request,) = recorders[0].received

    assert request.startswith(b"POST " + passed + b" HTTP/1.1\r\n")
    assert b"password=a" not in request
    assert b"content-length" not in request.lower()


async def test_errors_of_the_edge(site: NginxSite) -> None:
    """nginx's own errors are pages for browsers and problem+json for programs, with their status and headers."""
    for path, status, title in (("/a;b", 404, "Link not found"), ("/" + "a" * 9000, 414, "Address too long")):
        page = await site.client.get(path, headers=BROWSER)
        problem = await site.client.get(path, headers={"Accept": "application/json"})
        assert (page.status_code, problem.status_code) == (status, status)
        assert f"<h1>{title}</h1>" in page.text or status == 414
        assert problem.json().items() >= {"status": status, "title": title}.items()
        assert problem.headers["content-type"] == "application/problem+json"
        assert problem.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in problem.headers["content-security-policy"]
    refused = await site.client.post("/mine", headers=BROWSER)
    assert refused.headers["allow"] == "GET, HEAD"


async def test_body_is_bounded_by_location(site: NginxSite) -> None:
    """The API takes 256 KiB, a short link nothing worth naming."""
    headers = {"Authorization": f"Bearer {site.key}", "Content-Type": "application/json"}
    large = await site.client.post("/api/v1/links", content=b" " * (LARGEST_BODY + 1), headers=headers)
    short = await site.client.request("GET", "/mine", content=b" " * 2_000)

    assert (large.status_code, large.json()["type"]) == (413, "urn:tinyurl:problem:body-too-large")
    assert short.status_code == 413


async def test_every_body_that_the_api_takes_comes_through(site: NginxSite) -> None:
    """nginx has the limit of the API itself, to the byte; HEAD has the headers of GET; a slash too many leads nowhere."""
    headers = {"Authorization": f"Bearer {site.key}", "Content-Type": "application/json"}
    body = b'{"url": "https://www.example.com/", "code": "large"}'.ljust(LARGEST_BODY)
    created = await site.client.post("/api/v1/links", content=body, headers=headers)
    got = await site.client.get("/api/v1/links/large", headers=headers)
    head = await site.client.head("/api/v1/links/large", headers=headers)

    assert created.status_code == 201
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", got.headers["etag"])
    assert head.headers["content-length"] == got.headers["content-length"]
    for path in ("/api/v1/links/", "/api/v1/links/large/", "/api/v1/", "/docs/", "/openapi.json/", "/large/x/"):
        for method in ("GET", "HEAD", "POST", "DELETE"):
            answer = await site.client.request(method, path, headers=headers)
            assert answer.status_code in (404, 405), (method, path)
            assert "location" not in answer.headers


async def test_services_gone_is_503_and_never_404(start_front: StartFront, tmp_path: Path) -> None:
    """Without a service behind it, nginx asks to come again."""
    nowhere = [tmp_path / "nobody.sock"]
    front = await asyncio.to_thread(start_front, redirect=nowhere, links=nowhere)
    async with front.client() as client:
        for path in ("/abc", "/api/v1/links", "/docs"):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["type"] == "urn:tinyurl:problem:unavailable"


async def test_get_is_tried_at_another_redirector_and_writes_are_not(
    recorders: list[Recorder], start_front: StartFront
) -> None:
    """A visit that one redirector drops is answered by the other; a write that was sent is never sent again."""
    paths = [recorder.path for recorder in recorders]
    front = await asyncio.to_thread(start_front, redirect=paths, links=paths)
    recorders[0].answer = b""
    async with front.client() as client:
        statuses = {(await client.get("/abc")).status_code for _ in range(10)}
        assert statuses == {302}
        assert recorders[0].received
        for recorder in recorders:
            recorder.received.clear()
            recorder.answer = b""
        for method in ("POST", "PATCH", "DELETE"):
            before = sum(len(recorder.received) for recorder in recorders)
            answer = await client.request(method, "/api/v1/links", json={} if method != "DELETE" else None)
            assert answer.status_code == 503
            assert sum(len(recorder.received) for recorder in recorders) == before + 1


async def test_batch_has_a_limit_of_its_own(site: NginxSite) -> None:
    """A batch of the largest size comes through, one byte more does not; every other path keeps its 256 KiB."""
    headers = {"Authorization": f"Bearer {site.key}", "Content-Type": "application/json"}
    body = b'{"links": [{"url": "https://www.example.com/", "code": "mine"}]}'
    for path, size, status in (
        ("/api/v1/links/batch", LARGEST_BATCH, 200),
        ("/api/v1/links/batch", LARGEST_BATCH + 1, 413),
        ("/api/v1/links/batch/", LARGEST_BODY + 1, 413),
        ("/api/v1/links", LARGEST_BODY + 1, 413),
    ):
        answer = await site.client.post(path, content=body.ljust(size), headers=headers)
        assert (answer.status_code, path) == (status, path)

    assert (await site.client.get("/mine")).status_code == 302
    assert (await site.client.delete("/api/v1/links/batch", headers=headers)).status_code == 404


async def test_key_is_asked_for_before_a_batch_is_taken_in(site: NginxSite) -> None:
    """Who has no key is answered while the body is still to come: nothing of it is kept by nginx."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.front.port)
    writer.write(
        b"POST /api/v1/links/batch HTTP/1.1\r\nHost: sho.rt\r\nContent-Type: application/json\r\n"
        b"Content-Length: 8000000\r\n\r\n" + b" " * 100_000
    )
    async with asyncio.timeout(10):
        status = (await reader.readline()).split()[1]
    writer.close()

    assert status == b"401"


async def test_limit_per_client_address(recorders: list[Recorder], start_front: StartFront) -> None:
    """Beyond the rate a client gets 429 with Retry-After; with the limits off nobody does."""
    paths = [recorder.path for recorder in recorders]
    limited = await asyncio.to_thread(start_front, redirect=paths, links=paths, redirect_rate=5, api_rate=5)
    async with limited.client() as client:
        for path in ("/abc", "/api/v1/links"):
            answers = await asyncio.gather(
                *(client.get(path, headers={"X-Forwarded-For": f"10.0.0.{n}"}) for n in range(40))
            )
            refused = [answer for answer in answers if answer.status_code == 429]
            assert len(refused) > 20
            assert refused[0].headers["retry-after"] == "1"
            assert refused[0].json()["type"] == "urn:tinyurl:problem:too-many-requests"
    free = await asyncio.to_thread(start_front, redirect=paths, links=paths, redirect_rate=5, api_rate=5, limits=False)
    async with free.client() as client:
        answers = await asyncio.gather(*(client.get("/abc") for _ in range(40)))
        assert {answer.status_code for answer in answers} == {302}


async def test_log_is_json_whatever_comes(site: NginxSite) -> None:
    """Each request is one line of JSON, without address and query, and nothing a client sends can forge another."""
    odd = 'a"}\x1b[31m {"status":200'
    await site.client.get("/none?token=secret", headers={"User-Agent": odd, "Referer": odd, "X-Request-ID": odd})
    await site.front.send(b'GET /a"%0a{"b HTTP/1.1\r\nHost: sho.rt\r\nConnection: close\r\n\r\n')
    async with asyncio.timeout(10):
        while len(site.front.log.read_text().splitlines()) < 2:
            await asyncio.sleep(0.01)
    text = site.front.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]

    assert [line["status"] for line in lines] == [404, 404]
    assert lines[0]["path"] == "/none"
    assert lines[0]["upstream"].startswith("unix:")
    assert "secret" not in text
    assert "127.0.0.1" not in text


async def test_slow_client_is_dropped(site: NginxSite) -> None:
    """Someone who never finishes his request is sent away, while others are served."""
    await site.create(url=URL, code="mine")
    reader, writer = await asyncio.open_connection("127.0.0.1", site.front.port)
    writer.write(b"GET /mine HTTP/1.1\r\nHost: sho.rt\r\nX-Slow: ")
    assert (await site.client.get("/mine")).status_code == 302
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(10):
            assert await reader.read() == b""
    writer.close()


async def test_api_answers_carry_security_headers(site: NginxSite) -> None:
    """What the write service answers is not sniffed, framed or used as a referrer."""
    answer: httpx.Response = await site.client.get("/api/v1/links")

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
