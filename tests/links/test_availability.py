"""The availability of a code: the answer is what a creation would find."""

import httpx
import pytest

from tests.links.conftest import ClientOf, fields_at_fault

LINKS = "/api/v1/links"
URL = "https://www.example.com/"


async def reason_of(client: httpx.AsyncClient, code: str, **params: str) -> object:
    """The reason for which a code is not available."""
    response = await client.get(f"{LINKS}/{code}/availability", params=params)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["available"] == (answer["reason"] is None)
    return answer["reason"]


async def test_free_code_can_be_created(alice: httpx.AsyncClient) -> None:
    """A free code is said to be free, on its own domain alone, and is taken once it is created and after its end."""
    answer = (await alice.get(f"{LINKS}/mine/availability")).json()
    assert answer == {"code": "mine", "domain": "sho.rt", "available": True, "reason": None}
    assert (await alice.post(LINKS, json={"url": URL, "code": "mine"})).status_code == 201

    assert await reason_of(alice, "mine") == "taken"
    assert await reason_of(alice, "Mine") is None
    assert await reason_of(alice, "mine", domain="GO.example.org") is None
    await alice.delete(f"{LINKS}/mine")
    assert await reason_of(alice, "mine") == "taken"


async def test_code_of_another_owner_is_taken(alice: httpx.AsyncClient, client_with: ClientOf) -> None:
    """A code belongs to one link, whoever asks; either scope of links may ask, and no other."""
    await alice.post(LINKS, json={"url": URL, "code": "hers"})

    assert await reason_of(await client_with("bob", "links:read"), "hers") == "taken"
    assert await reason_of(await client_with("bob", "links:write"), "hers") == "taken"
    refused = await (await client_with("bob", "stats:read")).get(f"{LINKS}/hers/availability")
    assert refused.status_code == 403
    assert "links:read or links:write" in refused.json()["detail"]


@pytest.mark.parametrize(
    "code", ["api", "DOCS", "robots.txt", "favicon.ico", ".well-known", "docs%2Fa", "rest+", "Share"]
)
async def test_reserved_code(alice: httpx.AsyncClient, code: str) -> None:
    """A word that the site needs is reserved."""
    assert await reason_of(alice, code) == "reserved"


@pytest.mark.parametrize("code", ["%00", "a%20b", "a%2Fb", "a/b", "a%252Fb", "a%2F..", "%ff", "a" * 256, "'--", ""])
async def test_malformed_code(alice: httpx.AsyncClient, code: str) -> None:
    """What can be no code is answered like any other question, and never looked up."""
    assert await reason_of(alice, code) == "malformed"


@pytest.mark.parametrize("domain", ["other.example", "", "%00"])
async def test_unknown_domain_is_named(alice: httpx.AsyncClient, domain: str) -> None:
    """A domain that is not of this site is refused by its name, as for a creation."""
    assert fields_at_fault(await alice.get(f"{LINKS}/x/availability?domain={domain}")) == {"domain"}
