"""The links of the API: what is created can be read, listed, edited and deleted, by its owner and nobody else."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest

from tests.conftest import Database
from tests.links.conftest import ClientOf, fields_at_fault

LINKS = "/api/v1/links"
URL = "https://www.example.com/"


async def changes(database: Database) -> list[str]:
    """The codes in the change feed, in order."""
    conn = await asyncpg.connect(database.links_url)
    try:
        return [row["code"] for row in await conn.fetch("SELECT code FROM link_changes ORDER BY version")]
    finally:
        await conn.close()


async def test_created_link_is_answered_whole(alice: httpx.AsyncClient) -> None:
    """A creation answers 201 with the link as it is stored, where to find it, and its version."""
    response = await alice.post(LINKS, json={"url": "https://WWW.example.com:443/ä"})
    link = response.json()

    assert response.status_code == 201
    assert response.headers["location"] == f"{LINKS}/{link['code']}?domain=sho.rt"
    assert response.headers["etag"] == '"1"'
    assert link["url"] == "https://www.example.com/%C3%A4"
    assert link["short_url"] == f"https://sho.rt/{link['code']}"
    assert len(link["code"]) == 7
    expected: dict[str, object] = {"domain": "sho.rt", "owner": "alice", "title": None, "tags": [], "status_code": 302}
    expected |= {"clicks": 0, "cache_control": None, "enabled": True, "forward_query": False, "version": 1}
    assert link.items() >= expected.items()
    assert datetime.fromisoformat(link["created_at"]).tzinfo is not None


async def test_all_fields_come_back(alice: httpx.AsyncClient) -> None:
    """Every field that can be set is stored and read back."""
    sent = {
        "url": URL,
        "code": "All_fields-1",
        "domain": "go.example.org",
        "title": "A title: Ünïcödé 🎉",
        "tags": ["a", "b c"],
        "status_code": 308,
        "cache_control": 3600,
        "valid_from": "2030-01-01T00:00:00Z",
        "expires_at": "2031-01-01T01:00:00+01:00",
        "expired_url": "https://www.example.com/over",
        "enabled": False,
        "forward_query": True,
    }
    created = (await alice.post(LINKS, json=sent)).json()
    read = await alice.get(f"{LINKS}/All_fields-1", params={"domain": "go.example.org"})

    assert read.json() == created
    assert created.items() >= {**sent, "expires_at": "2031-01-01T00:00:00Z"}.items()
    assert created["short_url"] == "https://go.example.org/All_fields-1"


async def test_generated_codes_are_no_changes_and_custom_ones_are(alice: httpx.AsyncClient, database: Database) -> None:
    """Only a custom code can have been looked for before, so only its creation is announced."""
    await alice.post(LINKS, json={"url": URL})
    await alice.post(LINKS, json={"url": URL, "code": "mine"})

    assert await changes(database) == ["mine"]


async def test_one_of_two_creations_of_a_code_wins(alice: httpx.AsyncClient, client_with: ClientOf) -> None:
    """However many create one custom code at once: one 201, and 409 for the others."""
    bob = await client_with("bob")
    for n in range(5):
        racing = [client.post(LINKS, json={"url": URL, "code": f"race{n}"}) for client in (alice, bob) * 10]
        statuses = [response.status_code for response in await asyncio.gather(*racing)]

        assert sorted(statuses) == [201] + [409] * 19


async def test_codes_are_case_sensitive(alice: httpx.AsyncClient) -> None:
    """`Code` and `code` are two links."""
    assert (await alice.post(LINKS, json={"url": URL, "code": "Code"})).status_code == 201
    assert (await alice.post(LINKS, json={"url": URL, "code": "code"})).status_code == 201
    assert (await alice.post(LINKS, json={"url": URL, "code": "code"})).json()[
        "type"
    ] == "urn:tinyurl:problem:code-taken"


async def test_same_code_on_two_domains_is_two_links(alice: httpx.AsyncClient) -> None:
    """A code belongs to its domain."""
    for domain, url in (("sho.rt", URL + "1"), ("go.example.org", URL + "2")):
        assert (await alice.post(LINKS, json={"url": url, "code": "both", "domain": domain})).status_code == 201

    assert (await alice.get(f"{LINKS}/both")).json()["url"] == URL + "1"
    assert (await alice.get(f"{LINKS}/both?domain=go.example.org")).json()["url"] == URL + "2"


RESERVED = ["api", "API", "docs", "dashboard", "internal", "metrics", "livez", "readyz"]
BAD_CODES = [
    "",
    "a/b",
    "..",
    "%2e%2e",
    "a b",
    "a;b",
    "a\x00",
    "a\n",
    "a" * 256,
    "robots.txt",
    "sitemap.xml",
    "yourls-api.php",
    "rest/v3",
    "share+",
    ".well-known",
    "a\u202eb",
    7,
]


@pytest.mark.parametrize("code", RESERVED + BAD_CODES)
async def test_codes_that_cannot_be_are_refused(alice: httpx.AsyncClient, code: object) -> None:
    """Reserved words, and what is no code, are named as the field at fault."""
    assert fields_at_fault(await alice.post(LINKS, json={"url": URL, "code": code})) == {"code"}


PAST = "2020-01-01T00:00:00Z"
BAD_FIELDS = [
    {"url": 5},
    {"url": None},
    {"url": "javascript:alert(1)"},
    {"url": "https://sho.rt/abc"},
    {"expired_url": "https://user@example.com/"},
    {"domain": "other.example"},
    {"title": "right\u202eto left"},
    {"title": "zero\u200bwidth"},
    {"title": "a\x00b"},
    {"title": "x" * 513},
    {"tags": ["a\u2066b"]},
    {"tags": [""]},
    {"tags": "a"},
    {"tags": [str(n) for n in range(21)]},
    {"status_code": 303},
    {"status_code": "302"},
    {"cache_control": -1},
    {"cache_control": 1.5},
    {"cache_control": True},
    {"cache_control": 10**12},
    {"enabled": "yes"},
    {"enabled": None},
    {"forward_query": 1},
    {"expires_at": PAST},
    {"expires_at": "1970-01-01T00:00:00Z"},
    {"expires_at": "9999-12-31T23:59:59Z"},
    {"expires_at": "9999-12-31T23:59:59-01:00"},
    {"expires_at": "2030-01-01T00:00:00"},
    {"expires_at": "2030-02-30T00:00:00Z"},
    {"expires_at": "2030-01-01"},
    {"expires_at": "tomorrow"},
    {"expires_at": 1893456000},
    {"expires_at": 1893456000000},
    {"expires_at": 0},
    {"valid_from": "2030-01-01T00:00:00"},
    {"owner": "bob"},
    {"clicks": 5},
    {"version": 7},
    {"created_at": PAST},
    {"short_url": "x"},
    {"nonsense": 1},
]


@pytest.mark.parametrize("fields", BAD_FIELDS, ids=str)
async def test_bad_field_is_named(alice: httpx.AsyncClient, fields: dict[str, object]) -> None:
    """What is wrong with a field, or is no field at all, is said of that field, on creation and on edit."""
    (name,) = fields
    assert {field.split(".")[0] for field in fields_at_fault(await alice.post(LINKS, json={"url": URL, **fields}))} == {
        name
    }
    await alice.post(LINKS, json={"url": URL, "code": "edited"})
    assert {field.split(".")[0] for field in fields_at_fault(await alice.patch(f"{LINKS}/edited", json=fields))} == {
        name
    }


async def test_every_bad_field_is_named_at_once(alice: httpx.AsyncClient) -> None:
    """The client learns of all that is wrong in one answer."""
    response = await alice.post(LINKS, json={"url": "ftp://a.com/", "expired_url": "x", "expires_at": PAST})

    assert fields_at_fault(response) == {"url", "expired_url", "expires_at"}
    assert fields_at_fault(await alice.post(LINKS, json={"status_code": 1, "x": 1})) == {"url", "status_code", "x"}
    times = {"valid_from": "2031-01-01T00:00:00Z", "expires_at": "2030-01-01T00:00:00Z"}
    assert fields_at_fault(await alice.post(LINKS, json={"url": URL, **times})) == {"valid_from"}


async def test_edit_changes_what_is_sent_and_nothing_else(alice: httpx.AsyncClient, database: Database) -> None:
    """A PATCH sets the fields that it has, null takes away, the version goes up, and the feed hears of it."""
    created = (await alice.post(LINKS, json={"url": URL, "code": "e", "title": "t", "tags": ["x"]})).json()
    edited = await alice.patch(f"{LINKS}/e", json={"url": URL + "new", "title": None})

    assert edited.status_code == 200
    assert edited.headers["etag"] == '"2"'
    changed = {"url": URL + "new", "title": None, "version": 2, "updated_at": edited.json()["updated_at"]}
    assert edited.json() == {**created, **changed}
    assert edited.json()["updated_at"] > created["updated_at"]
    assert await changes(database) == ["e", "e"]


async def test_edit_that_changes_nothing_is_no_change(alice: httpx.AsyncClient, database: Database) -> None:
    """The same values again leave the version, and announce nothing."""
    await alice.post(LINKS, json={"url": URL, "code": "same"})
    for body in ({}, {"url": URL}, {"enabled": True, "tags": []}):
        assert (await alice.patch(f"{LINKS}/same", json=body)).headers["etag"] == '"1"'

    assert await changes(database) == ["same"]


async def test_expired_link_can_still_be_edited(alice: httpx.AsyncClient, database: Database) -> None:
    """That a link has ended is no error of an edit that does not touch its end."""
    await alice.post(LINKS, json={"url": URL, "code": "old"})
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute("UPDATE links SET expires_at = now() - interval '1 day'")
    await conn.close()

    assert (await alice.patch(f"{LINKS}/old", json={"title": "was"})).status_code == 200
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert (await alice.patch(f"{LINKS}/old", json={"expires_at": later})).status_code == 200


async def test_if_match_keeps_two_editors_apart(alice: httpx.AsyncClient) -> None:
    """An edit or deletion of another version than the named one is refused with 412 and changes nothing."""
    await alice.post(LINKS, json={"url": URL, "code": "m"})
    stale, fresh = {"If-Match": '"7"'}, {"If-Match": '"9", "1"'}
    refused = await alice.patch(f"{LINKS}/m", json={"title": "x"}, headers=stale)

    assert refused.status_code == 412
    assert refused.json()["type"] == "urn:tinyurl:problem:version-mismatch"
    assert (await alice.delete(f"{LINKS}/m", headers=stale)).status_code == 412
    assert (await alice.delete(f"{LINKS}/m", headers={"If-Match": 'W/"1"'})).status_code == 412
    assert (await alice.get(f"{LINKS}/m")).json()["title"] is None
    assert (await alice.patch(f"{LINKS}/m", json={"title": "x"}, headers=fresh)).status_code == 200
    assert (await alice.delete(f"{LINKS}/m", headers={"If-Match": "*"})).status_code == 204


async def test_one_of_two_edits_of_a_version_wins(alice: httpx.AsyncClient) -> None:
    """Of many edits of one version at once exactly one is done."""
    await alice.post(LINKS, json={"url": URL, "code": "v"})
    edits = [alice.patch(f"{LINKS}/v", json={"title": str(n)}, headers={"If-Match": '"1"'}) for n in range(10)]
    statuses = [response.status_code for response in await asyncio.gather(*edits)]

    assert sorted(statuses) == [200] + [412] * 9


async def test_deleted_code_is_gone_for_good(alice: httpx.AsyncClient, database: Database) -> None:
    """A deletion answers 204, then the link is 404 for the API, and its code is never given again."""
    await alice.post(LINKS, json={"url": URL, "code": "d", "title": "secret"})
    deleted = await alice.delete(f"{LINKS}/d")

    assert (deleted.status_code, deleted.content) == (204, b"")
    for response in (
        await alice.get(f"{LINKS}/d"),
        await alice.patch(f"{LINKS}/d", json={}),
        await alice.delete(f"{LINKS}/d"),
    ):
        assert response.status_code == 404
    assert (await alice.post(LINKS, json={"url": URL, "code": "d"})).status_code == 409
    assert (await alice.get(LINKS)).json()["items"] == []
    conn = await asyncpg.connect(database.links_url)
    row = await conn.fetchrow("SELECT url, title FROM links WHERE code = 'd'")
    await conn.close()
    assert row is not None
    assert (row["url"], row["title"]) == ("", None)
    assert await changes(database) == ["d", "d"]


async def test_links_of_others_look_like_none(alice: httpx.AsyncClient, client_with: ClientOf) -> None:
    """Another owner gets 404 for reading, editing and deleting; the same owner's other keys and an admin see the link."""
    await alice.post(LINKS, json={"url": URL, "code": "hers"})
    bob, hers, admin = await client_with("bob"), await client_with("alice"), await client_with("root", "admin")
    unknown = await bob.get(f"{LINKS}/no-such-link")

    for response in (
        await bob.get(f"{LINKS}/hers"),
        await bob.patch(f"{LINKS}/hers", json={"title": "x"}),
        await bob.delete(f"{LINKS}/hers"),
    ):
        assert (response.status_code, response.json()) == (404, unknown.json())
    assert (await bob.get(LINKS)).json()["items"] == []
    assert (await bob.get(LINKS, params={"owner": "alice"})).status_code == 403
    assert (await hers.patch(f"{LINKS}/hers", json={"title": "x"})).status_code == 200
    assert [link["code"] for link in (await admin.get(LINKS)).json()["items"]] == ["hers"]
    assert (await admin.delete(f"{LINKS}/hers")).status_code == 204


