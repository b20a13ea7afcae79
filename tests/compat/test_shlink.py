"""Shlink's API: every operation and every problem, as its clients send, compare and read them."""

import re
from typing import Any

import httpx
import pytest

from services.links.compat.shlink.routes import OFFERS
from services.links.compat.shlink.tag_rows import MOST_RETAGGED
from shared.postgres import Connection
from tests.compat.conftest import KeyOf
from tests.compat.shlink import URL, Shlink
from tests.links.conftest import links, owner  # noqa: F401  # fixtures

NO_VISITS = {"total": 0, "nonBots": 0, "bots": 0}
NOWHERE = {"baseUrlRedirect": None, "regular404Redirect": None, "invalidShortUrlRedirect": None}
ONE_PAGE = {"currentPage": 1, "pagesCount": 1, "itemsPerPage": 1, "itemsInCurrentPage": 0, "totalItems": 0}
ORIGIN = {"origin": "https://app.shlink.io"}


@pytest.fixture
async def shlink(foreign: httpx.AsyncClient, key_of: KeyOf) -> Shlink:
    return Shlink(foreign, await key_of("alice", "links:read", "links:write", "stats:read"))


@pytest.fixture
async def admin(foreign: httpx.AsyncClient, key_of: KeyOf) -> Shlink:
    return Shlink(foreign, await key_of("root", "admin"))


async def test_short_url_is_created_and_read(shlink: Shlink) -> None:
    """A link has all members of Shlink's, its target as it was sent, and a date without fractions."""
    made = await shlink.create(customSlug="mine", title=" A page ", tags=["b", "Foo Bar", "<b>x</b>", "b"])
    date = made.pop("dateCreated")

    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", date)
    assert made == {
        "shortUrl": "https://sho.rt/mine",
        "shortCode": "mine",
        "longUrl": URL,
        "tags": ["b", "foo-bar", "x"],
        "meta": {"validSince": None, "validUntil": None, "maxVisits": None},
        "domain": None,
        "title": "A page",
        "crawlable": False,
        "forwardQuery": True,
        "visitsSummary": NO_VISITS,
        "hasRedirectRules": False,
    }
    assert await shlink.read("/short-urls/mine") == {**made, "dateCreated": date}
    assert await shlink.read("/short-urls/mine?domain=DEFAULT") == {**made, "dateCreated": date}
    assert await shlink.listed() == [{**made, "dateCreated": date}]


async def test_new_link_forwards_the_query_as_shlink_does(shlink: Shlink, alice: httpx.AsyncClient) -> None:
    """The visitor's value wins unless the client says that nothing is forwarded."""
    await shlink.create(customSlug="on")
    await shlink.create(customSlug="off", forwardQuery=False)
    modes = {}
    for code in ("on", "off"):
        link = (await alice.get(f"/api/v1/links/{code}")).json()
        modes[code] = (link["forward_query"], link["visitor_query_wins"], link["url"])

    assert modes == {"on": (True, True, "https://example.com/"), "off": (False, False, "https://example.com/")}


@pytest.mark.parametrize("prefix", ["/rest/v1", "/rest/v2", "/rest/v3"])
async def test_versions_answer_the_same(shlink: Shlink, prefix: str) -> None:
    """Older clients call older versions, which answer as the newest one does."""
    shlink.prefix = prefix
    made = await shlink.create(domain="go.example.org", crawlable=True, maxVisits=3)

    assert (made["domain"], made["crawlable"], made["meta"]["maxVisits"]) == ("go.example.org", True, 3)
    assert await shlink.listed(domain="go.example.org:443") == [made]
    assert await shlink.listed(domain="DEFAULT") == []
    assert (await shlink.read("/health"))["status"] == "pass"


async def test_forms_are_bodies_too(shlink: Shlink) -> None:
    """Urlencoded and multipart bodies have the same members, with `tags[]` for a list, and unknown members are ignored."""
    form = {"longUrl": URL, "tags[]": ["one", "two"], "maxVisits": "2", "crawlable": "true", "other": "x"}
    made = await shlink.read("/short-urls?unknown=1", method="POST", data=form)
    parts = [("longUrl", (None, URL)), ("tags[]", (None, "one")), ("tags[]", (None, "two")), ("x", (None, "y"))]
    also = await shlink.read("/short-urls", method="POST", files=parts)
    many = await shlink.create(unknown={"a": [1]}, validateUrl=True)

    assert (made["tags"], made["meta"]["maxVisits"], made["crawlable"]) == (["one", "two"], 2, True)
    assert also["tags"] == ["one", "two"]
    assert many["longUrl"] == URL


