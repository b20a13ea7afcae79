"""Shlink's API is no way around a bound: the shares of owners, sizes, and texts that somebody might send anywhere."""

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from services.links.web.shares import Shares, open_shares
from shared.settings import LinksSettings
from tests.compat.conftest import KeyOf
from tests.compat.shlink import URL, Shlink
from tests.compat.test_bounds import Hold, hold
from tests.compat.test_hostile_texts import TEXTS

__all__ = ["hold"]

SCOPES = ("links:read", "links:write", "stats:read")
CREATE = {"longUrl": URL}
CODE = "/short-urls/mine"
CALLS: list[tuple[str, str, str, dict[str, Any] | None]] = [
    ("creations", "POST", "/short-urls", CREATE),
    ("creations", "GET", f"/short-urls/shorten?apiKey={{key}}&longUrl={quote(URL, safe='')}", None),
    ("edits", "POST", "/short-urls", {**CREATE, "customSlug": "mine"}),
    ("edits", "POST", "/short-urls", {**CREATE, "findIfExists": True}),
    ("edits", "POST", "/short-urls", {**CREATE, "shortCodeLength": 5}),
    ("edits", "GET", CODE, None),
    ("edits", "PATCH", CODE, {"title": "x"}),
    ("edits", "DELETE", CODE, None),
    ("edits", "DELETE", f"{CODE}/visits", None),
    ("edits", "GET", f"{CODE}/redirect-rules", None),
    ("edits", "POST", f"{CODE}/redirect-rules", {"redirectRules": []}),
    ("edits", "PUT", "/tags", {"oldName": "a", "newName": "b"}),
    ("edits", "DELETE", "/tags?tags[]=a", None),
    ("batches", "PUT", "/tags", {"oldName": "a", "newName": "b"}),
    ("batches", "DELETE", "/tags?tags[]=a", None),
    ("lists", "GET", "/short-urls", None),
    ("lists", "GET", "/tags", None),
    ("lists", "GET", "/tags/stats", None),
    ("lists", "GET", "/visits", None),
    ("statistics", "GET", f"{CODE}/visits", None),
    ("statistics", "GET", "/tags/a/visits", None),
    ("statistics", "GET", "/domains/DEFAULT/visits", None),
    ("statistics", "GET", "/visits/non-orphan", None),
]
"""A share, and a call that takes a turn in it."""


@pytest.fixture
def shares(links_settings: LinksSettings) -> Shares:
    """Shares whose waiting is over at once."""
    return open_shares(links_settings.links_pool_size, wait_s=0.05)


@pytest.mark.parametrize(("name", "method", "path", "body"), CALLS, ids=lambda each: str(each)[:40])
async def test_owner_has_one_share(
    foreign: httpx.AsyncClient,
    key_of: KeyOf,
    shares: Shares,
    hold: Hold,  # the fixture
    *,
    name: str,
    method: str,
    path: str,
    body: dict[str, Any] | None,
) -> None:
    """What an owner has under way by the API of this site counts here, too: more of it is 429, and other owners go on."""
    await hold(getattr(shares, name))
    answers = {}
    for owner in ("alice", "bob"):
        caller = Shlink(foreign, await key_of(owner, *SCOPES))
        answers[owner] = (await caller.call(method, path.format(key=caller.key), json=body)).status_code

    assert answers["alice"] == 429
    assert answers["bob"] != 429


QUERIES = {
    "/short-urls": (
        "page", "itemsPerPage", "searchTerm", "tags[]", "tagsMode", "excludeTags[]", "excludeTagsMode", "orderBy",
        "startDate", "endDate", "domain", "apiKeyName", "excludeMaxVisitsReached",
    ),
    "/tags": ("page", "itemsPerPage", "searchTerm", "orderBy"),
    "/visits/non-orphan": ("page", "itemsPerPage", "startDate", "endDate", "excludeBots", "domain"),
    "/visits/orphan": ("type", "page"),
    "/short-urls/mine/visits": ("startDate", "endDate", "domain"),
}  # fmt: skip
MEMBERS = (
    "longUrl", "customSlug", "pathPrefix", "domain", "validSince", "validUntil", "title", "tags", "maxVisits",
    "shortCodeLength", "crawlable", "forwardQuery", "findIfExists",
)  # fmt: skip


