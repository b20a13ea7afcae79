"""Kutt's API: npm's client as it is, and what its clients send and read beyond that."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time
from typing import Any

import httpx
import pytest
from kutt import kutt as library

from services.links.clicks.enrichment import Enricher
from shared.postgres import Connection
from tests.compat.conftest import KeyOf
from tests.compat.npm import npm_clients, run_npm
from tests.dashboard.browser import ONE_BY_ONE
from tests.dashboard.site import DashboardSite
from tests.links.click_data import DAY_S, GOOGLEBOT, click, take
from tests.links.conftest import ClientOf, enricher, owner

__all__ = ["enricher", "npm_clients", "owner"]

LINKS = "/api/v2/links"
URL = "https://www.example.com"


@pytest.fixture
async def kutt(client_with: ClientOf, foreign: httpx.AsyncClient, key_of: KeyOf) -> httpx.AsyncClient:
    foreign.headers["X-API-KEY"] = await key_of("alice")
    return foreign


async def create(kutt: httpx.AsyncClient, **members: object) -> dict[str, Any]:
    answer = await kutt.post(LINKS, json={"target": URL, **members})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


@ONE_BY_ONE
def test_npm_client(site: DashboardSite, npm_clients: Path) -> None:  # the fixture
    """npm's `kutt` creates, reuses, lists, edits and deletes links, and reads each answer and error as it expects it."""
    key = site.key("kutt", "links:read", "links:write")
    told = json.loads(run_npm("node", "kutt.mjs", folder=npm_clients, SITE=site.url, KEY=key))
    made, plain = told["made"], told["plain"]

    assert made["link"] == f"{site.url}/fair"
    assert (made["target"], made["description"]) == ("https://www.example.com/page", "For the fair")
    assert (made["password"], plain["password"], made["visit_count"], made["domain"]) == (True, False, 0, None)
    assert plain["target"] == URL
    assert told["again"]["id"] == plain["id"]
    assert (told["list"]["total"], told["list"]["limit"], told["list"]["skip"]) == (2, 1, 0)
    assert [link["id"] for link in told["list"]["data"]] == [plain["id"]]
    assert (told["updated"]["target"], told["updated"]["description"]) == ("https://www.example.com/new", "Moved")
    assert (told["statsError"] is not None, told["kept"]) == (True, 2)
    assert (told["removed"], told["left"]) == ("Link has been deleted successfully.", 1)
    assert (told["user"]["email"], told["healthy"]) == ("kutt", True)
    assert told["taken"] == "Custom URL is already in use."
    assert told["wrongKey"] == "Unauthorized."
    assert told["domain"]


async def test_link_is_ours(kutt: httpx.AsyncClient, alice: httpx.AsyncClient) -> None:
    """A link made by a Kutt client is a link like others: its description is the notes, its span a time."""
    made = await create(kutt, customurl="fair", description="For the fair", expire_in="42 days", password="secret")  # noqa: S106
    link = (await alice.get("/api/v1/links/fair")).json()
    left = datetime.fromisoformat(link["expires_at"]) - datetime.now(UTC)

    assert (link["url"], link["notes"], link["has_password"]) == (f"{URL}/", "For the fair", True)
    assert timedelta(days=41, hours=23) < left < timedelta(days=42)
    assert made["expire_in"].endswith("Z")
    assert made["link"] == "https://sho.rt/fair"
    assert made["address"] == "fair"
    assert made["target"] == URL


@pytest.mark.parametrize(
    ("span", "seconds"),
    [
        ("1m", 60),
        ("2 minutes", 120),
        ("8h", 28_800),
        ("1.5 hrs", 5400),
        ("1w", 604_800),
        ("1 Year", 31_557_600),
        ("90000", 90),
    ],
)
async def test_spans(kutt: httpx.AsyncClient, span: str, seconds: int) -> None:
    """A span is read as npm's package `ms` reads it; without a unit it is milliseconds."""
    made = await create(kutt, expire_in=span)
    left = (datetime.fromisoformat(made["expire_in"]) - datetime.now(UTC)).total_seconds()

    assert seconds - 30 < left <= seconds


