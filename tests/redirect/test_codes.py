"""Visits of codes of one's own: in any script, with marks and slashes, in any case; and what each of them costs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis

from deploy.local.valkey import Valkey
from services.redirect.app import create_app
from services.redirect.lane import LaneProtocol
from shared.settings import RedirectSettings
from tests.conftest import Database
from tests.redirect.conftest import AddLink
from tests.serving import client_of, serve

URL = "https://www.example.com/"

Decide = Callable[..., Awaitable[None]]
Start = Callable[[], Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def visitor_of(redirect_settings: RedirectSettings, socket: Path) -> AsyncIterator[Start]:
    """`await visitor_of()` visits a redirector that starts now, and so knows all that was decided before."""
    async with AsyncExitStack() as stack:

        async def start() -> httpx.AsyncClient:
            place = socket.with_suffix(f".{len(list(socket.parent.iterdir()))}")
            await stack.enter_async_context(serve(create_app(redirect_settings), place, http=LaneProtocol))
            return await stack.enter_async_context(client_of(place))

        yield start


@pytest.fixture
async def visitor(visitor_of: Start) -> httpx.AsyncClient:
    return await visitor_of()


@pytest.fixture
def decide(database: Database) -> Decide:
    """`await decide(column=value)` decides about sho.rt, and tells the redirector."""

    async def change(**columns: bool) -> None:
        conn = await asyncpg.connect(database.owner_url)
        await conn.execute("INSERT INTO domains (domain) VALUES ('sho.rt')")
        for name in columns:
            await conn.execute(f"UPDATE domains SET {name} = true")
        await conn.close()

    return change


async def get(visitor: httpx.AsyncClient, path: str) -> tuple[int, str | None]:
    """Ask for a path as it is."""
    answer = await visitor.send(visitor.build_request("GET", httpx.URL("http://sho.rt", raw_path=path.encode())))
    return answer.status_code, answer.headers.get("location")


async def lookups(visitor: httpx.AsyncClient) -> float:
    """The codes that were asked of Postgres."""
    metrics = (await visitor.get("/metrics")).text
    (line,) = [line for line in metrics.splitlines() if line.startswith('redirect_lookups_total{store="postgres"}')]
    return float(line.split()[-1])


@pytest.mark.parametrize(
    ("code", "paths"),
    [("\u5171", ["%E5%85%B1", "%e5%85%b1."]), ("caf\u00e9", ["cafe%CC%81"]), ("a.b", ["a.b", "a.b,"])],
)
async def test_code_in_any_script(visitor: httpx.AsyncClient, add_link: AddLink, code: str, paths: list[str]) -> None:
    """A domain needs no word to have such codes, and each is one look-up."""
    await add_link(code, URL)

    for path in paths:
        assert await get(visitor, f"/{path}") == (302, URL)
    assert await lookups(visitor) == 1
    assert (await get(visitor, f"/{paths[0]}+"))[0] == 200


async def test_exact_code_wins(visitor_of: Start, add_link: AddLink, decide: Decide) -> None:
    """Where a code ends with a mark, that is asked for first: of a plus that previews, of a full stop that ends a sentence."""
    for code in ("mail", "mail+", "end.", "end"):
        await add_link(code, URL + code.replace("+", "-plus").replace(".", "-dot"))
    await decide(has_tail_codes=True)
    visitor = await visitor_of()

    for path, target in (
        ("mail", "mail"),
        ("mail+", "mail-plus"),
        ("mail%2B", "mail-plus"),
        ("end.", "end-dot"),
        ("end.,", "end-dot"),
        ("end,", "end"),
    ):
        assert await get(visitor, f"/{path}") == (302, URL + target), path
    assert (await get(visitor, "/mail++"))[0] == 200
    assert (await get(visitor, "/end+"))[0] == 200
    assert (await get(visitor, "/mail+++"))[0] == 404


async def test_link_that_folds_case(visitor_of: Start, add_link: AddLink, decide: Decide) -> None:
    """`ABC` leads to `abc` for the links that say so, and for no other; the exact code wins."""
    await add_link("abc", URL + "1", folds_case=True)
    await add_link("plain", URL + "2")
    await add_link("Abc", URL + "3")
    await add_link("\u00e4\u00f6", URL + "4", folds_case=True, forward_path=True)
    await decide(has_folding_codes=True)
    visitor = await visitor_of()

    for path, expected in (
        ("abc", (302, URL + "1")),
        ("ABC", (302, URL + "1")),
        ("ABC.", (302, URL + "1")),
        ("Abc", (302, URL + "3")),
        ("PLAIN", (404, None)),
        ("plain", (302, URL + "2")),
        ("%C3%84%C3%96/x", (302, URL + "4/x")),
    ):
        assert await get(visitor, f"/{path}") == expected, path
    assert (await get(visitor, "/ABC+"))[0] == 200
    assert (await get(visitor, "/PLAIN+"))[0] == 404


async def test_codes_with_slashes(visitor_of: Start, add_link: AddLink, decide: Decide) -> None:
    """Such a code comes before a path that its first segment passes on; a domain that has none does not look for them."""
    await add_link("menu/today", URL + "1")
    await add_link("menu", URL + "2", forward_path=True)
    before = await visitor_of()
    passed = await get(before, "/menu/today")
    await decide(multi_segment=True)
    visitor = await visitor_of()

    assert passed == (302, URL + "2/today")
    for path, target in (
        ("menu/today", "1"),
        ("menu%2ftoday", "1"),
        ("menu/today/", "1"),
        ("menu", "2"),
        ("menu/x", "2/x"),
    ):
        assert await get(visitor, f"/{path}") == (302, URL + target), path


async def test_word_that_was_reserved_later(visitor: httpx.AsyncClient, add_link: AddLink) -> None:
    """A link that has such a word keeps working."""
    await add_link("share", URL)
    await add_link("sitemap.xml", URL)

    assert [await get(visitor, path) for path in ("/share", "/sitemap.xml")] == [(302, URL)] * 2


async def asked_redis(valkey: Valkey) -> int:
    """How often codes were asked of Redis."""
    async with Redis.from_url(valkey.admin_url) as redis:
        commands = await redis.info("commandstats")
    return int(commands.get("cmdstat_mget", {}).get("calls", 0))


async def test_what_a_visit_costs(visitor_of: Start, add_link: AddLink, decide: Decide, valkey: Valkey) -> None:
    """However many kinds of codes a domain has, a path is at most two look-ups, in one round trip; one in memory is none."""
    await add_link("Abcdef1", URL)
    await decide(multi_segment=True, has_tail_codes=True, has_folding_codes=True)
    visitor = await visitor_of()
    costs = []
    for path in ("/Abcdef1", "/Abcdef1", "/Absent1", "/Absent2.", "/Absent3+", "/Absent4/x/y", "/absent5", "/%C3%84,"):
        before, asked = await lookups(visitor), await asked_redis(valkey)
        await get(visitor, path)
        costs.append((await lookups(visitor) - before, await asked_redis(valkey) - asked))

    assert costs == [(2, 1), (0, 0), (2, 1), (2, 1), (2, 1), (2, 1), (1, 1), (2, 1)]


async def test_domain_with_ordinary_codes_costs_what_it_did(visitor: httpx.AsyncClient, add_link: AddLink) -> None:
    """Where no code ends with a mark or folds case, each path is one look-up, and what trails a known code is none."""
    await add_link("Abcdef1", URL)
    costs = []
    for path in ("/Abcdef1", "/Abcdef1.", "/Abcdef1+", "/Absent1", "/Absent2.", "/Absent3+", "/Absent4/x"):
        before = await lookups(visitor)
        await get(visitor, path)
        costs.append(await lookups(visitor) - before)

    assert costs == [1, 0, 0, 1, 1, 1, 1]


async def test_robots_and_unknown_codes_are_percent_encoded(
    visitor_of: Start, add_link: AddLink, database: Database, decide: Decide
) -> None:
    """What crawlers read, and where an unknown code leads, has codes as browsers send them."""
    await add_link("caf\u00e9", URL, crawlable=True)
    await add_link("a.b~+", URL, crawlable=True, forward_path=True)
    await decide(multi_segment=True)
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute("UPDATE domains SET not_found_url = 'https://www.example.com/missing?code={code}'")
    await conn.close()
    visitor = await visitor_of()
    robots = (await visitor.get("/robots.txt", headers={"Host": "sho.rt"})).text

    assert "Allow: /caf%C3%A9$\n" in robots
    assert "Allow: /a.b~+$\nAllow: /a.b~+/\n" in robots
    for path, code in (("%e5%85%b1", "%E5%85%B1"), ("a/b+c", "a%2Fb%2Bc"), ("none.", "none")):
        assert await get(visitor, f"/{path}") == (302, f"https://www.example.com/missing?code={code}")
