"""A link with a password at the redirect service: who is let through, what others get, and what a click is."""

import asyncio
import base64
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message

from services.redirect.answers import Answer, ErrorFormat
from services.redirect.app import create_app
from services.redirect.lane import LaneProtocol
from services.redirect.owner.passwords import MOST_AT_ONCE, Passwords, VisitRequest
from shared.clicks import Click
from shared.settings import RedirectSettings
from shared.unlocks import LARGEST_FORM, password_tag, sign_unlock
from tests.redirect.conftest import AddLink
from tests.serving import client_of, serve

URL = "https://www.example.com/secret"
TOKEN = "a token of the tests, which is long enough"  # noqa: S105  # of the tests alone
HASH = "$argon2id$of a password"
COOKIE = "tinyurl_unlock=1.x; Path=/a; HttpOnly"
PAGE = {"X-Error-Format": "html"}
JSON = {"X-Error-Format": "json"}


@dataclass
class UnlockServer:
    """The write service's side of the contract: it answers what it is told, and keeps what it was asked."""

    answers: deque[Response] = field(default_factory=deque)
    asked: list[dict[str, str]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def unlock(self, request: Request) -> Response:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        self.asked.append(await request.json())
        await self.gate.wait()
        return self.answers.popleft()

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/internal/unlocks", self.unlock, methods=["POST"])])


@pytest.fixture
async def links(socket: Path) -> AsyncIterator[UnlockServer]:
    server = UnlockServer()
    server.gate.set()
    async with serve(server.app(), socket.with_suffix(".links")):
        yield server


@pytest.fixture
async def visitor(
    redirect_settings: RedirectSettings, socket: Path, clicks: list[Click], add_link: AddLink
) -> AsyncIterator[httpx.AsyncClient]:
    settings = redirect_settings.model_copy(
        update={"links_address": f"unix:{socket.with_suffix('.links')}", "internal_token": SecretStr(TOKEN)}
    )
    await add_link("a", URL, password_hash=HASH)
    async with serve(create_app(settings, clicks.extend), socket, http=LaneProtocol), client_of(socket) as client:
        yield client


def unlocked(code: str = "a", tag: str = password_tag(HASH), token: str = TOKEN, age_s: float = 0) -> dict[str, str]:
    return {"X-Unlock": sign_unlock(token, ("sho.rt", code), tag, time.time() - age_s), **PAGE}


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"user:{password}".encode()).decode(), **JSON}


async def test_cookie_opens_without_asking(visitor: httpx.AsyncClient, clicks: list[Click]) -> None:
    """A valid cookie opens although links is away; the click counts when the target is given, and not for HEAD or a form."""
    asked = [await visitor.request(method, "/a", headers=PAGE) for method in ("GET", "HEAD")]
    assert clicks == []
    head = await visitor.head("/a", headers=unlocked())
    assert clicks == []
    opened = [await visitor.get("/a", headers=unlocked()) for _ in range(2)]
    metrics = (await visitor.get("/metrics")).text

    assert [each.status_code for each in (*asked, head, *opened)] == [200, 200, 302, 302, 302]
    assert asked[0].headers == asked[1].headers
    assert {each.headers["location"] for each in (head, *opened)} == {URL}
    assert {each.headers["cache-control"] for each in (head, *opened)} == {"private, no-store"}
    assert len(clicks) == 2
    assert 'redirect_answers_total{status="3xx",way="lane"} 0.0' in metrics


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Unlock": ""},
        {"X-Unlock": "1.x"},
        {"X-Unlock": "9" * 5000},
        {"X-Unlock": b"\xc3\xbc"},
        unlocked(code="b"),
        unlocked(tag=password_tag("another")),
        unlocked(token="another token, which is long enough"),  # noqa: S106
        unlocked(age_s=3601),
    ],
)
async def test_other_cookies_open_nothing(visitor: httpx.AsyncClient, headers: dict[str, Any]) -> None:
    """A cookie of another link, password, site or time, or a text that is none, gets the form."""
    answer = await visitor.get("/a", headers=[*PAGE.items(), *headers.items()])

    assert answer.status_code == 200
    assert "location" not in answer.headers
    assert URL not in answer.text


async def test_links_decides_about_a_password(visitor: httpx.AsyncClient, links: UnlockServer) -> None:
    """links is told link, password and address; what it answers is what a browser and a client of the API get."""
    form = {"data": {"password": "p\u00e4 &+"}, "headers": {**PAGE, "X-Forwarded-For": "203.0.113.7"}}
    outcomes = []
    for answer in (
        JSONResponse({"set_cookie": COOKIE}),
        JSONResponse({}, 403),
        JSONResponse({}, 429, {"Retry-After": "59"}),
        JSONResponse({}, 404),
        JSONResponse({}, 500),
    ):
        links.answers.extend([answer, answer])
        page, api = await visitor.post("/a", **form), await visitor.get("/a", headers=basic("x"))  # type: ignore[arg-type]
        outcomes.append((page, api))
    (right, target), (wrong, refused), (late, later), *unknown = outcomes

    assert links.asked[0] == {"domain": "sho.rt", "code": "a", "password": "p\u00e4 &+", "address": "203.0.113.7"}
    assert links.asked[1]["password"] == "x"  # noqa: S105
    assert (right.status_code, right.headers["set-cookie"], "location" in right.headers) == (200, COOKIE, False)
    assert (target.status_code, target.headers["location"], "set-cookie" in target.headers) == (302, URL, False)
    assert (wrong.status_code, refused.status_code) == (200, 401)
    assert "This is not the password" in wrong.text
    assert (late.status_code, later.status_code) == (429, 429)
    assert (late.headers["retry-after"], later.headers["retry-after"]) == ("59", "59")
    assert "Please try again in 59 seconds." in late.text
    for pair in unknown:
        assert [(each.status_code, each.headers["retry-after"]) for each in pair] == [(503, "1")] * 2


