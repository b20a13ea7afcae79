"""API keys: what each allows, how soon a revoked one fails, and that nothing of a secret is kept or told."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest

from services.links.keys.rows import create_key, generate_key, select_key, split_key
from shared.api import SCOPES
from shared.postgres import Connection
from tests.conftest import Database
from tests.links.conftest import ClientOf, fields_at_fault

LINKS = "/api/v1/links"
KEYS = "/api/v1/keys"
URL = "https://www.example.com/"


@pytest.mark.parametrize("scope", SCOPES)
async def test_scope_allows_its_own_routes_only(client_with: ClientOf, scope: str) -> None:
    """Each scope opens its routes; `admin` opens all."""
    client = await client_with("o", scope)
    is_admin = scope == "admin"
    reads = [await client.get(LINKS), await client.get(f"{LINKS}/x")]
    writes = [
        await client.post(LINKS, json={"url": URL}),
        await client.patch(f"{LINKS}/x", json={}),
        await client.delete(f"{LINKS}/x"),
    ]
    admin = [
        await client.get(KEYS),
        await client.post(KEYS, json={"owner": "x"}),
        await client.delete(f"{KEYS}/x"),
    ]

    assert all((response.status_code != 403) == (is_admin or scope == "links:read") for response in reads)
    assert all((response.status_code != 403) == (is_admin or scope == "links:write") for response in writes)
    assert all((response.status_code != 403) == is_admin for response in admin)


async def test_requests_without_a_valid_key_look_alike(service: object, alice: httpx.AsyncClient) -> None:
    """No key, an unknown one and a wrong secret get the same 401, for every route."""
    _, _, unknown = generate_key()
    text = alice.headers["authorization"].removeprefix("Bearer ")
    wrong = text[:-1] + ("a" if text[-1] != "a" else "b")
    answers = set()
    for value in (
        "",
        f"Bearer {unknown}",
        f"Bearer {wrong}",
        "Bearer x",
        "Bearer",
        f"Basic {text}",
        text,
        f"Bearer {text}x",
    ):
        for method, path in (("GET", LINKS), ("POST", LINKS), ("PATCH", f"{LINKS}/x"), ("GET", KEYS)):
            headers = {"Authorization": value}
            response = await alice.request(
                method, path, json={"url": URL} if method != "GET" else None, headers=headers
            )
            answers.add((response.status_code, response.text, response.headers["www-authenticate"]))

    assert len(answers) == 1
    assert answers.pop()[0] == 401


async def test_revoked_key_fails_within_a_second(client_with: ClientOf) -> None:
    """A key in constant use fails at the latest one second after its revocation was answered."""
    admin, busy = await client_with("root", "admin"), await client_with("o")
    key_id = busy.headers["authorization"].split("_")[1]
    assert (await busy.get(LINKS)).status_code == 200
    assert (await admin.delete(f"{KEYS}/{key_id}")).status_code == 204
    revoked_at = time.monotonic()
    while (await busy.get(LINKS)).status_code == 200:
        assert time.monotonic() - revoked_at < 1.0

    assert (await busy.post(LINKS, json={"url": URL})).status_code == 401
    assert (await admin.delete(f"{KEYS}/{key_id}")).status_code == 204


async def test_key_expires(client_with: ClientOf, database: Database, alice: httpx.AsyncClient) -> None:
    """A key that is believed still expires on time."""
    conn = await asyncpg.connect(database.links_url)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    _, text = await create_key(conn, owner="o", scopes=["links:read"], expires_at=soon)
    await conn.close()
    headers = {"Authorization": f"Bearer {text}"}

    assert (await alice.get(LINKS, headers=headers)).status_code == 200
    async with asyncio.timeout(5):
        while (await alice.get(LINKS, headers=headers)).status_code == 200:
            await asyncio.sleep(0.02)
    assert datetime.now(UTC) >= soon


async def test_key_is_shown_once_and_stored_as_a_hash(client_with: ClientOf, database: Database) -> None:
    """The answer to a creation has the key; no list and no table has it again."""
    admin = await client_with("root", "admin")
    created = await admin.post(KEYS, json={"owner": "team", "name": "CI", "scopes": ["links:read"]})
    key = created.json()["key"]
    listed = await admin.get(KEYS)
    conn = await asyncpg.connect(database.owner_url)
    rows = str(await conn.fetch("SELECT * FROM api_keys"))
    await conn.close()

    assert created.status_code == 201
    assert (
        created.json().items() >= {"owner": "team", "name": "CI", "scopes": ["links:read"], "revoked_at": None}.items()
    )
    secret = key.split("_")[2]
    assert secret not in listed.text
    assert secret not in rows
    assert [item["name"] for item in listed.json()["items"]] == ["CI", None]
    assert (await admin.get(LINKS, headers={"Authorization": f"Bearer {key}"})).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [{"owner": ""}, {"owner": "a b"}, {"owner": "x" * 65}, {"scopes": []}, {"scopes": ["root"]}, {"scopes": "admin"}]
    + [{"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at": 5}, {"name": "a\u202eb"}, {"key": "tu_x"}, {"id": "x"}],
    ids=str,
)
async def test_bad_key_is_refused(client_with: ClientOf, fields: dict[str, object]) -> None:
    """What cannot be a key's owner, scope, name or end is named."""
    admin = await client_with("root", "admin")
    (name,) = fields

    assert {
        field.split(".")[0] for field in fields_at_fault(await admin.post(KEYS, json={"owner": "o", **fields}))
    } == {name}


