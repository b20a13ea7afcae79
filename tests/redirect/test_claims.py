"""Visits of limited links: who passes, who is told why not, and what happens while the write service is away."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.links.app import create_app as create_links
from services.redirect.app import create_app
from services.redirect.lane import LaneProtocol
from services.redirect.lookup.breaker import FAILURES_TO_OPEN, Breaker
from services.redirect.owner.claims import WAITING_LIMIT, Claims, open_claims
from services.redirect.owner.connection import LinksConnection
from shared.changes import insert_change
from shared.claims import PATH, Claim, read_claims, write_verdicts
from shared.clicks import Click
from shared.postgres import Connection
from shared.settings import LinksSettings, RedirectSettings
from tests.conftest import Database
from tests.redirect.conftest import AddLink
from tests.redirect.intake_server import TOKEN
from tests.serving import client_of, serve

URL = "https://www.example.com/secret"
OVER = "https://www.example.com/over"
PERSON = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
HUMAN = {b"user-agent": PERSON.encode()}


@pytest.fixture
async def write_service(links_settings: LinksSettings, socket: Path) -> AsyncIterator[Path]:
    """The write service, which knows the token; its socket."""
    address = Path(f"{socket}.links")
    settings = links_settings.model_copy(update={"internal_token": SecretStr(TOKEN)})
    async with serve(create_links(settings), address):
        yield address


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give claims the time that a busy machine takes: a visitor who waits too long gets 503, and the claim counts."""
    for module in ("services.redirect.owner.claims", "services.links.claims.claimer"):
        monkeypatch.setattr(f"{module}.DEADLINE_S", 30.0)


@pytest.fixture
async def visitor(
    redirect_settings: RedirectSettings, socket: Path, write_service: Path, clicks: list[Click], patient: None
) -> AsyncIterator[httpx.AsyncClient]:
    """A person who visits a redirector beside the write service."""
    known = {"internal_token": SecretStr(TOKEN), "links_address": f"unix:{write_service}"}
    app = create_app(redirect_settings.model_copy(update=known), clicks.extend)
    async with serve(app, socket, http=LaneProtocol), client_of(socket, **{"User-Agent": PERSON}) as client:
        yield client


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    """A connection as the database's owner."""
    conn = await asyncpg.connect(database.owner_url)
    yield conn
    await conn.close()


async def until_used_up(visitor: httpx.AsyncClient, status: int) -> None:
    """Wait until the redirector knows by the feed that a link is used up: it does not ask any more."""
    async with asyncio.timeout(10):
        while True:
            before = await metric(visitor, 'redirect_claims_total{verdict="refused"}')
            assert (await visitor.get("/a")).status_code == status
            if await metric(visitor, 'redirect_claims_total{verdict="refused"}') == before:
                return


async def metric(visitor: httpx.AsyncClient, name: str) -> float:
    lines = (await visitor.get("/metrics")).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


async def test_as_many_pass_as_the_limit_says(
    visitor: httpx.AsyncClient, add_link: AddLink, clicks: list[Click]
) -> None:
    """The first visitors get to the target and are clicks; the others get 410, soon without asking the write service."""
    await add_link("a", URL, max_clicks=3)
    answers = await asyncio.gather(*(visitor.get("/a") for _ in range(12)))
    passed = [answer for answer in answers if answer.status_code == 302]

    assert sorted(answer.status_code for answer in answers) == [302] * 3 + [410] * 9
    assert {answer.headers["location"] for answer in passed} == {URL}
    assert {answer.headers["cache-control"] for answer in answers} == {"private, no-store"}
    assert len(clicks) == 3
    await until_used_up(visitor, 410)
    assert len(clicks) == 3
    assert await metric(visitor, 'redirect_claims_total{verdict="granted"}') == 3