@pytest.mark.parametrize(
    ("members", "wrong"),
    [
        ({"longUrl": "no-url"}, ["longUrl"]),
        ({"longUrl": None}, ["longUrl"]),
        ({"longUrl": "javascript:alert(1)"}, ["longUrl"]),
        ({"longUrl": "https://sho.rt/x"}, ["longUrl"]),
        ({"longUrl": "http://localhost/"}, ["longUrl"]),
        ({"customSlug": "a:b"}, ["customSlug"]),
        ({"customSlug": "docs"}, ["customSlug"]),
        ({"domain": "other.example"}, ["domain"]),
        ({"domain": 7}, ["domain"]),
        ({"validSince": "soon"}, ["validSince"]),
        ({"validSince": 1}, ["validSince"]),
        ({"validUntil": "2020-01-01"}, ["validUntil"]),
        ({"maxVisits": 0}, ["maxVisits"]),
        ({"maxVisits": "many"}, ["maxVisits"]),
        ({"shortCodeLength": 3}, ["shortCodeLength"]),
        ({"pathPrefix": "a:b"}, ["pathPrefix"]),
        ({"tags": "x" * 65}, ["tags"]),
        ({"tags": [1]}, ["tags"]),
        ({"crawlable": "perhaps"}, ["crawlable"]),
        ({"longUrl": "no-url", "customSlug": "a:b"}, ["customSlug"]),
    ],
)
async def test_wrong_member_is_named(shlink: Shlink, members: dict[str, Any], wrong: list[str]) -> None:
    """What cannot be is refused by Shlink's problem, which names the members as the client does, and creates nothing."""
    body = {"longUrl": URL, **members}
    await shlink.refused("invalid-data", 400, "POST", "/short-urls", {"invalidElements": wrong}, json=body)

    assert await shlink.listed() == []


async def test_taken_slug_and_tombstone(shlink: Shlink) -> None:
    """A slug that is or was in use is taken, as a deleted link keeps its code."""
    await shlink.create(customSlug="mine")
    again = {"longUrl": URL, "customSlug": "mine"}
    await shlink.refused("non-unique-slug", 400, "POST", "/short-urls", {"customSlug": "mine"}, json=again)
    answer = await shlink.call("DELETE", "/short-urls/mine")
    assert (answer.status_code, answer.content) == (204, b"")

    await shlink.refused("non-unique-slug", 400, "POST", "/short-urls", {"customSlug": "mine"}, json=again)
    await shlink.refused("short-url-not-found", 404, "GET", "/short-urls/mine", {"shortCode": "mine"})
    elsewhere = {**again, "domain": "go.example.org"}
    assert (await shlink.read("/short-urls", method="POST", json=elsewhere))["domain"] == "go.example.org"
    members = {"customSlug": "mine", "domain": "go.example.org"}
    await shlink.refused("non-unique-slug", 400, "POST", "/short-urls", members, json=elsewhere)


async def test_slug_is_spelled_and_codes_are_drawn_as_asked(shlink: Shlink) -> None:
    """Blanks of a slug are dashes; a drawn code has the length and the prefix that are asked for, and else ours."""
    slug = await shlink.create(customSlug="  my own slug ")
    short = await shlink.create(shortCodeLength=4)
    prefixed = await shlink.create(pathPrefix="docs-", shortCodeLength=6)
    usual = await shlink.create()

    assert slug["shortCode"] == "my-own-slug"
    assert len(short["shortCode"]) == 4
    assert re.fullmatch(r"docs-[0-9A-Za-z]{6}", prefixed["shortCode"])
    assert len(usual["shortCode"]) == 7