@pytest.mark.parametrize("answer", [Response(b"{}"), Response(b""), Response(b"[1]")])
async def test_an_answer_of_another_kind_is_none(
    visitor: httpx.AsyncClient, links: UnlockServer, answer: Response
) -> None:
    """Where links says yes and gives no cookie, the visitor is told to come again."""
    links.answers.append(answer)

    assert (await visitor.post("/a", data={"password": "x"}, headers=PAGE)).status_code == 503


async def test_without_links_nobody_new_gets_in(visitor: httpx.AsyncClient) -> None:
    """While links is away a password is answered 503 with the time to come again."""
    for answer in (
        await visitor.post("/a", data={"password": "x"}, headers=PAGE),
        await visitor.get("/a", headers=basic("x")),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_passwords_under_way_are_bounded(links: UnlockServer, socket: Path) -> None:
    """So many passwords wait for links; one more is 429 at once, and there is room again when they are answered."""
    links.gate.clear()
    links.answers.extend(JSONResponse({}, 403) for _ in range(MOST_AT_ONCE + 1))
    passwords = Passwords(f"unix:{socket.with_suffix('.links')}", TOKEN)
    headers = {b"authorization": basic("x")["Authorization"].encode()}

    async def receive() -> Message:
        raise AssertionError("a GET has no form")

    async def visit(error_format: ErrorFormat = "json") -> Answer:
        scope = {"method": "GET", "query_string": b""}
        asked = VisitRequest(scope, ("sho.rt", "a"), headers, receive, error_format)
        return await passwords.guard(Answer(302, (), is_click=True), password_tag(HASH), asked)

    waiting = [asyncio.create_task(visit()) for _ in range(MOST_AT_ONCE)]
    await asyncio.sleep(0)
    refused, page = await visit(), await visit("html")
    links.gate.set()
    answered = {each.status for each in await asyncio.gather(*waiting)}

    for answer in (refused, page):
        assert (answer.status, (b"retry-after", b"1") in answer.headers) == (429, True)
    assert (b"content-type", b"application/problem+json") in refused.headers
    assert b"Please try again in 1 second." in page.body
    assert b'<form method="post" action="/a">' in page.body
    assert (answered, (await visit()).status) == ({401}, 401)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"password=",
        b"other=x",
        b"password=" + b"x" * LARGEST_FORM,
        b"&" * 100,
        b"\xff\x00=%",
        b'{"password": "x"}',
    ],
)
async def test_a_form_without_a_password_is_no_try(
    visitor: httpx.AsyncClient, links: UnlockServer, body: bytes
) -> None:
    """What has no password in it, or is too long for one, gets the form, and links is not asked."""
    answer = await visitor.post("/a", content=body, headers=PAGE)

    assert (answer.status_code, links.asked) == (200, [])
    assert "message" not in answer.text


@pytest.mark.parametrize("header", ["Basic", "Basic %%%", "Basic dXNlcg==", "Bearer x", "Basic /w==", "Basic dXNlcjo="])
async def test_a_broken_authorization_is_no_try(visitor: httpx.AsyncClient, links: UnlockServer, header: str) -> None:
    """What is not HTTP Basic with a password is asked for one."""
    answer = await visitor.get("/a", headers={"Authorization": header, **JSON})

    assert (answer.status_code, links.asked) == (401, [])


async def test_an_end_comes_before_the_password(visitor: httpx.AsyncClient, add_link: AddLink) -> None:
    """Where the visit would get no target, nobody is asked for a password: 404 and 410 are what they are without one."""
    await add_link("off", URL, password_hash=HASH, enabled=False)
    for method in ("GET", "POST"):
        assert (await visitor.request(method, "/off", headers=PAGE)).status_code == 410
        assert (await visitor.request(method, "/a/b", headers=PAGE)).status_code == 404


async def test_without_a_token_nothing_opens(
    redirect_settings: RedirectSettings, socket: Path, add_link: AddLink
) -> None:
    """A redirector that cannot ask links answers 503, whatever it is shown."""
    await add_link("a", URL, password_hash=HASH)
    async with serve(create_app(redirect_settings, lambda _: None), socket), client_of(socket) as client:
        for headers in (PAGE, unlocked(), unlocked(token=""), basic("x")):
            assert (await client.get("/a", headers=headers)).status_code == 503
