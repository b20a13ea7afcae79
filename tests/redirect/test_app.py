"""The redirect service over HTTP: what a visitor, a scraper and an operator get."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgpack
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from services.redirect.app import create_app
from services.redirect.lane import LaneProtocol
from shared.clicks import Click, ClickParts
from shared.records import redis_key
from shared.settings import RedirectSettings
from tests.redirect.conftest import AddLink
from tests.serving import client_of, serve

URL = "https://www.example.com/a?b=c#d"


@pytest.fixture
async def visitor(
    redirect_settings: RedirectSettings, socket: Path, clicks: list[Click]
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(redirect_settings, clicks.extend)
    async with serve(app, socket, http=LaneProtocol), client_of(socket) as client:
        yield client


async def test_visit(visitor: httpx.AsyncClient, add_link: AddLink) -> None:
    """A link redirects: from Postgres first, from memory then, with the same answer."""
    await add_link("a", URL)
    answers = [await visitor.get("/a") for _ in range(3)]

    assert {answer.status_code for answer in answers} == {302}
    assert {answer.headers["location"] for answer in answers} == {URL}
    assert {answer.content for answer in answers} == {b""}
    assert all("set-cookie" not in answer.headers for answer in answers)


async def test_head_is_answered_like_get_and_is_no_click(
    visitor: httpx.AsyncClient, add_link: AddLink, clicks: list[Click]
) -> None:
    """HEAD gets the headers of GET and is not counted."""
    await add_link("a", URL)
    head = await visitor.head("/a")
    assert clicks == []
    get = await visitor.get("/a")

    assert (head.status_code, head.headers) == (get.status_code, get.headers)
    assert len(clicks) == 1


async def test_click_has_what_was_sent(visitor: httpx.AsyncClient, add_link: AddLink, clicks: list[Click]) -> None:
    """A click is recorded with the time, the link and the request's bytes; an error is no click."""
    await add_link("a", URL)
    headers = {
        "X-Forwarded-For": "203.0.113.7",
        "User-Agent": "Ua",
        "Referer": "https://r.example/",
        "Accept-Language": "de",
    }
    await visitor.get("/a?x=1", headers=headers)
    await visitor.get("/none")
    ((at, link_id, request),) = clicks

    assert at > 1_700_000_000
    assert link_id > 0
    assert request == ClickParts(address=b"203.0.113.7", agent=b"Ua", referrer=b"https://r.example/", language=b"de")


async def test_click_has_its_purpose(visitor: httpx.AsyncClient, add_link: AddLink, clicks: list[Click]) -> None:
    """A click says what nginx says of a link that was fetched ahead; what nobody reads of it is not there."""
    await add_link("a", URL)
    headers = {"User-Agent": "Ua", "X-Request-ID": "r", "X-Error-Format": "html", "X-Purpose": "prefetch"}
    await visitor.get("/a", headers=headers)
    ((_, _, request),) = clicks

    assert request == ClickParts(agent=b"Ua", purpose=b"prefetch")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_are_refused(visitor: httpx.AsyncClient, add_link: AddLink, method: str) -> None:
    """A link answers GET and HEAD, and says so."""
    await add_link("a", URL)
    answer = await visitor.request(method, "/a")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


NO_CODES = [
    "/",
    "//a",
    "/%2e%2e",
    "/..%2fa",
    "/a%00",
    "/%20a",
    "/a." + "." * 16,
    "/docs/",
    "/docs/a",
    "/internal/a",
    "/API.",
    "/a%FF",
    "/a%2Fb",
    "/a;b",
    "/api",
    "/DOCS",
    "/" + "a" * 256,
    "/robots.txt.",
    "/.well-known/a",
    "/%F0%9F%98%80%20x",
    "/a" + "%CC%81" * 31,
]


@pytest.mark.parametrize("path", NO_CODES)
async def test_what_cannot_be_a_code_is_not_looked_up(visitor: httpx.AsyncClient, add_link: AddLink, path: str) -> None:
    """Such a path is 404 without asking a store; a path is decoded once."""
    await add_link("a", URL)
    visitor.base_url = httpx.URL("http://sho.rt")
    answer = await visitor.send(visitor.build_request("GET", httpx.URL("http://sho.rt", raw_path=path.encode())))
    metrics = (await visitor.get("/metrics")).text

    assert answer.status_code == 404
    assert 'redirect_lookups_total{store="postgres"} 0.0' in metrics