async def test_slug_has_slashes_where_the_domain_allows_them(shlink: Shlink, links: Connection) -> None:  # noqa: F811
    """A slash of a slug is a dash, but on a domain whose codes have segments; there its paths name the link as it is."""
    plain = await shlink.create(customSlug="a/b")
    await links.execute("INSERT INTO domains (domain, multi_segment) VALUES ('go.example.org', true)")
    made = await shlink.create(customSlug="a/b", domain="go.example.org")
    prefixed = await shlink.create(pathPrefix="handbook/", domain="go.example.org")

    assert (plain["shortCode"], made["shortCode"]) == ("a-b", "a/b")
    assert made["shortUrl"] == "https://go.example.org/a/b"
    assert re.fullmatch(r"handbook/[0-9A-Za-z]{7}", prefixed["shortCode"])
    assert await shlink.read("/short-urls/a/b?domain=go.example.org") == made
    assert (await shlink.read("/short-urls/a/b/redirect-rules?domain=go.example.org"))["redirectRules"] == []


async def test_code_of_any_script_is_read_as_it_is(shlink: Shlink) -> None:
    """A code is shown as one reads it, and found by a path in either spelling; clients do not encode it."""
    made = await shlink.create(customSlug="größe.1")

    assert (made["shortCode"], made["shortUrl"]) == ("größe.1", "https://sho.rt/größe.1")
    assert await shlink.read("/short-urls/größe.1") == await shlink.read("/short-urls/gr%C3%B6%C3%9Fe.1") == made


async def test_existing_link_is_found(shlink: Shlink, foreign: httpx.AsyncClient, key_of: KeyOf) -> None:
    """`findIfExists` compares target, slug, limit, dates, domain and tags, and no title; another owner's link is not found."""
    same = {"tags": ["a", "b"], "maxVisits": 5, "validUntil": "2100-01-01T00:00:00+02:00"}
    made = await shlink.create(title="One", **same)
    bob = Shlink(foreign, await key_of("bob"))

    assert await shlink.create(findIfExists=True, **{**same, "tags": ["b", "a"]}) == made
    assert await shlink.create(findIfExists=True, customSlug=made["shortCode"], **same) == made
    others: list[dict[str, Any]] = [
        {"tags": ["a"]},
        {"maxVisits": 6},
        {"validUntil": None},
        {"domain": "go.example.org"},
        {"longUrl": "https://b.example.com"},
    ]
    for other in others:
        assert await shlink.create(findIfExists=True, **{**same, **other}) != made
    assert (await bob.create(findIfExists=True, **same))["shortCode"] != made["shortCode"]
    taken = {"longUrl": "https://c.example.com", "customSlug": made["shortCode"], "findIfExists": True}
    slug = {"customSlug": made["shortCode"]}
    await shlink.refused("non-unique-slug", 400, "POST", "/short-urls", slug, json=taken)


@pytest.mark.parametrize("changes", [{"enabled": False}, {"password": "secret"}], ids=str)
async def test_link_that_leads_nobody_is_not_found(
    shlink: Shlink, alice: httpx.AsyncClient, changes: dict[str, object]
) -> None:
    """`findIfExists` finds no link that is switched off or asks for a password: Shlink has none like it."""
    made = await shlink.create()
    await alice.patch(f"/api/v1/links/{made['shortCode']}", json=changes)

    assert (await shlink.create(findIfExists=True))["shortCode"] != made["shortCode"]


@pytest.mark.parametrize("domain", ["xn--\u00e9", ":80", "."])
async def test_domain_that_cannot_be_is_not_the_first_one(shlink: Shlink, domain: str) -> None:
    """A text that is no domain names none: no link is created, shown or deleted in the place of the one that is meant."""
    made = await shlink.create(customSlug="mine")
    body = {"longUrl": URL, "domain": domain}
    await shlink.refused("invalid-data", 400, "POST", "/short-urls", {"invalidElements": ["domain"]}, json=body)
    for method in ("GET", "PATCH", "DELETE"):
        unknown = {"shortCode": "mine", "domain": domain}
        await shlink.refused("short-url-not-found", 404, method, "/short-urls/mine", unknown, params={"domain": domain})

    assert await shlink.listed(domain=domain) == []
    assert await shlink.listed() == [made]