@pytest.mark.parametrize("path", ["%00", "a%00", "x?domain=%00", "a%0a", "%ff", "a" * 500])
async def test_path_that_names_no_link(alice: httpx.AsyncClient, path: str) -> None:
    """What cannot be a code or a domain is 404 for every method, and never reaches the database."""
    for response in (
        await alice.get(f"{LINKS}/{path}"),
        await alice.patch(f"{LINKS}/{path}", json={}),
        await alice.delete(f"{LINKS}/{path}"),
    ):
        assert (response.status_code, response.json()["type"]) == (404, "urn:tinyurl:problem:not-found")


async def test_find_existing_answers_with_the_same_link(alice: httpx.AsyncClient, client_with: ClientOf) -> None:
    """`find_existing` finds the caller's own link of the same target and fields, and makes it if there is none."""
    bob = await client_with("bob")
    wanted = {"url": URL, "tags": ["a"], "find_existing": True}
    first = await alice.post(LINKS, json=wanted)
    again = await alice.post(LINKS, json={**wanted, "url": "HTTPS://www.EXAMPLE.com"})

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    for other in (
        {"tags": ["b"]},
        {"title": "x"},
        {"status_code": 301},
        {"domain": "go.example.org"},
        {"cache_control": 0},
    ):
        assert (await alice.post(LINKS, json={**wanted, **other})).status_code == 201
    assert (await bob.post(LINKS, json=wanted)).status_code == 201
    code = first.json()["code"]
    assert (await alice.post(LINKS, json={**wanted, "code": code})).status_code == 200
    assert (await alice.post(LINKS, json={**wanted, "code": code, "title": "x"})).status_code == 409
    assert (await alice.post(LINKS, json={"url": URL, "tags": ["a"]})).status_code == 201


async def test_find_existing_at_once_makes_one_link(alice: httpx.AsyncClient) -> None:
    """Many searches for a link that is not there yet make one."""
    racing = [alice.post(LINKS, json={"url": URL, "find_existing": True}) for _ in range(20)]
    responses = await asyncio.gather(*racing)

    assert sorted(response.status_code for response in responses) == [200] * 19 + [201]
    assert len({response.json()["code"] for response in responses}) == 1


async def test_method_that_a_path_does_not_have(alice: httpx.AsyncClient) -> None:
    """405 and 404 are problems like all others."""
    refused = await alice.put(LINKS, json={})
    unknown = await alice.get("/api/v1/nothing")

    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")
    assert refused.json()["type"] == "urn:tinyurl:problem:method-not-allowed"
    assert unknown.json()["type"] == "urn:tinyurl:problem:not-found"