async def test_used_up_link_leads_elsewhere(visitor: httpx.AsyncClient, add_link: AddLink) -> None:
    """A used-up link with an `expired_url` leads there, as soon as the visitor is refused and ever after."""
    await add_link("a", URL, max_clicks=1, expired_url=OVER)
    locations = [(await visitor.get("/a")).headers["location"] for _ in range(3)]

    assert locations == [URL, OVER, OVER]
    await until_used_up(visitor, 302)


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("GET", {"X-Purpose": "prefetch"}),
        ("GET", {"User-Agent": GOOGLEBOT}),
        ("GET", {"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"}),
        ("GET", {"User-Agent": "curl/8.9.1"}),
        ("GET", {"User-Agent": ""}),
    ],
)
@pytest.mark.parametrize("error_format", ["html", "json"])
async def test_who_is_no_visitor_uses_none(
    visitor: httpx.AsyncClient,
    add_link: AddLink,
    clicks: list[Click],
    *,
    method: str,
    headers: dict[str, str],
    error_format: str,
) -> None:
    """HEAD, prefetches, previews and programs get a page that says why, not where the link leads, and use none up."""
    await add_link("a", URL, max_clicks=1)
    spared = [
        await visitor.request(method, "/a", headers={**headers, "X-Error-Format": error_format}) for _ in range(5)
    ]

    assert {answer.status_code for answer in spared} == {403}
    assert {answer.headers["cache-control"] for answer in spared} == {"private, no-store"}
    assert all("location" not in answer.headers and "secret" not in answer.text for answer in spared)
    if method == "GET" and error_format == "html":
        assert "limited number of visitors" in spared[0].text
    elif method == "GET":
        assert spared[0].json()["type"] == "urn:tinyurl:problem:limited"
    assert clicks == []
    assert [(await visitor.get("/a")).status_code for _ in range(2)] == [302, 410]
    assert len(clicks) == 1


async def test_second_try_uses_none(visitor: httpx.AsyncClient, add_link: AddLink) -> None:
    """A visit that nginx repeats, with the same request id, passes again; another visit does not."""
    await add_link("a", URL, max_clicks=2)
    statuses = [
        (await visitor.get("/a", headers={"X-Request-ID": each})).status_code for each in ("one", "one", "two", "three")
    ]

    assert statuses == [302, 302, 302, 410]


async def test_raised_limit_revives_the_link(visitor: httpx.AsyncClient, add_link: AddLink, owner: Connection) -> None:
    """A link that is used up lets visitors through again within a second after its limit was raised."""
    await add_link("a", URL, max_clicks=1)
    await visitor.get("/a")
    await until_used_up(visitor, 410)
    await owner.execute("UPDATE links SET max_clicks = 2")
    await insert_change(owner, ("sho.rt", "a"))
    async with asyncio.timeout(10):
        while (await visitor.get("/a")).status_code != 302:
            await asyncio.sleep(0.01)

    assert (await visitor.get("/a")).status_code == 410


async def test_plain_link_asks_nobody(visitor: httpx.AsyncClient, add_link: AddLink) -> None:
    """Links without a limit are answered as ever, and no claim is made."""
    await add_link("a", URL)

    assert {(await visitor.get("/a")).status_code for _ in range(3)} == {302}
    assert await metric(visitor, "redirect_claims_total") == 0


async def test_without_a_write_service_nobody_passes(
    redirect_settings: RedirectSettings, add_link: AddLink, socket: Path, clicks: list[Click]
) -> None:
    """Where no write service is named, or it is away, a limited link answers 503 with `Retry-After`; others go on."""
    await add_link("a", URL, max_clicks=1)
    await add_link("plain", URL)
    away = {"internal_token": SecretStr(TOKEN), "links_address": f"unix:{socket}.nobody"}
    for settings in (redirect_settings, redirect_settings.model_copy(update=away)):
        app = create_app(settings, clicks.extend)
        async with serve(app, socket, http=LaneProtocol), client_of(socket, **{"User-Agent": PERSON}) as client:
            answers = [await client.get("/a") for _ in range(5)]
            plain = await client.get("/plain")

        assert [answer.status_code for answer in answers] == [503] * 5
        assert all(answer.headers["retry-after"] == "1" and "location" not in answer.headers for answer in answers)
        assert plain.status_code == 302
    assert len(clicks) == 2


@dataclass
class ClaimServer:
    """The write service's side of the contract, which a test may slow down or break; everybody passes.

    Attributes:
        batches: The claims of each request.
        answers: Given to the next requests instead.
        gate: Requests wait for it.
    """

    batches: list[list[Claim]] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: Request) -> Response:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        claims = read_claims(await request.body())
        self.batches.append(claims)
        await self.gate.wait()
        return self.answers.pop(0) if self.answers else Response(write_verdicts([True] * len(claims)))

    @asynccontextmanager
    async def listen(self, socket: Path) -> AsyncIterator[Claims]:
        async with serve(Starlette(routes=[Route(PATH, self.take, methods=["POST"])]), socket):
            claims = open_claims(f"unix:{socket}", TOKEN)
            yield claims
            self.gate.set()
            while claims._joiner._tasks:
                await asyncio.sleep(0.01)
            claims.close()