async def test_edit_changes_what_is_there_and_null_clears(shlink: Shlink) -> None:
    """Absent members stay; null clears title, dates and limit; tags stay in their order."""
    made = await shlink.create(title="One", tags=["x"], maxVisits=5, validSince="2020-05-01", validUntil="2100-01-01")
    path = f"/short-urls/{made['shortCode']}"
    tagged = await shlink.read(
        path, method="PATCH", json={"tags": ["two", "one"], "longUrl": "https://b.example.com?a=ü"}
    )
    cleared = await shlink.read(
        path, method="PATCH", json={"title": None, "validSince": None, "validUntil": None, "maxVisits": None}
    )

    assert made["meta"]["validSince"] == "2020-05-01T00:00:00+00:00"
    assert tagged == {**made, "tags": ["two", "one"], "longUrl": "https://b.example.com?a=ü"}
    assert cleared == {**tagged, "title": None, "meta": {"validSince": None, "validUntil": None, "maxVisits": None}}
    assert await shlink.read(path) == cleared
    wrong = {"invalidElements": ["validUntil"]}
    await shlink.refused("invalid-data", 400, "PATCH", path, wrong, json={"validUntil": "2020-01-01"})
    await shlink.refused("short-url-not-found", 404, "PATCH", "/short-urls/none", {"shortCode": "none"}, json={})


async def test_edit_of_all_that_was_shown_changes_nothing(
    shlink: Shlink,
    alice: httpx.AsyncClient,
    links: Connection,  # noqa: F811  # the fixture
) -> None:
    """A client that sends back what it was shown keeps our own spelling of tags, times and query modes, and an ended link."""
    fields = {
        "url": URL,
        "code": "ours",
        "tags": ["Docs"],
        "forward_query": True,
        "expires_at": "2100-01-01T00:00:00.5Z",
    }
    assert (await alice.post("/api/v1/links", json=fields)).status_code == 201
    await links.execute("UPDATE links SET expires_at = '2020-01-01 00:00:00.5Z'")
    before = (await alice.get("/api/v1/links/ours")).json()
    shown = await shlink.read("/short-urls/ours")
    sent = {name: shown[name] for name in ("longUrl", "title", "tags", "crawlable", "forwardQuery")} | shown["meta"]
    assert await shlink.read("/short-urls/ours", method="PATCH", json=sent) == shown
    assert (await alice.get("/api/v1/links/ours")).json() == before
    edited = await shlink.read(
        "/short-urls/ours", method="PATCH", json={**sent, "tags": ["Docs", "New One"], "title": "T"}
    )

    assert (edited["tags"], edited["title"]) == (["Docs", "new-one"], "T")
    assert (await alice.get("/api/v1/links/ours")).json()["visitor_query_wins"] is False


async def test_list_has_pages(shlink: Shlink) -> None:
    """Ten items are a page unless the client says how many; all is one page; past the end there is nothing."""
    made = [(await shlink.create(customSlug=f"c{number:02}"))["shortCode"] for number in range(12)]
    first = (await shlink.read("/short-urls"))["shortUrls"]
    last = (await shlink.read("/short-urls?page=3&itemsPerPage=5"))["shortUrls"]
    beyond = (await shlink.read("/short-urls?page=9&itemsPerPage=5"))["shortUrls"]
    everything = (await shlink.read("/short-urls?itemsPerPage=-1"))["shortUrls"]

    assert [each["shortCode"] for each in first["data"]] == made[:1:-1]
    assert first["pagination"] == {
        "currentPage": 1, "pagesCount": 2, "itemsPerPage": 10, "itemsInCurrentPage": 10, "totalItems": 12,
    }  # fmt: skip
    assert [each["shortCode"] for each in last["data"]] == made[1::-1]
    assert last["pagination"]["itemsInCurrentPage"] == 2
    assert (beyond["data"], beyond["pagination"]["pagesCount"], beyond["pagination"]["totalItems"]) == ([], 3, 12)
    assert len(everything["data"]) == everything["pagination"]["itemsPerPage"] == 12
    for page in ("0", "-1", "x"):
        await shlink.refused("invalid-data", 400, "GET", f"/short-urls?page={page}", {"invalidElements": ["page"]})


async def test_all_is_ten_thousand_items(shlink: Shlink, links: Connection) -> None:  # noqa: F811  # the fixture
    """A page has at most so many items, also where all are asked for; the next ones have a number."""
    await links.execute(
        """
        INSERT INTO links (domain, code, owner, url, tags)
        SELECT 'sho.rt', 'c' || number, 'alice', 'https://www.example.com/', ARRAY['t' || number]
        FROM generate_series(1, 10005) AS number
        """
    )
    first = (await shlink.read("/short-urls?itemsPerPage=-1"))["shortUrls"]
    second = (await shlink.read("/short-urls?itemsPerPage=-1&page=2"))["shortUrls"]
    tags = (await shlink.read("/tags?page=2"))["tags"]

    assert len(first["data"]) == first["pagination"]["itemsPerPage"] == 10_000
    assert first["pagination"]["pagesCount"] == 2
    assert [each["shortCode"] for each in second["data"]] == [f"c{number}" for number in range(5, 0, -1)]
    assert (len(tags["data"]), tags["pagination"]["totalItems"]) == (5, 10_005)