@pytest.mark.parametrize("key_id", ["x", "%00", "a" * 500])
async def test_key_that_is_none(client_with: ClientOf, key_id: str) -> None:
    """The revocation of a key that does not exist, or cannot, is 404."""
    admin = await client_with("root", "admin")

    assert (await admin.delete(f"{KEYS}/{key_id}")).status_code == 404


async def test_the_last_admin_key_is_revoked_with_force_alone(client_with: ClientOf) -> None:
    """While another valid admin key is there any may go; the last one stays until `force` is given."""
    first, second = await client_with("root", "admin"), await client_with("other", "admin")
    ids = [each.headers["authorization"].split("_")[1] for each in (first, second)]
    soon = datetime.now(UTC) + timedelta(seconds=2)
    (
        await first.post(KEYS, json={"owner": "late", "scopes": ["admin"], "expires_at": soon.isoformat()})
    ).raise_for_status()
    gone = await first.delete(f"{KEYS}/{ids[1]}")
    async with asyncio.timeout(30):
        while datetime.now(UTC) <= soon:
            await asyncio.sleep(0.05)
    kept = await first.delete(f"{KEYS}/{ids[0]}")
    again = await first.delete(f"{KEYS}/{ids[1]}")
    forced = await first.delete(f"{KEYS}/{ids[0]}", params={"force": "true"})

    assert gone.status_code == 204
    assert (kept.status_code, kept.json()["type"]) == (409, "urn:tinyurl:problem:last-admin-key")
    assert "?force=true" in kept.json()["detail"]
    assert again.status_code == 204
    assert forced.status_code == 204


async def test_two_admins_cannot_revoke_each_other_at_once(client_with: ClientOf, database: Database) -> None:
    """Of two revocations at the same moment, each of the other's key, one is refused."""
    first, second = await client_with("root", "admin"), await client_with("other", "admin")
    ids = [each.headers["authorization"].split("_")[1] for each in (first, second)]
    # Both keys are looked up, so that neither revocation is refused for want of a valid key alone.
    for each in (first, second):
        assert (await each.get(KEYS)).status_code == 200
    answers = await asyncio.gather(first.delete(f"{KEYS}/{ids[1]}"), second.delete(f"{KEYS}/{ids[0]}"))
    statuses = sorted(answer.status_code for answer in answers)

    assert statuses[0] == 204
    assert statuses[1] in (401, 409)


async def test_rotating_a_key_loses_nothing(client_with: ClientOf) -> None:
    """Links belong to the owner, not to the key that made them."""
    admin, old = await client_with("root", "admin"), await client_with("team")
    code = (await old.post(LINKS, json={"url": URL})).json()["code"]
    new = (await admin.post(KEYS, json={"owner": "team"})).json()["key"]
    await admin.delete(f"{KEYS}/{old.headers['authorization'].split('_')[1]}")

    assert (await admin.get(f"{LINKS}/{code}", headers={"Authorization": f"Bearer {new}"})).status_code == 200


async def test_keys_are_random_and_found_by_their_id(conn: Connection) -> None:
    """A key's text splits into the id of its row and a secret of 256 bits that no other key has."""
    made = [await create_key(conn, owner="o", scopes=["admin"]) for _ in range(20)]
    secrets = set()
    for row, text in made:
        parts = split_key(text)
        assert parts is not None
        assert parts[0] == row.id
        assert await select_key(conn, parts[0]) == row
        secrets.add(parts[1])

    assert len(secrets) == 20
    assert {len(secret) for secret in secrets} == {43}


@pytest.mark.parametrize(
    "text", ["", "tu", "tu__", "tu_a_b", "xx_" + "a" * 12 + "_" + "b" * 43, "tu_" + "a" * 12 + "_" + "é" * 43]
)
def test_text_that_is_no_key(text: str) -> None:
    """What has not the form of a key is not looked up."""
    assert split_key(text) is None