async def test_claims_of_a_tick_travel_together(socket: Path) -> None:
    """Visits of one tick are one request; those that come while two are under way are the next one."""
    server = ClaimServer()
    async with server.listen(socket) as claims:
        visits = []
        for start in (0, 10, 20, 30):
            visits += [asyncio.create_task(claims.admit(n, "GET", HUMAN)) for n in range(start + 1, start + 11)]
            while len(server.batches) < min(2, start // 10 + 1):
                await asyncio.sleep(0.001)
        server.gate.set()
        verdicts = await asyncio.gather(*visits)

    assert verdicts == ["granted"] * 40
    assert [[claim.link_id for claim in batch] for batch in server.batches] == [
        [*range(1, 11)],
        [*range(11, 21)],
        [*range(21, 41)],
    ]
    request_ids = {claim.request_id for batch in server.batches for claim in batch}
    assert len(request_ids) == 40


async def test_restarted_write_service_is_asked_again(socket: Path) -> None:
    """A connection that the write service has closed costs no visitor: the claim is repeated on a new one."""
    server = ClaimServer()
    server.gate.set()
    async with server.listen(socket) as claims:
        assert await claims.admit(1, "GET", HUMAN) == "granted"
        for connection in claims._idle:
            if connection._streams is not None:
                connection._streams[1].transport.abort()
        assert await claims.admit(2, "GET", HUMAN) == "granted"
        assert claims.failures == 0


@pytest.mark.parametrize(
    "answer",
    [
        Response(status_code=503),
        Response(status_code=404),
        Response(b""),
        Response(b"2"),
        Response(b"x"),
        Response(b"11"),
        Response(b"1\n"),
        Response(b"1" * 100_000),
    ],
)
async def test_wrong_answer_lets_nobody_pass(socket: Path, answer: Response) -> None:
    """What is not an answer to the claims lets nobody pass, and the next visit asks anew."""
    server = ClaimServer(answers=[answer])
    server.gate.set()
    async with server.listen(socket) as claims:
        assert await claims.admit(1, "GET", HUMAN) == "unavailable"
        assert await claims.admit(2, "GET", HUMAN) == "granted"
        assert claims.failures == 1


async def test_visitors_do_not_wait_for_a_write_service_that_is_away(socket: Path) -> None:
    """After some failures nobody is asked for a while, and then one trial decides whether it goes on."""
    now = 0.0
    claims = Claims(open_claims(f"unix:{socket}", TOKEN)._idle, Breaker(lambda: now))
    failed = [await claims.admit(1, "GET", HUMAN) for _ in range(FAILURES_TO_OPEN + 5)]
    server = ClaimServer()
    server.gate.set()
    async with server.listen(socket):
        early = await claims.admit(1, "GET", HUMAN)
        now = 60.0
        later = [await claims.admit(1, "GET", HUMAN) for _ in range(2)]
        claims.close()

    assert {*failed, early} == {"unavailable"}
    assert claims.failures == FAILURES_TO_OPEN
    assert later == ["granted", "granted"]


async def test_waiting_is_bounded(socket: Path) -> None:
    """A slow write service lets nobody wait for more than two seconds, nor more than so many; who gave up is not sent."""
    server = ClaimServer()
    async with server.listen(socket):
        connections = [LinksConnection(f"unix:{socket}", TOKEN, deadline_s=60) for _ in range(2)]
        claims = Claims(connections, Breaker())
        visits = []
        for batch in (1, 2):
            visits.append(asyncio.create_task(claims.admit(batch, "GET", HUMAN)))
            while len(server.batches) < batch:
                await asyncio.sleep(0.001)
        visits += [asyncio.create_task(claims.admit(3, "GET", HUMAN)) for _ in range(WAITING_LIMIT + 3)]
        verdicts = await asyncio.gather(*visits)
        server.gate.set()
        while claims._joiner._tasks:
            await asyncio.sleep(0.01)
        assert await claims.admit(4, "GET", HUMAN) == "granted"
        claims.close()

    assert verdicts.count("busy") == 3
    assert verdicts.count("unavailable") == WAITING_LIMIT + 2
    assert [{claim.link_id for claim in batch} for batch in server.batches] == [{1}, {2}, {4}]


def test_lists_of_programs_come_with_the_first_limited_link() -> None:
    """A redirector without limited links loads no parser of user agents."""
    names = "('re2', 'crawlerdetect', 'shared.bots')"
    loaded = f"import services.redirect.__main__, sys; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