async def test_list_is_filtered(shlink: Shlink) -> None:
    """Search, tags of both kinds, dates, ends and orders restrict and sort as in Shlink."""
    await shlink.create(customSlug="one", title="Zebra", tags=["a", "b"], longUrl="https://x.example.com/needle")
    await shlink.create(
        customSlug="two", title="Ape", tags=["a"], longUrl="https://y.example.com", domain="go.example.org"
    )
    await shlink.create(
        customSlug="needle-code", tags=["c", "needle-tag"], maxVisits=1, longUrl="https://z.example.com"
    )
    today = (await shlink.listed())[0]["dateCreated"]

    assert await shlink.codes() == ["needle-code", "two", "one"]
    assert await shlink.codes(searchTerm="NEEDLE") == ["needle-code", "one"]
    assert await shlink.codes(searchTerm="zebra") == ["one"]
    assert await shlink.codes(searchTerm="needle-tag") == ["needle-code"]
    assert await shlink.codes(searchTerm="go.example") == ["two"]
    assert await shlink.codes(**{"tags[]": ["a", "c"]}) == ["needle-code", "two", "one"]
    assert await shlink.codes(**{"tags[]": ["a", "b"], "tagsMode": "all"}) == ["one"]
    assert await shlink.codes(tags="b") == ["one"]
    assert await shlink.codes(**{"excludeTags[]": ["b", "c"]}) == ["two"]
    assert await shlink.codes(**{"excludeTags[]": ["a", "b"], "excludeTagsMode": "all"}) == ["needle-code", "two"]
    assert await shlink.codes(startDate=today, endDate=today, itemsPerPage=-1) != []
    assert await shlink.codes(startDate="2100-01-01") == []
    assert await shlink.codes(endDate="2020-01-01T00:00:00+01:00") == []
    for offset in ("+02:00", "+0200", "%2B0200", "Z"):
        answer = await shlink.call("GET", f"/short-urls?startDate=2100-01-01T00:00:00{offset}")
        assert answer.json()["shortUrls"]["data"] == [], offset
    assert await shlink.codes(orderBy="shortCode-ASC") == ["needle-code", "one", "two"]
    assert await shlink.codes(orderBy="title") == ["two", "one", "needle-code"]
    assert await shlink.codes(orderBy="longUrl-DESC") == ["needle-code", "two", "one"]
    for name in ("dateCreated", "visits", "nonBotVisits"):
        assert await shlink.codes(orderBy=f"{name}-ASC") == ["one", "two", "needle-code"]
    wrong = {
        "tagsMode": "none",
        "excludeTagsMode": "x",
        "orderBy": "size-ASC",
        "startDate": "soon",
        "itemsPerPage": "x",
    }
    for name, value in wrong.items():
        members = {"invalidElements": [name]}
        await shlink.refused("invalid-data", 400, "GET", "/short-urls", members, params={name: value})


async def test_ended_links_can_be_left_out(shlink: Shlink, links: Connection) -> None:  # noqa: F811  # the fixture
    """Links without visits left, and links whose time is over, are listed unless `true` says otherwise."""
    for code in ("plain", "used", "over"):
        await shlink.create(customSlug=code, maxVisits=1 if code == "used" else None)
    await links.execute("INSERT INTO link_claims (link_id, used) SELECT id, 1 FROM links WHERE code = 'used'")
    await links.execute("UPDATE links SET expires_at = '2020-01-01Z' WHERE code = 'over'")

    assert await shlink.codes(excludeMaxVisitsReached="true") == ["over", "plain"]
    assert await shlink.codes(excludePastValidUntil="true") == ["used", "plain"]
    assert await shlink.codes(excludePastValidUntil="1", excludeMaxVisitsReached="false") == ["over", "used", "plain"]