REFUSED = [
    ({"target": ""}, "Target is missing."),
    ({"target": 7}, "target must be a text."),
    ({"target": "javascript:alert(1)"}, "URL is not valid: it must begin with http:// or https://."),
    ({"target": "https://sho.rt/abc"}, "URL is not valid: it must not be a short link of this site."),
    ({"customurl": "a?b"}, None),
    ({"customurl": "api"}, "Custom URL is not valid: it is a reserved word."),
    ({"customurl": "taken"}, "Custom URL is already in use."),
    ({"password": "ab"}, "Password length must be between 3 and 64."),
    ({"expire_in": "soon"}, "Expire format is invalid. Valid examples: 1m, 8h, 42 days."),
    ({"expire_in": "59s"}, "Expire time should be more than 1 minute."),
    ({"expire_in": "999999999999999 years"}, "Expire time is too long."),
    ({"reuse": "perhaps"}, "Reuse must be boolean."),
    ({"domain": "evil.example"}, "You can't use this domain: it must be one of go.example.org, sho.rt."),
]


@pytest.mark.parametrize(("members", "message"), REFUSED, ids=lambda each: str(each)[:30])
async def test_refusals(kutt: httpx.AsyncClient, members: dict[str, object], message: str | None) -> None:
    """What cannot be is 400 with one sentence, which clients show."""
    await create(kutt, customurl="taken")
    answer = await kutt.post(LINKS, json={"target": URL, **members})

    assert answer.status_code == 400
    assert answer.json().keys() == {"error"}
    assert message is None or answer.json()["error"] == message


async def test_name_of_a_member_is_no_template(kutt: httpx.AsyncClient) -> None:
    """A member of any name that has too many entries is 400, with its name as it was sent."""
    answer = await kutt.post(LINKS, json={"target": URL, "{x}%s": list(range(101))})

    assert (answer.status_code, answer.json()) == (400, {"error": "{x}%s must not have more than 100 entries."})


async def test_form_and_unknown_members(kutt: httpx.AsyncClient) -> None:
    """A body may be a form; a target without a scheme gets one, and members that nobody knows are ignored."""
    answer = await kutt.post(LINKS, data={"target": "www.example.com", "reuse": "false", "unknown": "1"})

    assert answer.status_code == 201
    assert answer.json()["target"] == "http://www.example.com"


async def test_second_domain(kutt: httpx.AsyncClient) -> None:
    """A link may be on another domain of the site, which is listed for the user; the first one is null."""
    made = await create(kutt, customurl="there", domain="go.example.org")
    user = (await kutt.get("/api/v2/users")).json()

    assert (made["domain"], made["link"]) == ("go.example.org", "https://go.example.org/there")
    assert [each["address"] for each in user["domains"]] == ["go.example.org"]
    assert user["email"] == "alice"
    assert user["apikey"] is None
    assert (await create(kutt, domain="sho.rt"))["domain"] is None


async def test_edit_leaves_the_rest(kutt: httpx.AsyncClient, alice: httpx.AsyncClient) -> None:
    """An edit changes what it names: a password stays without being sent, and so does what is sent empty or as dots."""
    made = await create(kutt, customurl="fair", description="For the fair", password="secret")  # noqa: S106
    path = f"{LINKS}/{made['id']}"
    edited = await kutt.patch(
        path, json={"target": f"{URL}/new", "address": "fair", "password": "•••", "description": ""}
    )

    assert edited.status_code == 200, edited.text
    assert edited.json()["id"] == made["id"]
    link = (await alice.get("/api/v1/links/fair")).json()
    assert (link["url"], link["notes"], link["has_password"]) == (f"{URL}/new", "For the fair", True)
    assert (await kutt.patch(path, json={"address": "other"})).status_code == 400
    assert (await kutt.patch(path, json={"address": "fair"})).json() == {"error": "Should at least update one field."}


async def test_links_of_others_are_not_found(kutt: httpx.AsyncClient, alice: httpx.AsyncClient, key_of: KeyOf) -> None:
    """Another owner neither lists, edits nor deletes a link, whose id is easy to guess."""
    made = await create(kutt, customurl="fair")
    bob = {"X-API-KEY": await key_of("bob")}
    path = f"{LINKS}/{made['id']}"
    for answer in (await kutt.patch(path, json={"target": URL}, headers=bob), await kutt.delete(path, headers=bob)):
        assert (answer.status_code, answer.json()) == (404, {"error": "Link was not found."})

    assert (await kutt.get(LINKS, headers=bob)).json() == {"total": 0, "limit": 10, "skip": 0, "data": []}
    assert (await alice.get("/api/v1/links/fair")).status_code == 200
    for wrong, status in (("8f0c", 400), ("8f0c3d5e-1c2b-4d3e-9f00-0123456789ab", 404), (made["id"][:-1] + "f", 404)):
        assert (await kutt.delete(f"{LINKS}/{wrong}")).status_code == status
    assert (await kutt.delete(f"{path}/stats")).status_code in (404, 405)
    assert (await kutt.delete(path)).status_code == 200
    assert (await kutt.delete(path)).status_code == 404


