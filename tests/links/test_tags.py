"""The lists beside the links: tags with their numbers, domains, and the key in use."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from services.links.links.lists import select_tags
from shared.api import SCOPES
from shared.postgres import Connection
from tests.links.conftest import ClientOf, fields_at_fault

LINKS = "/api/v1/links"
TAGS = "/api/v1/tags"
URL = "https://www.example.com/"


async def tags_of(client: httpx.AsyncClient, **params: str) -> list[tuple[str, int]]:
    response = await client.get(TAGS, params=params)
    assert response.status_code == 200, response.text
    return [(item["tag"], item["links"]) for item in response.json()["items"]]


async def test_tags_are_counted(alice: httpx.AsyncClient, client_with: ClientOf) -> None:
    """Each tag of the caller's links is there once, by name, with the number of links that still have it."""
    bob, admin = await client_with("bob"), await client_with("root", "admin")
    for client, code, tags in ((alice, "one", ["b", "a"]), (alice, "two", ["b", "Zürich"]), (bob, "his", ["b", "c"])):
        await client.post(LINKS, json={"url": URL, "code": code, "tags": tags})

    assert await tags_of(alice) == [("Zürich", 1), ("a", 1), ("b", 2)]
    assert await tags_of(bob) == [("b", 1), ("c", 1)]
    assert await tags_of(admin) == [("Zürich", 1), ("a", 1), ("b", 3), ("c", 1)]
    assert await tags_of(admin, owner="bob") == [("b", 1), ("c", 1)]
    assert (await bob.get(TAGS, params={"owner": "alice"})).status_code == 403
    await alice.patch(f"{LINKS}/one", json={"tags": ["a"]})
    await alice.delete(f"{LINKS}/two")
    assert await tags_of(alice) == [("a", 1)]


async def test_search_for_tags_is_literal(alice: httpx.AsyncClient) -> None:
    """`q` finds a part of a tag in any case, and no character of it is a pattern."""
    await alice.post(LINKS, json={"url": URL, "tags": ["50% off", "50_off", "Café", "back\\slash"]})

    assert [tag for tag, _ in await tags_of(alice, q="50")] == ["50% off", "50_off"]
    assert [tag for tag, _ in await tags_of(alice, q="0%")] == ["50% off"]
    assert [tag for tag, _ in await tags_of(alice, q="_O")] == ["50_off"]
    assert [tag for tag, _ in await tags_of(alice, q="AFÉ")] == ["Café"]
    assert [tag for tag, _ in await tags_of(alice, q="k\\s")] == ["back\\slash"]
    assert await tags_of(alice, q="'; DROP TABLE links; --") == []


async def test_tags_are_limited(conn: Connection) -> None:
    """Of more tags than the limit the first by name are listed."""
    await conn.execute(
        """
        INSERT INTO links (domain, code, owner, url, tags)
        SELECT 'sho.rt', 'c' || n, 'alice', 'https://example.com/', ARRAY['t' || n] FROM generate_series(1, 30) AS n
        """
    )

    assert [tag for tag, _ in await select_tags(conn, owner="alice", search=None, limit=3)] == ["t1", "t10", "t11"]


@pytest.mark.parametrize("query", ["q=", "q=%00", "owner=%00", "limit=5"])
async def test_bad_parameter_is_named(alice: httpx.AsyncClient, query: str) -> None:
    """A parameter that is wrong or unknown is refused by its name."""
    assert fields_at_fault(await alice.get(f"{TAGS}?{query}")) == {query.partition("=")[0]}


async def test_domains_begin_with_the_default(alice: httpx.AsyncClient) -> None:
    """The domains are those of the settings, the default one first."""
    assert (await alice.get("/api/v1/domains")).json() == {"items": ["sho.rt", "go.example.org"]}


async def test_lists_need_the_scope(client_with: ClientOf) -> None:
    """Tags and domains are for keys that read links."""
    client = await client_with("alice", "links:write", "stats:read")

    assert [(await client.get(path)).status_code for path in (TAGS, "/api/v1/domains")] == [403, 403]


@pytest.mark.parametrize("scope", SCOPES)
async def test_each_key_may_ask_what_it_is(client_with: ClientOf, scope: str) -> None:
    """Any valid key is told its owner, scopes and id, and nothing of its secret."""
    client = await client_with("alice", scope)
    _, key_id, secret = client.headers["authorization"].split("_")
    answer = await client.get("/api/v1/keys/current")

    assert answer.status_code == 200
    assert answer.json().items() >= {"id": key_id, "owner": "alice", "scopes": [scope], "revoked_at": None}.items()
    assert set(answer.json()) == {"id", "owner", "name", "scopes", "created_at", "expires_at", "revoked_at"}
    assert secret not in answer.text


async def test_no_key_is_told_nothing(service: object, alice: httpx.AsyncClient, client_with: ClientOf) -> None:
    """Without a key, or with an expired one, the question is 401."""
    admin = await client_with("root", "admin")
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    made = await admin.post("/api/v1/keys", json={"owner": "alice", "name": "short", "expires_at": soon})
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    while (answer := await alice.get("/api/v1/keys/current", headers=headers)).status_code == 200:
        assert answer.json()["name"] == "short"

    assert answer.status_code == 401
    assert (await alice.get("/api/v1/keys/current", headers={"Authorization": ""})).status_code == 401