TRAILS = [
    "/",
    ".",
    ")",
    ",",
    "%E2%80%8B",
    "%20",
    "%0A",
    "%0d%0a",
    "%3F",
    "%22",
    "'",
    ">",
    "%C2%A0",
    "%E2%80%9D",
    "%EF%BB%BF",
    "...",
    "/).",
]


@pytest.mark.parametrize("trail", [*TRAILS, "...", "/).", "\u200b", "\u3002", "!" * 16])
async def test_what_trails_a_code_is_taken_off(
    visitor: httpx.AsyncClient, add_link: AddLink, clicks: list[Click], socket: Path, trail: str
) -> None:
    """What people copy with a link leads to it directly, counts as its click, and an unknown code stays unknown."""
    await add_link("a", URL)
    statuses = []
    for method, code in (("GET", "a"), ("HEAD", "a"), ("GET", "none"), ("GET", "a-"), ("GET", "a_")):
        reader, writer = await asyncio.open_unix_connection(str(socket))
        writer.write(f"{method} /{code}{trail} HTTP/1.1\r\nHost: sho.rt\r\n\r\n".encode())
        async with asyncio.timeout(30):
            statuses.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[:2])
        writer.close()

    assert statuses[0] == statuses[1] == [b"HTTP/1.1 302 Found", b"location: " + URL.encode()]
    assert [status[0][9:12] for status in statuses[2:]] == [b"404"] * 3
    assert len(clicks) == 1


@pytest.mark.parametrize(
    "passed",
    [
        ("/a", "https://www.example.com/b?q#f"),
        ("/a/", "https://www.example.com/b?q#f"),
        ("/a.", "https://www.example.com/b?q#f"),
        ("/a/x/y?z", "https://www.example.com/b/x/y?q#f"),
        ("/a/x.", "https://www.example.com/b/x.?q#f"),
        ("/a/).", "https://www.example.com/b/).?q#f"),
        ("/a/%C3%A4%2F", "https://www.example.com/b/%C3%A4%2F?q#f"),
        ("/a/../x", "https://www.example.com/b/x?q#f"),
    ],
)
async def test_path_behind_a_code_is_passed_on(
    visitor: httpx.AsyncClient, add_link: AddLink, clicks: list[Click], socket: Path, passed: tuple[str, str]
) -> None:
    """A link that passes paths on gets all of a longer path, and a click; to others nothing leads but the code."""
    path, location = passed
    await add_link("a", "https://www.example.com/b?q#f", forward_path=True)
    await add_link("b", URL)
    answers = []
    for code in ("a", "b"):
        reader, writer = await asyncio.open_unix_connection(str(socket))
        writer.write(f"GET /{code}{path[2:]} HTTP/1.1\r\nHost: sho.rt\r\n\r\n".encode())
        async with asyncio.timeout(30):
            answers.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n"))
        writer.close()

    assert answers[0][:2] == [b"HTTP/1.1 302 Found", b"location: " + location.encode()]
    assert answers[1][0][9:12] in ((b"302",) if path.strip(".") in ("/a", "/a/", "/a/)") else (b"404",))
    assert len(clicks) == 1 + (answers[1][0][9:12] == b"302")


async def test_broken_record_in_redis_is_a_miss(
    visitor: httpx.AsyncClient, add_link: AddLink, redirect_settings: RedirectSettings
) -> None:
    """What anyone may have put into Redis is not believed: Postgres says what is right, and Redis then holds it."""
    fields = [1, 1, URL, 302, None, None, None, None, True, False, False, 1]
    broken = [b"", b"x", b"\xc1", msgpack.packb(b"x"), msgpack.packb(fields[:5])]
    for place, value in ((1, None), (2, 7), (2, "https://a.example/\r\nSet-Cookie: a=b"), (3, "302"), (6, "soon")):
        broken.append(msgpack.packb([*fields[:place], value, *fields[place + 1 :]]))
    async with Redis.from_url(redirect_settings.redis_url.get_secret_value()) as redis:
        for n, packed in enumerate(broken):
            await add_link(f"a{n}", URL)
            await redis.set(redis_key(("sho.rt", f"a{n}")), packed)
            answer = await visitor.get(f"/a{n}")
            assert (answer.status_code, answer.headers["location"]) == (302, URL)
            assert "set-cookie" not in answer.headers
            assert await redis.mget([redis_key(("sho.rt", f"a{n}"))]) != [packed]


async def test_path_is_decoded_once(visitor: httpx.AsyncClient, add_link: AddLink) -> None:
    """`%61` is `a`, and `%2561` is not; so it is where a path follows."""
    await add_link("a", URL, forward_path=True)

    for path, status in ((b"/%61", 302), (b"/%2561", 404), (b"/%61/x", 302), (b"/%2561/x", 404), (b"/b%2fa/x", 404)):
        answer = await visitor.send(visitor.build_request("GET", httpx.URL("http://sho.rt", raw_path=path)))
        assert answer.status_code == status