async def test_pages(kutt: httpx.AsyncClient) -> None:
    """Lists are by number, the newest first, at most 50 at once, and found by a search."""
    for number in range(4):
        await create(kutt, customurl=f"code{number}", description="special" if number == 2 else None)

    async def codes(**asked: str) -> tuple[int, list[str]]:
        body = (await kutt.get(LINKS, params=asked)).json()
        return body["total"], [link["address"] for link in body["data"]]

    assert await codes(limit="2") == (4, ["code3", "code2"])
    assert await codes(limit="2", skip="3", all="false") == (4, ["code0"])
    assert await codes(limit="x", skip="-1") == (4, ["code3", "code2", "code1", "code0"])
    assert await codes(search="SPECIAL") == (1, ["code2"])
    assert (await kutt.get(LINKS, params={"limit": "500"})).json()["limit"] == 50
    assert (await kutt.get(LINKS, params={"skip": "1000001"})).status_code == 400
    assert (await kutt.get(LINKS, params={"search": "a\0"})).status_code == 400


async def test_keys_and_scopes(kutt: httpx.AsyncClient, key_of: KeyOf) -> None:
    """No key and a wrong one are 401 in Kutt's words; a key without the scope is 403."""
    for key in ("", "tu_wrong"):
        answer = await kutt.get(LINKS, headers={"X-API-KEY": key})
        assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized."})
    reader, writer = await key_of("alice", "links:read"), await key_of("alice", "links:write")

    assert (await kutt.post(LINKS, json={"target": URL}, headers={"X-API-KEY": reader})).status_code == 403
    assert (await kutt.get(LINKS, headers={"X-API-KEY": writer})).status_code == 403
    assert (await kutt.get("/api/v2/health", headers={"X-API-KEY": ""})).text == "OK"


def test_python_library(site: DashboardSite) -> None:
    """PyPI's `kutt` sends forms, and reads what is made, changed, listed, counted and deleted."""
    asked = {"apikey": site.key("pykutt"), "host_url": f"{site.url}{LINKS}"}
    made = library.submit(url=URL, customurl="py-fair", description="For the fair", expire_in="2 days", **asked)
    link = made["data"]

    assert (made["code"], link["link"], link["description"]) == (201, f"{site.url}/py-fair", "For the fair")
    again = library.submit(url=URL, customurl="py-fair", **asked)
    assert (again["code"], again["data"]) == (400, {"error": "Custom URL is already in use."})
    changed = library.update(id=link["id"], url=f"{URL}/new", address="py-fair", description="Moved", **asked)
    assert (changed["code"], changed["data"]["target"], changed["data"]["description"]) == (200, f"{URL}/new", "Moved")
    assert library.links(**asked)["data"]["data"] == [changed["data"]]
    counted = library.stats(id=link["id"], **asked)
    assert (counted["code"], counted["data"]["address"]) == (200, "py-fair")
    assert library.delete(id=link["id"], **asked)["code"] == 200
    assert library.links(**asked)["data"]["total"] == 0


async def test_stats(kutt: httpx.AsyncClient, key_of: KeyOf, owner: Connection, enricher: Enricher) -> None:
    """Clicks of people are counted in four spans of time, with what they came with; those of bots are not."""
    made = await create(kutt, customurl="fair")
    now, link_id = time(), await owner.fetchval("SELECT id FROM links")
    people = [click(link_id, at=now - days * DAY_S) for days in (0, 2, 20)]
    await take(owner, enricher, [*people, click(link_id, agent=GOOGLEBOT)])
    key = {"X-API-KEY": await key_of("alice", "stats:read")}
    answer = await kutt.get(f"{LINKS}/{made['id']}/stats", headers=key)
    stats = answer.json()

    assert answer.status_code == 200, answer.text
    assert [stats[span]["total"] for span in ("lastDay", "lastWeek", "lastMonth", "lastYear")] == [1, 2, 3, 3]
    assert [len(stats[span]["views"]) for span in ("lastDay", "lastWeek", "lastMonth", "lastYear")] == [24, 7, 30, 12]
    for span in ("lastDay", "lastWeek", "lastMonth", "lastYear"):
        assert sum(stats[span]["views"]) == stats[span]["total"]
        assert stats[span]["stats"].keys() == {"browser", "os", "country", "referrer"}
        assert {"name": "windows", "value": stats[span]["total"]} in stats[span]["stats"]["os"]
    assert stats["visit_count"] == 3
    assert (await kutt.get(f"{LINKS}/{made['id']}/stats")).status_code == 403