def spelled(text: Any) -> str:
    return quote(text, safe="")


@pytest.mark.parametrize("path", QUERIES)
async def test_any_text_in_a_query(foreign: httpx.AsyncClient, key_of: KeyOf, path: str) -> None:
    """No text in a query is an error of this site."""
    for scopes in (SCOPES, ("admin",)):
        caller = Shlink(foreign, await key_of("alice", *scopes))
        await caller.call("POST", "/short-urls", json={**CREATE, "customSlug": "mine"})
        for name in QUERIES[path]:
            for text in TEXTS:
                answer = await caller.call("GET", f"{path}?{name}={spelled(text)}")
                assert answer.status_code in (200, 400, 404), (name, text, answer.text)


async def test_any_text_in_a_path(foreign: httpx.AsyncClient, key_of: KeyOf) -> None:
    """No text in a path is an error of this site."""
    caller = Shlink(foreign, await key_of("alice", *SCOPES))
    for text in TEXTS:
        if len(text) > 4000:
            continue
        for path in ("/short-urls/{}", "/short-urls/{}/visits", "/tags/{}/visits", "/domains/{}/visits", "/{}"):
            answer = await caller.call("GET", path.format(spelled(text)))
            assert answer.status_code in (200, 404), (path, text, answer.text)
        answer = await caller.call("DELETE", f"/tags?tags[]={spelled(text)}")
        assert answer.status_code in (204, 400), (text, answer.text)


ODD: list[Any] = [None, 1, -1, 0, 1.5, 10**30, True, [], {}, [None], [[]], {"a": 1}, ["x"] * 30]


@pytest.mark.parametrize("name", MEMBERS)
async def test_anything_in_a_member(foreign: httpx.AsyncClient, key_of: KeyOf, name: str) -> None:
    """No value of a member, of a creation or an edit, is an error of this site."""
    caller = Shlink(foreign, await key_of("alice", *SCOPES))
    await caller.create(customSlug="mine")
    texts = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in TEXTS]
    for value in [*ODD, *texts, [texts[0]], [texts[5]]]:
        for method, path in (("POST", "/short-urls"), ("PATCH", "/short-urls/mine")):
            answer = await caller.call(method, path, json={**CREATE, name: value})
            assert answer.status_code in (200, 400), (method, value, answer.text)


@pytest.mark.parametrize("value", [*ODD, [{"longUrl": URL, "conditions": [{"type": [], "matchValue": {}}]}]])
async def test_anything_in_the_other_bodies(foreign: httpx.AsyncClient, key_of: KeyOf, value: Any) -> None:
    """No body of rules, tags or redirects is an error of this site."""
    caller = Shlink(foreign, await key_of("root", "admin"))
    await caller.create(customSlug="mine")
    conditions = [{"longUrl": URL, "conditions": [{"type": kind, "matchKey": value, "matchValue": value}]}
                  for kind in ("device", "browser", "language", "query-param", "ip-address", "before-date",
                               "geolocation-country-code", "any-value-query-param")]  # fmt: skip
    bodies: list[tuple[str, str, Any]] = [
        ("POST", "/short-urls/mine/redirect-rules", {"redirectRules": value}),
        *(("POST", "/short-urls/mine/redirect-rules", {"redirectRules": [each]}) for each in conditions),
        ("PUT", "/tags", {"oldName": value, "newName": value}),
        ("PATCH", "/domains/redirects", {"domain": value}),
        ("PATCH", "/domains/redirects", {"domain": "sho.rt", "baseUrlRedirect": value}),
        ("POST", "/short-urls", value),
    ]
    for method, path, body in bodies:
        answer = await caller.call(method, path, json=body)
        assert answer.status_code in (200, 204, 400, 404), (method, path, answer.text)


async def test_body_is_bounded(foreign: httpx.AsyncClient, key_of: KeyOf) -> None:
    """A body that is larger than any link is not read to its end."""
    caller = Shlink(foreign, await key_of("alice", *SCOPES))
    for sent in ({"json": {"longUrl": "a" * 400_000}}, {"data": {"longUrl": "a" * 70_000}}):
        answer = await caller.call("POST", "/short-urls", **sent)
        assert answer.status_code == 413