async def test_codes_are_case_sensitive(visitor: httpx.AsyncClient, add_link: AddLink) -> None:
    """`/A` is not `/a`; a host name is the same in any case, and its port does not matter."""
    await add_link("a", URL)

    assert (await visitor.get("/A")).status_code == 404
    for host in ("sho.rt", "SHO.RT", "sho.rt:8080"):
        assert (await visitor.get("/a", headers={"Host": host})).status_code == 302
    assert (await visitor.get("/a", headers={"Host": "other.example"})).status_code == 404


@pytest.mark.parametrize("hosts", [[], [b"a b"], [b""], [b"sho.rt", b"sho.rt"], [b"sho.rt/x"], [b"sho.rt:x"]])
async def test_odd_hosts_are_refused(visitor: httpx.AsyncClient, socket: Path, hosts: list[bytes]) -> None:
    """No host, a broken one, or two of them is a bad request."""
    reader, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(b"GET /a HTTP/1.1\r\n" + b"".join(b"Host: %b\r\n" % host for host in hosts) + b"\r\n")
    async with asyncio.timeout(30):
        status = await reader.readline()
    writer.close()

    assert status == b"HTTP/1.1 400 Bad Request\r\n"


async def test_error_format(visitor: httpx.AsyncClient) -> None:
    """nginx's word for the format decides; without nginx, browsers get a page and others problem+json."""
    for headers, kind in (
        ({"X-Error-Format": "html"}, "text/html"),
        ({"X-Error-Format": "json", "Accept": "text/html"}, "application/problem+json"),
        ({"Accept": "text/html,*/*;q=0.8"}, "text/html"),
        ({"Accept": "*/*"}, "application/problem+json"),
    ):
        assert (await visitor.get("/none", headers=headers)).headers["content-type"].startswith(kind)


async def test_alive_ready_and_metrics(visitor: httpx.AsyncClient, add_link: AddLink) -> None:
    """The service tells that it is alive and ready, and counts what it does."""
    await add_link("a", URL)
    for path in ("/a", "/a", "/none"):
        await visitor.get(path, headers={"User-Agent": "x"})
    metrics = (await visitor.get("/metrics")).text

    assert (await visitor.get("/livez")).json() == {"status": "alive"}
    assert (await visitor.get("/readyz")).json() == {"status": "ready", "release": "unreleased"}
    for line in (
        'redirect_answers_total{status="302",way="asgi"}',
        'redirect_answers_total{status="404",way="asgi"} 1.0',
        'redirect_lookups_total{store="postgres"} 2.0',
        'redirect_store_up{store="redis"} 1.0',
        "redirect_memory_links 1.0",
        "redirect_feed_age_seconds 0.",
    ):
        assert line in metrics


async def test_start_without_stores(redirect_settings: RedirectSettings, socket: Path) -> None:
    """Without any store the service starts, is alive, is not ready, names what is missing, and answers 503, never 404."""
    settings = redirect_settings.model_copy(
        update={
            "redirect_database_url": SecretStr("postgresql://x@/x?host=/nonexistent"),
            "redis_url": SecretStr("unix:///nonexistent"),
        }
    )
    async with serve(create_app(settings), socket, http=LaneProtocol), client_of(socket) as client:
        ready = await client.get("/readyz")
        answers = [await client.get("/a") for _ in range(10)]

        assert (await client.get("/livez")).status_code == 200
    assert (ready.status_code, ready.json()["missing"]) == (503, ["postgres"])
    assert {(answer.status_code, answer.headers["retry-after"]) for answer in answers} == {(503, "1")}


async def test_process_that_starts_without_postgres_serves_from_redis(
    redirect_settings: RedirectSettings, socket: Path, visitor: httpx.AsyncClient, add_link: AddLink
) -> None:
    """What another process left in Redis is followed, because no edit can be committed meanwhile."""
    await add_link("a", URL)
    await visitor.get("/a")
    settings = redirect_settings.model_copy(
        update={"redirect_database_url": SecretStr("postgresql://x@/x?host=/nonexistent")}
    )
    place = socket.with_suffix(".cut-off")
    async with serve(create_app(settings), place, http=LaneProtocol), client_of(place) as client, asyncio.timeout(30):
        while (answer := await client.get("/a")).status_code == 503:
            await asyncio.sleep(0.01)

    assert answer.headers["location"] == URL
