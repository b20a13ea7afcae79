"""HEAD wherever GET is: the same status and headers without the body, and no address is another one's with a slash."""

from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.conftest import Database
from tests.links.conftest import ClientOf
from tests.serving import client_of

LINKS = "/api/v1/links"
VARYING = {"date", "x-request-id"}


@pytest.fixture
async def admin(client_with: ClientOf) -> httpx.AsyncClient:
    """A client that may ask everything; there is a link `py`."""
    client = await client_with("root", "admin")
    await client.post(LINKS, json={"url": "https://www.python.org/", "code": "py"})
    return client


async def paths(client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    """Every path of the API with its methods, with the link's code in it."""
    described = (await client.get("/openapi.json")).json()["paths"]
    return {path.replace("{code}", "py").replace("{key_id}", "none"): methods for path, methods in described.items()}


async def test_head_is_get_without_its_body(admin: httpx.AsyncClient) -> None:
    """Each route that answers GET answers HEAD alike, links or not, right or wrong; what has no GET refuses both alike."""
    asked = [
        *await paths(admin),
        "/docs",
        "/openapi.json",
        "/livez",
        "/readyz",
        f"{LINKS}/none",
        f"{LINKS}/py/qr?format=png",
    ]
    asked += [f"{LINKS}?limit=0", f"{LINKS}/py/availability?domain=x.example", "/api/v1/nothing", f"{LINKS}/"]
    for path in asked:
        got, head = await admin.get(path), await admin.head(path)

        assert head.status_code == got.status_code, path
        assert head.content == b""
        assert _headers(head) == _headers(got), path
    assert (await admin.head(f"{LINKS}/py", headers={"Authorization": "none"})).status_code == 401


def _headers(response: httpx.Response) -> dict[str, str]:
    headers = {name: value for name, value in response.headers.items() if name not in VARYING}
    # A stream has no length, and a HEAD no transfer.
    headers.pop("transfer-encoding", None)
    return headers


async def test_head_of_an_export_reads_one_page(alice: httpx.AsyncClient, database: Database) -> None:
    """However many links there are, what is not sent is not read; here a policy counts the statements on links."""
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute(
        """
        INSERT INTO links (domain, code, owner, url)
        SELECT 'sho.rt', 'c' || n, 'alice', 'https://x.example/' || n FROM generate_series(1, 250) AS n;
        CREATE SEQUENCE statements;
        GRANT USAGE ON statements TO tinyurl_links;
        CREATE POLICY counting ON links TO tinyurl_links USING ((SELECT nextval('statements')) > 0);
        ALTER TABLE links ENABLE ROW LEVEL SECURITY
        """
    )
    head = await alice.head("/api/v1/exports")
    after_head = await conn.fetchval("SELECT last_value FROM statements")
    got = await alice.get("/api/v1/exports")
    after_get = await conn.fetchval("SELECT last_value FROM statements")
    await conn.close()

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert len(got.text.splitlines()) == 251
    assert (after_head, after_get - after_head) == (1, 3)


async def test_allow_names_head(admin: httpx.AsyncClient) -> None:
    """A method that a path has not is told those that it has, HEAD among them where there is GET."""
    for path, methods in (await paths(admin)).items():
        allowed = {method.upper() for method in methods} | ({"HEAD"} if "get" in methods else set())
        refused = await admin.put(path, json={})

        assert refused.status_code == 405, path
        assert set(refused.headers["allow"].split(", ")) >= allowed, path


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"])
async def test_slash_too_many_is_no_other_address(admin: httpx.AsyncClient, service: Path, method: str) -> None:
    """No path is answered under its name with a slash, nor is anybody sent elsewhere: 404, which says what is wrong."""
    internal = [f"/internal/{name}" for name in ("clicks", "claims", "unlocks")]
    known = [*await paths(admin), "/docs", "/openapi.json", "/livez", "/readyz", *internal]
    async with client_of(service) as stranger:
        for path in known:
            for client in (admin, stranger):
                answer = await client.request(method, f"{path}/")

                assert answer.status_code == 404, path
                assert "location" not in answer.headers
                assert answer.headers["content-type"] == "application/problem+json"
                if method != "HEAD" and path.startswith("/api/"):
                    assert answer.json()["detail"].endswith(f"there is: {path}")
