"""Requests with an `Idempotency-Key`: done once, answered alike, for 24 hours and for their owner alone."""

import asyncio

import asyncpg
import httpx
import pytest

from services.links.upkeep import prune
from services.links.web.idempotency import AnswerMemory
from shared.postgres import open_pool
from tests.conftest import Database
from tests.links.conftest import ClientOf, fields_at_fault

LINKS = "/api/v1/links"
URL = "https://www.example.com/"


async def age(database: Database, hours: int) -> None:
    """Make everything that is remembered older."""
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute("UPDATE remembered_requests SET created_at = created_at - make_interval(hours => $1)", hours)
    await conn.close()


async def remembered(database: Database) -> int:
    conn = await asyncpg.connect(database.owner_url)
    try:
        count: int = await conn.fetchval("SELECT count(*) FROM remembered_requests")
        return count
    finally:
        await conn.close()


async def test_repeated_request_gets_the_same_answer(alice: httpx.AsyncClient) -> None:
    """A request that is sent again creates nothing, and its answer is the first one, also after an edit."""
    headers = {"Idempotency-Key": "one"}
    first = await alice.post(LINKS, json={"url": URL}, headers=headers)
    await alice.patch(f"{LINKS}/{first.json()['code']}", json={"title": "edited"})
    again = await alice.post(LINKS, json={"url": URL}, headers=headers)

    assert (again.status_code, again.json()) == (201, first.json())
    assert {name: again.headers[name] for name in ("etag", "location")} == {
        name: first.headers[name] for name in ("etag", "location")
    }
    assert len((await alice.get(LINKS)).json()["items"]) == 1


async def test_repeats_at_once_create_one_link(alice: httpx.AsyncClient) -> None:
    """Many of one request at once create one link, with a custom code or a generated one."""
    for body in ({"url": URL}, {"url": URL, "code": "custom"}):
        sending = [alice.post(LINKS, json=body, headers={"Idempotency-Key": f"k{len(body)}"}) for _ in range(12)]
        responses = await asyncio.gather(*sending)

        assert {response.status_code for response in responses} == {201}
        assert len({response.json()["code"] for response in responses}) == 1
    assert len((await alice.get(LINKS)).json()["items"]) == 2


async def test_key_with_another_request_is_refused(alice: httpx.AsyncClient) -> None:
    """A key that came with another body before is 422, and nothing is created."""
    headers = {"Idempotency-Key": "one"}
    await alice.post(LINKS, json={"url": URL}, headers=headers)
    other = await alice.post(LINKS, json={"url": URL + "other"}, headers=headers)

    assert other.status_code == 422
    assert other.json()["type"] == "urn:tinyurl:problem:idempotency-conflict"
    assert len((await alice.get(LINKS)).json()["items"]) == 1


async def test_keys_belong_to_their_owner(alice: httpx.AsyncClient, client_with: ClientOf) -> None:
    """Two owners may use one key; two API keys of one owner share it."""
    bob, hers = await client_with("bob"), await client_with("alice")
    headers = {"Idempotency-Key": "one"}
    codes = [
        (await client.post(LINKS, json={"url": URL}, headers=headers)).json()["code"] for client in (alice, bob, hers)
    ]

    assert codes[0] == codes[2] != codes[1]


async def test_request_that_failed_can_be_tried_again(alice: httpx.AsyncClient) -> None:
    """A refused request leaves its key unused."""
    headers = {"Idempotency-Key": "one"}
    await alice.post(LINKS, json={"url": URL, "code": "taken"})

    assert (await alice.post(LINKS, json={"url": URL, "code": "taken"}, headers=headers)).status_code == 409
    assert (await alice.post(LINKS, json={"url": URL, "code": "free"}, headers=headers)).status_code == 201


async def test_keys_are_forgotten_after_a_day(alice: httpx.AsyncClient, database: Database) -> None:
    """After 24 hours a key is new again, and what is older is purged."""
    headers = {"Idempotency-Key": "one"}
    await alice.post(LINKS, json={"url": URL}, headers=headers)
    await age(database, 23)
    assert (await alice.post(LINKS, json={"url": URL + "x"}, headers=headers)).status_code == 422
    await age(database, 2)
    assert (await alice.post(LINKS, json={"url": URL + "x"}, headers=headers)).status_code == 201

    await alice.post(LINKS, json={"url": URL}, headers={"Idempotency-Key": "two"})
    await age(database, 25)
    await alice.post(LINKS, json={"url": URL}, headers={"Idempotency-Key": "three"})
    async with open_pool(database.links_url, size=1, application="test") as pool:
        await prune(pool)
    assert await remembered(database) == 1


@pytest.mark.parametrize(
    "memory",
    [AnswerMemory(most_requests=4, looked_at_every_s=0.0), AnswerMemory(most_bytes=2500, looked_at_every_s=0.0)],
)
async def test_memory_of_an_owner_is_bounded(
    alice: httpx.AsyncClient, client_with: ClientOf, database: Database
) -> None:
    """A full memory takes no new key, answers those that it has, is full for its owner alone, and has room after a day."""
    bob = await client_with("bob")
    kept: dict[int, object] = {}
    while (answer := await create(alice, len(kept))).status_code == 201:
        kept[len(kept)] = answer.json()
    again = [(await create(alice, number)).json() for number in kept]

    assert (answer.status_code, answer.json()["type"]) == (429, "urn:tinyurl:problem:idempotency-full")
    assert int(answer.headers["retry-after"]) > 0
    assert 2 <= len(kept) < 10
    assert again == list(kept.values())
    assert (await alice.post(LINKS, json={"url": URL})).status_code == 201
    assert (await create(bob, 0)).status_code == 201
    await age(database, 25)
    async with open_pool(database.links_url, size=1, application="test") as pool:
        await prune(pool)
    assert (await create(alice, 99)).status_code == 201


async def create(client: httpx.AsyncClient, number: int) -> httpx.Response:
    return await client.post(LINKS, json={"url": f"{URL}{number}"}, headers={"Idempotency-Key": f"k{number}"})


async def test_batch_that_failed_wholly_is_not_remembered(alice: httpx.AsyncClient, database: Database) -> None:
    """A batch of which no row made or found a link keeps no answer; one with a link keeps all of it."""
    headers = {"Idempotency-Key": "batch"}
    failed = await alice.post(f"{LINKS}/batch", json={"links": [{"url": "x"}] * 50}, headers=headers)
    assert failed.json()["failed"] == 50
    assert await remembered(database) == 0

    await alice.post(f"{LINKS}/batch", json={"links": [{"url": "x"}, {"url": URL}]}, headers=headers)
    assert await remembered(database) == 1


async def test_answer_to_a_batch_of_errors_is_bounded(alice: httpx.AsyncClient) -> None:
    """Rows of unknown fields with long names, and of many short ones, make an answer smaller than what was sent."""
    for row in ({"x" * 700: 1}, {f"{n}": 1 for n in range(100)}):
        response = await alice.post(f"{LINKS}/batch", json={"links": [row] * 10_000}, timeout=60)

        assert response.json()["failed"] == 10_000
        assert len(response.content) < 6 * 2**20


@pytest.mark.parametrize("key", ["", "a b", "ä".encode().decode("latin-1"), "x" * 256])
async def test_odd_keys_are_refused(alice: httpx.AsyncClient, key: str) -> None:
    """A key is 1 to 255 visible ASCII characters."""
    response = await alice.post(LINKS, json={"url": URL}, headers=[(b"Idempotency-Key", key.encode("latin-1"))])

    assert fields_at_fault(response) == {"Idempotency-Key"}