async def test_tags_are_counted_renamed_and_taken_away(shlink: Shlink, alice: httpx.AsyncClient) -> None:
    """Tags are those of the links, by name; a rename keeps capitals; links stay when their tags go."""
    for tags in (["foo", "bar"], ["bar"], ["baz"]):
        await shlink.create(tags=tags)
    version = (await alice.get("/api/v1/links")).json()["items"][0]["version"]
    stats = (await shlink.read("/tags/stats?orderBy=shortUrlsCount-DESC&itemsPerPage=2"))["tags"]
    assert (await shlink.read("/tags"))["tags"]["data"] == ["bar", "baz", "foo"]
    assert stats["data"][0] == {"tag": "bar", "shortUrlsCount": 2, "visitsSummary": NO_VISITS}
    assert stats["pagination"]["pagesCount"] == 2
    assert (await shlink.read("/tags?searchTerm=BA&page=0"))["tags"]["data"] == ["bar", "baz"]
    assert await shlink.read("/tags", 204, "PUT", json={"oldName": "baz", "newName": "bazRenamed"}) is None
    conflict = {"oldName": "foo", "newName": "bar"}
    await shlink.refused("tag-conflict", 409, "PUT", "/tags", conflict, json=conflict)
    await shlink.refused("tag-not-found", 404, "PUT", "/tags", {"tag": "x"}, json={"oldName": "x", "newName": "y"})
    await shlink.refused("invalid-data", 400, "PUT", "/tags", {"invalidElements": ["newName"]}, json={"oldName": "foo"})
    await shlink.refused("invalid-data", 400, "GET", "/tags?orderBy=x", {"invalidElements": ["orderBy"]})
    assert (await shlink.read("/tags"))["tags"]["data"] == ["bar", "bazRenamed", "foo"]
    assert (await alice.get("/api/v1/links")).json()["items"][0]["version"] == version + 1
    assert await shlink.read("/tags?tags[]=bar&tags[]=none&tags%5B%5D=bazRenamed", 204, "DELETE") is None

    assert (await shlink.read("/tags"))["tags"]["data"] == ["foo"]
    assert [each["tags"] for each in await shlink.listed()] == [[], [], ["foo"]]


async def test_tag_of_too_many_links_stays(shlink: Shlink, links: Connection) -> None:  # noqa: F811  # the fixture
    """A tag changes at as many links in one request as a batch has; of more, nothing changes."""
    await links.execute(
        """
        INSERT INTO links (domain, code, owner, url, tags)
        SELECT 'sho.rt', 'c' || number, 'alice', 'https://www.example.com/', '{many}'
        FROM generate_series(1, $1::integer) AS number
        """,
        MOST_RETAGGED + 1,
    )
    rename = await shlink.call("PUT", "/tags", json={"oldName": "many", "newName": "others"})
    removal = await shlink.call("DELETE", "/tags?tags[]=many")

    assert (rename.status_code, removal.status_code) == (422, 422)
    assert "10,000 links" in rename.json()["detail"]
    await shlink.call("DELETE", "/short-urls/c1")
    assert (await shlink.call("PUT", "/tags", json={"oldName": "many", "newName": "others"})).status_code == 204
    assert (await shlink.read("/tags"))["tags"]["data"] == ["others"]


async def test_domains_and_their_redirects(shlink: Shlink, admin: Shlink) -> None:
    """The domains are those of the site; only an admin sees and changes where they lead; unknown ones are not created."""
    domains = (await shlink.read("/domains"))["domains"]
    assert domains == {
        "data": [
            {"domain": "sho.rt", "isDefault": True, "redirects": NOWHERE},
            {"domain": "go.example.org", "isDefault": False, "redirects": NOWHERE},
        ],
        "defaultRedirects": NOWHERE,
    }
    body = {"domain": "go.example.org", "baseUrlRedirect": "https://a.example.com/"}
    changed = await admin.read("/domains/redirects", method="PATCH", json=body)
    unknown = {"domain": "new.example.org", "baseUrlRedirect": "https://a.example.com/"}
    await admin.refused(
        "invalid-data", 400, "PATCH", "/domains/redirects", {"invalidElements": ["domain"]}, json=unknown
    )
    for name, value in (("regular404Redirect", URL), ("baseUrlRedirect", "x"), ("invalidShortUrlRedirect", "x")):
        wrong = {"domain": "sho.rt", name: value}
        await admin.refused("invalid-data", 400, "PATCH", "/domains/redirects", {"invalidElements": [name]}, json=wrong)
    both = {"domain": "go.example.org", **changed, "invalidShortUrlRedirect": "https://b.example.com/"}

    assert changed == {**NOWHERE, "baseUrlRedirect": "https://a.example.com/"}
    found = await admin.read("/domains/redirects", method="PATCH", json=both)
    assert found == {**changed, "invalidShortUrlRedirect": "https://b.example.com/"}
    assert (await admin.read("/domains"))["domains"]["data"][1]["redirects"] == found
    assert (await shlink.read("/domains"))["domains"]["data"][1]["redirects"] == NOWHERE
    cleared = await admin.read(
        "/domains/redirects", method="PATCH", json={"domain": "go.example.org", "baseUrlRedirect": None}
    )
    assert cleared == {**found, "baseUrlRedirect": None}
    assert (await shlink.call("PATCH", "/domains/redirects", json=body)).status_code == 403


