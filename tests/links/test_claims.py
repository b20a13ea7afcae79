"""Limited links: how many visitors the write service lets through, whoever asks, how often, and in which order."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from services.links.app import create_app
from services.links.claims.claimer import CLAIMING, Claimer
from services.links.claims.rows import decide_claims, delete_old_claims
from services.links.keys.rows import create_key
from services.links.upkeep import forget_claims
from services.links.web.errors import Busy
from shared.claims import LARGEST_CLAIMS_BYTES, MOST_CLAIMS, PATH, Claim, write_claims
from shared.postgres import Connection, Pool, connection, open_pool
from shared.settings import LinksSettings
from tests.conftest import Database
from tests.links.conftest import fields_at_fault
from tests.links.intake_client import TOKEN
from tests.serving import client_of, serve

LINKS = "/api/v1/links"
URL = "https://www.example.com/"
REDIRECT = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "text/plain"}


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    """The connections of the claims."""
    async with open_pool(database.links_url, size=4, application="tests", settings=CLAIMING) as opened:
        yield opened


async def add_limited(owner: Connection, code: str, max_clicks: int | None) -> int:
    link_id: int = await owner.fetchval(
        "INSERT INTO links (domain, code, owner, url, max_clicks) VALUES ('sho.rt', $1, 'alice', $2, $3) RETURNING id",
        code,
        URL,
        max_clicks,
    )
    return link_id


def claims_of(link_id: int, count: int, prefix: str = "r") -> list[Claim]:
    return [Claim(link_id, f"{prefix}-{number}") for number in range(count)]


async def used(owner: Connection, link_id: int) -> int:
    return int(await owner.fetchval("SELECT coalesce(sum(used), 0) FROM link_claims WHERE link_id = $1", link_id))


async def announced(owner: Connection) -> list[str]:
    return [row["code"] for row in await owner.fetch("SELECT code FROM link_changes ORDER BY version")]


async def is_used_up(owner: Connection, code: str) -> bool:
    return bool(await owner.fetchval("SELECT used_up FROM link_records WHERE code = $1", code))


async def test_first_ones_pass(owner: Connection, links: Connection) -> None:
    """Of the claims of a batch the first ones are granted, and the one that uses the link up announces it, once."""
    link = await add_limited(owner, "seven", 7)
    first = await decide_claims(links, claims_of(link, 5, "a"))
    assert await announced(owner) == []
    assert not await is_used_up(owner, "seven")
    second = await decide_claims(links, claims_of(link, 5, "b"))
    third = await decide_claims(links, claims_of(link, 5, "c"))

    assert (first, second, third) == ({*claims_of(link, 5, "a")}, {*claims_of(link, 2, "b")}, set())
    assert await announced(owner) == ["seven"]
    assert await is_used_up(owner, "seven")
    assert await used(owner, link) == 7


async def test_second_try_uses_none(owner: Connection, links: Connection) -> None:
    """A request that was let through passes again, also when the link is used up, and beside itself in one batch."""
    link = await add_limited(owner, "two", 2)
    one, other, late = claims_of(link, 3)
    assert await decide_claims(links, [one, one, one]) == {one}
    assert await decide_claims(links, [one, other, other, late]) == {one, other}

    assert await decide_claims(links, [late, other, one]) == {one, other}
    assert await used(owner, link) == 2
    # Another link knows nothing of the request.
    second = await add_limited(owner, "one", 1)
    assert await decide_claims(links, [Claim(second, one.request_id)]) == {Claim(second, one.request_id)}


async def test_same_request_at_once_uses_none(owner: Connection, pool: Pool) -> None:
    """Two batches that decide the same requests at once let the same ones through, and count each once."""
    link = await add_limited(owner, "three", 3)
    claims = claims_of(link, 5)
    await owner.execute("INSERT INTO link_claims (link_id) VALUES ($1)", link)

    async def decide() -> set[Claim]:
        async with connection(pool, deadline_s=30) as conn:
            return await decide_claims(conn, claims)

    async with owner.transaction():
        await owner.execute("UPDATE link_claims SET used = 1 WHERE link_id = $1", link)
        both = [asyncio.create_task(decide()) for _ in range(2)]
        while await owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < 2:
            await asyncio.sleep(0.01)

    assert await asyncio.gather(*both) == [{*claims[:2]}, {*claims[:2]}]
    assert await used(owner, link) == 3


async def test_exactly_as_many_pass_at_once(owner: Connection, pool: Pool) -> None:
    """Batches with the same links in every order, from four connections at once, grant exactly the limits."""
    limits = {await add_limited(owner, f"link-{limit}", limit): limit for limit in (1, 7, 100, 300)}
    claims = [claim for link, limit in limits.items() for claim in claims_of(link, 4 * limit)]
    random.Random(7).shuffle(claims)

    async def decide(batch: list[Claim]) -> set[Claim]:
        async with connection(pool, deadline_s=30) as conn:
            return await decide_claims(conn, batch)

    batches = [claims[start : start + 40] for start in range(0, len(claims), 40)]
    granted = await asyncio.gather(*map(decide, batches))

    passed = [claim.link_id for each in granted for claim in each]
    assert {link: passed.count(link) for link in limits} == limits
    assert {link: await used(owner, link) for link in limits} == limits
    assert sorted(await announced(owner)) == sorted(f"link-{limit}" for limit in limits.values())


async def test_links_without_a_limit(owner: Connection, links: Connection) -> None:
    """A link whose limit was taken away lets everybody through and counts nobody; a deleted or unknown one, nobody."""
    free, gone = await add_limited(owner, "free", None), await add_limited(owner, "gone", 5)
    await owner.execute("UPDATE links SET deleted_at = now(), max_clicks = NULL WHERE id = $1", gone)
    claims = [Claim(link, "r") for link in (free, gone, 2**62)]

    assert await decide_claims(links, claims) == {claims[0]}
    assert await used(owner, free) == await used(owner, gone) == 0


async def test_old_requests_are_forgotten(owner: Connection, links: Connection, pool: Pool) -> None:
    """What was let through is remembered for a minute and then deleted, in parts; what is counted stays."""
    link = await add_limited(owner, "many", 100)
    await decide_claims(links, claims_of(link, 10, "old"))
    await owner.execute("UPDATE link_claim_requests SET claimed_at = now() - interval '61 seconds'")
    await decide_claims(links, claims_of(link, 3, "new"))
    await delete_old_claims(links, at_once=4)
    await forget_claims(pool)

    left = [row["request_id"] for row in await owner.fetch("SELECT request_id FROM link_claim_requests")]
    assert sorted(left) == ["new-0", "new-1", "new-2"]
    assert await used(owner, link) == 13


async def test_limit_is_edited(alice: httpx.AsyncClient, owner: Connection, links: Connection) -> None:
    """A larger limit revives a link, a smaller one than is used ends it, and none lets everybody through."""
    created = (await alice.post(LINKS, json={"url": URL, "code": "x", "max_clicks": 3})).json()
    assert (created["max_clicks"], created["clicks_left"]) == (3, 3)
    link = await owner.fetchval("SELECT id FROM links")
    assert len(await decide_claims(links, claims_of(link, 5, "a"))) == 3

    async def edit(max_clicks: int | None) -> tuple[int | None, bool]:
        answer = await alice.patch(f"{LINKS}/x", json={"max_clicks": max_clicks})
        assert answer.status_code == 200, answer.text
        assert answer.json() == (await alice.get(f"{LINKS}/x")).json()
        assert answer.json() == (await alice.get(LINKS)).json()["items"][0]
        return answer.json()["clicks_left"], await is_used_up(owner, "x")

    assert await edit(5) == (2, False)
    assert len(await decide_claims(links, claims_of(link, 5, "b"))) == 2
    assert await edit(6) == (1, False)
    assert await edit(2) == (0, True)
    assert await decide_claims(links, claims_of(link, 5, "c")) == set()
    assert await edit(None) == (None, False)
    assert len(await decide_claims(links, claims_of(link, 5, "d"))) == 5
    assert await edit(7) == (2, False)
    # Each edit, and each time that it was used up.
    assert await announced(owner) == ["x"] * 8


async def test_used_up_link_is_listed_as_expired(alice: httpx.AsyncClient, links: Connection) -> None:
    """A list by state has a used-up link among the expired ones, and one with a visit left among the active ones."""
    for code in ("used", "fresh", "begun"):
        await alice.post(LINKS, json={"url": URL, "code": code, "max_clicks": 2})
    ids = {row["code"]: row["id"] for row in await links.fetch("SELECT code, id FROM links")}
    await decide_claims(links, [*claims_of(ids["used"], 2), *claims_of(ids["begun"], 1)])

    async def listed(state: str) -> set[str]:
        return {link["code"] for link in (await alice.get(LINKS, params={"state": state})).json()["items"]}

    assert await listed("expired") == {"used"}
    assert await listed("active") == {"fresh", "begun"}
    assert (await alice.get("/api/v1/exports?state=expired")).text.count("\n") == 2


async def test_edit_and_claim_are_one_after_the_other(alice: httpx.AsyncClient, owner: Connection) -> None:
    """An edit of the limit waits for claims that are being counted, so that one of both announces the end."""
    await alice.post(LINKS, json={"url": URL, "code": "x", "max_clicks": 9})
    link = await owner.fetchval("SELECT id FROM links")
    await owner.execute("INSERT INTO link_claims (link_id) VALUES ($1)", link)
    async with owner.transaction():
        await owner.execute("UPDATE link_claims SET used = 3 WHERE link_id = $1", link)
        lowering = asyncio.create_task(alice.patch(f"{LINKS}/x", json={"max_clicks": 3}))
        while not lowering.done() and not await owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
        has_waited = not lowering.done()
    answer = await lowering

    assert has_waited
    assert answer.json()["clicks_left"] == 0
    assert await is_used_up(owner, "x")


@pytest.mark.parametrize(
    "beside", [{"cache_control": 0}, {"cache_control": 60}, {"status_code": 301}, {"status_code": 308}]
)
async def test_no_browser_keeps_a_limited_link(alice: httpx.AsyncClient, beside: dict[str, int]) -> None:
    """A lifetime in browsers, or a permanent status, beside a limit is invalid input, and so is a limit beside these."""
    (field,) = beside
    assert fields_at_fault(await alice.post(LINKS, json={"url": URL, "max_clicks": 1, **beside})) == {field}
    await alice.post(LINKS, json={"url": URL, "code": "limited", "max_clicks": 1})
    await alice.post(LINKS, json={"url": URL, "code": "kept", **beside})

    assert fields_at_fault(await alice.patch(f"{LINKS}/limited", json=beside)) == {field}
    assert fields_at_fault(await alice.patch(f"{LINKS}/kept", json={"max_clicks": 1})) == {field}
    assert (await alice.patch(f"{LINKS}/limited", json={"status_code": 307})).status_code == 200


@pytest.mark.parametrize("limit", [0, -1, 1_000_000_001, 1.5, "7", True])
async def test_limit_is_a_number(alice: httpx.AsyncClient, limit: object) -> None:
    """A limit is a whole number from one to a billion."""
    assert fields_at_fault(await alice.post(LINKS, json={"url": URL, "max_clicks": limit})) == {"max_clicks"}
    assert fields_at_fault(await alice.post(LINKS, json={"url": URL, "clicks_left": 1})) == {"clicks_left"}


async def test_export_and_batch_have_the_limit(alice: httpx.AsyncClient) -> None:
    """A batch takes limits, and an export has them and what is left."""
    sent = await alice.post(
        f"{LINKS}/batch", json={"links": [{"url": URL, "code": "a", "max_clicks": 5}, {"url": URL}]}
    )
    assert [each["link"]["clicks_left"] for each in sent.json()["results"]] == [5, None]

    header, *lines = (await alice.get("/api/v1/exports")).text.splitlines()
    at = header.replace('"', "").split(",").index("max_clicks")
    assert sorted(line.split(",")[at] for line in lines) == ["", "5"]


@asynccontextmanager
async def claimant(settings: LinksSettings, socket: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(create_app(settings), socket), client_of(socket, **REDIRECT) as client:
        yield client


async def test_route(intake_settings: LinksSettings, socket: Path, owner: Connection) -> None:
    """The route answers in the order of the claims, counts what it let through, and is for redirect alone."""
    link = await add_limited(owner, "two", 2)
    async with claimant(intake_settings, socket) as client:
        answer = await client.post(PATH, content=write_claims([Claim(2**62, "x"), *claims_of(link, 3)]))
        again = await client.post(PATH, content=write_claims(claims_of(link, 3)[::-1]))
        strangers = [
            await client.post(PATH, headers={"Authorization": text}) for text in ("", "Bearer x", f"Basic {TOKEN}")
        ]
        metrics = (await client.get("/metrics")).text

    assert (answer.status_code, answer.text, again.text) == (200, "0110", "011")
    assert [each.status_code for each in strangers] == [401] * 3
    assert 'links_claims_total{verdict="granted"} 4.0' in metrics
    assert 'links_claims_total{verdict="refused"} 3.0' in metrics


async def test_without_a_token_there_is_no_route(service: Path) -> None:
    """Without a token in the settings nobody may claim, with whatever token; the documentation does not have it."""
    async with client_of(service, **REDIRECT) as client:
        assert (await client.post(PATH, content=b"1 r")).status_code == 404
        assert PATH not in (await client.get("/openapi.json")).text


MALFORMED = [
    b"",
    b"x",
    b"1",
    b"1 ",
    b" r",
    b"1  r",
    b"-1 r",
    b"9223372036854775808 r",
    b"1 r r",
    b"1 r\n",
    b"1 r\r\n2 r",
    b"1 r\n\n2 r",
    b"1 \x00",
    b"1 \xff",
    "\u0661 r".encode(),
    b"1 " + b"r" * 65,
    write_claims(claims_of(1, MOST_CLAIMS + 1)),
]


async def test_malformed_claims(intake_settings: LinksSettings, socket: Path) -> None:
    """What is no list of claims is refused as a whole, and so is what is too long; the longest list is taken."""
    async with claimant(intake_settings, socket) as client:
        answers = [await client.post(PATH, content=body) for body in MALFORMED]
        large = await client.post(PATH, content=b" " * (LARGEST_CLAIMS_BYTES + 1))
        full = await client.post(PATH, content=write_claims([Claim(2**63 - 1, "r" * 64)] * MOST_CLAIMS))

    assert {answer.status_code for answer in answers} == {400}
    assert large.status_code == 413
    assert full.text == "0" * MOST_CLAIMS


async def test_claims_beyond_the_bound_use_none(owner: Connection, pool: Pool) -> None:
    """Where too many wait, a request is refused as a whole, and none of its claims is counted."""
    link = await add_limited(owner, "x", 100)
    claimer = Claimer(pool, waiting_limit=10)

    with pytest.raises(Busy):
        await claimer.claim(claims_of(link, 11))
    while claimer._joiner._queue:
        await asyncio.sleep(0)
    assert await claimer.claim(claims_of(link, 5, "later")) == [True] * 5
    assert await used(owner, link) == 5


async def test_claims_that_nobody_waits_for_use_none(owner: Connection, pool: Pool) -> None:
    """Claims whose batch did not begin before their redirector gave up are dropped."""
    link = await add_limited(owner, "x", 100)
    claimer = Claimer(pool)
    await claimer.claim(claims_of(link, 1, "first"))
    async with owner.transaction():
        await owner.execute("UPDATE link_claims SET used = used WHERE link_id = $1", link)
        # Both batches wait for the row, and a third one for them.
        asked = []
        for prefix in ("a", "b", "c"):
            asked.append(asyncio.create_task(claimer.claim(claims_of(link, 5, prefix))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [TimeoutError] * 3
    assert await claimer.claim(claims_of(link, 1, "last")) == [True]
    assert await used(owner, link) == 2


async def test_owner_with_a_busy_link_leaves_the_api_to_others(
    intake_settings: LinksSettings, socket: Path, owner: Connection, database: Database
) -> None:
    """While claims wait for a link's row, others create, list and read links: claims have connections of their own."""
    link = await add_limited(owner, "x", 100)
    conn = await asyncpg.connect(database.links_url)
    _, key = await create_key(conn, owner="bob", scopes=("links:read", "links:write"))
    await conn.close()
    async with claimant(intake_settings, socket) as client, client_of(socket, Authorization=f"Bearer {key}") as bob:
        await client.post(PATH, content=write_claims(claims_of(link, 1)))
        async with owner.transaction():
            await owner.execute("UPDATE link_claims SET used = used WHERE link_id = $1", link)
            waiting = [
                asyncio.create_task(client.post(PATH, content=write_claims(claims_of(link, 10, f"{n}"))))
                for n in range(50)
            ]
            created = await bob.post(LINKS, json={"url": URL})
            listed = await bob.get(LINKS)
            refused = await asyncio.gather(*waiting)

    assert (created.status_code, len(listed.json()["items"])) == (201, 1)
    assert {answer.status_code for answer in refused} == {503}
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