async def test_link_is_created_by_get(shlink: Shlink) -> None:
    """`shorten` has its key in the query, answers JSON or text, makes a new link each time, and none for HEAD."""
    shlink.client.headers.pop("x-api-key", None)
    path = "/rest/v3/short-urls/shorten"
    parameters = {"apiKey": shlink.key, "longUrl": URL}
    made = await shlink.client.get(path, params=parameters)
    text = await shlink.client.get(path, params={**parameters, "format": "txt"})
    accepted = await shlink.client.get(path, params=parameters, headers={"accept": "text/plain"})
    head = await shlink.client.head(path, params=parameters)

    assert made.json()["longUrl"] == URL
    assert re.fullmatch(r"https://sho\.rt/[0-9A-Za-z]{7}", text.text)
    assert text.headers["content-type"] == accepted.headers["content-type"] == "text/plain; charset=utf-8"
    assert head.status_code == 405
    assert len(await shlink.listed()) == 3
    shlink.key = ""
    await shlink.refused("missing-authentication", 401, "GET", "/short-urls/shorten", {"param": "apiKey"})
    await shlink.refused("invalid-api-key", 401, "GET", "/short-urls/shorten?apiKey=x")


async def test_key_is_needed_and_has_scopes(shlink: Shlink, foreign: httpx.AsyncClient, key_of: KeyOf) -> None:
    """Without a key, with a wrong one, and without the scope, each operation refuses before it looks at the request."""
    wrong, none = Shlink(foreign, "tu_x_y"), Shlink(foreign, "")
    reader, writer = (
        Shlink(foreign, await key_of("alice", "links:read")),
        Shlink(foreign, await key_of("alice", "links:write")),
    )
    for path, offers in OFFERS.items():
        called = path.replace("{code:path}", "c").replace("{tag:path}", "t").replace("{domain}", "DEFAULT")
        for method, offer in offers.items():
            if called != "/short-urls/shorten":
                await none.refused(
                    "missing-authentication", 401, method, called, {"expectedHeaders": ["X-Api-Key"]}, content=b"{"
                )
                await wrong.refused("invalid-api-key", 401, method, called, content=b"{")
            unable = writer if "links:write" not in offer.scopes else reader
            if not {"links:read", "links:write"} <= set(offer.scopes):
                query = f"?apiKey={unable.key}"
                answer = await unable.call(method, called + query, content=b"{")
                assert answer.status_code == 403, (method, called)
    await reader.refused("forbidden-tag-operation", 403, "DELETE", "/tags?tags[]=x")
    await reader.refused("forbidden-tag-operation", 403, "PUT", "/tags")


async def test_links_of_another_owner_are_not_there(
    shlink: Shlink, admin: Shlink, foreign: httpx.AsyncClient, key_of: KeyOf
) -> None:
    """No operation shows, counts or changes what another owner has; an admin's key sees and changes it."""
    await shlink.create(customSlug="mine", tags=["secret"])
    bob = Shlink(foreign, await key_of("bob", "links:read", "links:write", "stats:read"))
    for method, path in (
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/visits"), ("DELETE", "/visits"),
        ("GET", "/redirect-rules"), ("POST", "/redirect-rules"),
    ):  # fmt: skip
        members = {"shortCode": "mine"}
        body: dict[str, Any] = {"json": {"redirectRules": []}} if method in ("POST", "PATCH") else {}
        await bob.refused("short-url-not-found", 404, method, f"/short-urls/mine{path}", members, **body)
    assert await bob.listed(apiKeyName="alice") == []
    assert (await bob.read("/tags"))["tags"]["data"] == []
    await bob.refused("tag-not-found", 404, "GET", "/tags/secret/visits", {"tag": "secret"})
    await bob.refused(
        "tag-not-found", 404, "PUT", "/tags", {"tag": "secret"}, json={"oldName": "secret", "newName": "x"}
    )
    assert (await bob.call("DELETE", "/tags?tags[]=secret")).status_code == 204

    assert (await shlink.read("/short-urls/mine"))["tags"] == ["secret"]
    assert await admin.codes() == await admin.codes(apiKeyName="alice") == ["mine"]
    assert await admin.codes(apiKeyName="bob") == []
    assert (await admin.read("/short-urls/mine", method="PATCH", json={"title": "Seen"}))["title"] == "Seen"


async def test_what_is_wrong_has_shlinks_form(shlink: Shlink) -> None:
    """Malformed bodies, unknown paths, wrong methods and what there is not here are problems of Shlink's types."""
    json_type = {"content-type": "application/json"}
    await shlink.refused("malformed-request-body", 400, "POST", "/short-urls", content=b'{"a":', headers=json_type)
    await shlink.refused("invalid-data", 400, "POST", "/short-urls", {"invalidElements": ["longUrl"]})
    await shlink.refused("not-found", 404, "GET", "/none")
    await shlink.refused("mercure-not-configured", 501, "GET", "/mercure-info")
    await shlink.refused("domain-not-found", 404, "GET", "/domains/x.example/visits", {"authority": "x.example"})
    await shlink.refused("short-url-not-found", 404, "GET", "/short-urls/a%00b", {"shortCode": "a\0b"})
    unknown = {"shortCode": "a", "domain": "x.example"}
    await shlink.refused("short-url-not-found", 404, "GET", "/short-urls/a?domain=x.example", unknown)
    wrong = await shlink.call("PUT", "/short-urls")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")
    empty = await shlink.call("GET", "/tags", headers=json_type)
    assert empty.status_code == 200


async def test_orphan_visits_are_an_empty_list(shlink: Shlink) -> None:
    """Visits that led nowhere are not kept: the lists are there, and empty."""
    empty = {"visits": {"data": [], "pagination": ONE_PAGE}}

    assert await shlink.read("/visits/orphan?type=base_url&excludeBots=true") == empty
    assert await shlink.read("/visits/orphan", method="DELETE") == {"deletedVisits": 0}
    assert await shlink.read("/visits") == {"visits": {"nonOrphanVisits": NO_VISITS, "orphanVisits": NO_VISITS}}
    await shlink.refused("invalid-data", 400, "GET", "/visits/orphan?type=x", {"invalidElements": ["type"]})


async def test_any_page_may_read_the_answers(shlink: Shlink) -> None:
    """Every answer to a page may be read, errors too, without credentials; a preflight allows what it asks for."""
    for method, path in (("GET", "/short-urls"), ("GET", "/none"), ("PUT", "/short-urls"), ("GET", "/short-urls/none")):
        answer = await shlink.call(method, path, headers=ORIGIN)
        assert answer.headers["access-control-allow-origin"] == "*", path
        assert "access-control-allow-credentials" not in answer.headers
    asked = {"access-control-request-headers": "x-api-key,content-type", "access-control-request-method": "PATCH"}
    preflight = await shlink.client.options("/rest/v3/short-urls/x", headers={**ORIGIN, **asked})
    plain = await shlink.client.options("/rest/v3/tags")

    assert (preflight.status_code, preflight.content) == (204, b"")
    assert preflight.headers["access-control-allow-methods"] == "GET, PATCH, DELETE"
    assert preflight.headers["access-control-allow-headers"] == "x-api-key,content-type"
    assert (plain.status_code, plain.headers["allow"]) == (204, "GET, PUT, DELETE")
    assert "access-control-allow-origin" not in (await shlink.call("GET", "/short-urls")).headers
    native = await shlink.client.get("/api/v1/links", headers=ORIGIN)
    assert "access-control-allow-origin" not in native.headers


async def test_health_needs_no_key(shlink: Shlink) -> None:
    """Health tells a version that clients compare with what they can, at every version and without one."""
    for path in ("/rest/health", "/rest/v1/health", "/rest/v3/health"):
        answer = await shlink.client.get(path)
        body = answer.json()

        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/health+json")
        assert (body["status"], body["version"], set(body["links"])) == ("pass", "5.1.0", {"about", "project"})
