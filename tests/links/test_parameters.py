"""Parameters in an address: one that is unknown, or given twice and no list, is refused by its name."""

from typing import Any

import httpx
import pytest

from tests.links.conftest import ClientOf, fields_at_fault

LINKS = "/api/v1/links"
URL = "https://www.example.com/"


@pytest.fixture
async def admin(client_with: ClientOf) -> httpx.AsyncClient:
    return await client_with("root", "admin")


async def operations(client: httpx.AsyncClient) -> list[tuple[str, str, dict[str, Any]]]:
    """Every method of every path, and its parameters in the query by their names."""
    described = (await client.get("/openapi.json")).json()["paths"]
    return [
        (
            method.upper(),
            path,
            {each["name"]: each["schema"] for each in operation.get("parameters", ()) if each["in"] == "query"},
        )
        for path, methods in described.items()
        for method, operation in methods.items()
    ]


async def test_repeated_parameter_is_refused_everywhere(admin: httpx.AsyncClient) -> None:
    """On every route and for every parameter that is one value, also one that the route does not know."""
    asked = 0
    for method, path, parameters in await operations(admin):
        url = path.replace("{code}", "py").replace("{key_id}", "none")
        for name in [*(name for name, schema in parameters.items() if schema.get("type") != "array"), "nobody_knows"]:
            answer = await admin.request(method, f"{url}?{name}=1&{name}=2", json={"url": URL})

            assert fields_at_fault(answer) == {name}, (method, path)
            assert answer.json()["errors"][0]["reason"] == "must not be given more than once"
            asked += 1
    assert asked > 50
    assert fields_at_fault(await admin.get(f"{LINKS}?limit=1&sort=code&limit=1&sort=code")) == {"limit", "sort"}
    assert (await admin.head(f"{LINKS}?limit=1&limit=2")).status_code == 422
    assert (await admin.get(LINKS)).json()["items"] == [], "nothing was created"


async def test_unknown_parameter_is_refused_everywhere(admin: httpx.AsyncClient) -> None:
    """On every route, also one that takes none: what is misspelt is never dropped without a word."""
    await admin.post(LINKS, json={"url": URL, "code": "py"})
    for method, path, _ in await operations(admin):
        url = path.replace("{code}", "py").replace("{key_id}", "none")
        answer = await admin.request(method, f"{url}?domian=go.example.org&{'x' * 200}", json={"url": URL})

        reasons = {error["reason"] for error in answer.json()["errors"] if error["field"] in ("domian", "x" * 120)}
        assert {"domian", "x" * 120} <= fields_at_fault(answer), (method, path)
        assert reasons == {"is not a field that can be set"}
    assert [item["code"] for item in (await admin.get(LINKS)).json()["items"]] == ["py"]


async def test_without_a_key_only_the_key_is_asked_for(admin: httpx.AsyncClient) -> None:
    """Whatever else is wrong with the address: a caller whom nobody knows learns nothing of it."""
    for method, path, _ in await operations(admin):
        url = path.replace("{code}", "py").replace("{key_id}", "none")
        for query in ("limit=1&limit=2", "nobody_knows=1", "limit=x"):
            answer = await admin.request(method, f"{url}?{query}", headers={"Authorization": "Bearer x"}, content=b"{")

            assert answer.status_code == 401, (method, path, query)


async def test_key_without_the_scope_is_refused_first(client_with: ClientOf) -> None:
    """Whatever else is wrong with the address or the body: a caller who may not do it learns nothing of it."""
    visitor, asked = await client_with("visitor", "other"), 0
    for method, path, _ in await operations(visitor):
        if path.endswith("/keys/current"):
            continue  # Any key may ask about itself.
        url = path.replace("{code}", "py").replace("{key_id}", "none")
        for query in ("limit=1&limit=2", "nobody_knows=1", "limit=x"):
            answer = await visitor.request(method, f"{url}?{query}", content=b"{")

            assert answer.status_code == 403, (method, path, query)
            asked += 1
    assert asked > 40


async def test_lists_can_be_repeated(admin: httpx.AsyncClient) -> None:
    """Those that the description calls lists: the tags of a filter, the links to count, the domains of an import."""
    lists = {
        (path, name)
        for _, path, names in await operations(admin)
        for name, schema in names.items()
        if schema.get("type") == "array"
    }

    assert lists == {
        (LINKS, "tag"),
        ("/api/v1/exports", "tag"),
        ("/api/v1/stats/recent", "link"),
        ("/api/v1/imports", "domain"),
    }
    assert (await admin.get("/api/v1/stats/recent?link=a&link=b")).status_code == 200


async def test_tags_of_a_filter(admin: httpx.AsyncClient) -> None:
    """A link has all of the tags that are asked for, or with `any` at least one; lists and exports agree."""
    for code, tags in {"a": ["x"], "ab": ["x", "y"], "b": ["y"], "abc": ["z", "y", "x"], "none": []}.items():
        await admin.post(LINKS, json={"url": URL, "code": code, "tags": tags})

    async def found(query: str) -> list[str]:
        listed = [item["code"] for item in (await admin.get(f"{LINKS}?sort=code&{query}")).json()["items"]]
        exported = await admin.get(f"/api/v1/exports?{query}", headers={"Accept": "application/x-ndjson"})
        assert sorted(line.split('"code":"')[1].split('"')[0] for line in exported.text.splitlines()) == sorted(listed)
        return listed

    assert await found("tag=x") == ["a", "ab", "abc"]
    assert await found("tag=x&tag=y") == await found("tag=y&tag=x&tag_mode=all") == ["ab", "abc"]
    assert await found("tag=x&tag=x") == ["a", "ab", "abc"]
    assert await found("tag=x&tag=nobody") == []
    assert await found("tag=x&tag=y&tag_mode=any") == ["a", "ab", "abc", "b"]
    assert await found("tag=z&tag=nobody&tag_mode=any") == ["abc"]
    assert await found("tag_mode=any") == await found("") == ["a", "ab", "abc", "b", "none"]
    assert fields_at_fault(await admin.get(f"{LINKS}?tag_mode=some")) == {"tag_mode"}
    assert fields_at_fault(await admin.get(f"{LINKS}?{'&'.join(['tag=x'] * 21)}")) == {"tag"}


DOMAINS = ["go.example.org", "GO.Example.ORG", "go.example.org.", " go.example.org ", "ｇｏ.example。org"]


@pytest.mark.parametrize("domain", DOMAINS)
async def test_domain_has_any_spelling(admin: httpx.AsyncClient, domain: str) -> None:
    """Any case, a dot at the end, other letters for the same name: in bodies, filters, paths and lists of links."""
    link = (await admin.post(LINKS, json={"url": URL, "code": "d", "domain": domain})).json()
    asked = {"domain": domain}

    assert link["domain"] == "go.example.org"
    assert [item["code"] for item in (await admin.get(LINKS, params=asked)).json()["items"]] == ["d"]
    assert len((await admin.get("/api/v1/exports", params=asked)).text.splitlines()) == 2
    for path in ("", "/qr", "/stats", "/clicks"):
        assert (await admin.get(f"{LINKS}/d{path}", params=asked)).status_code == 200
    assert (await admin.get(f"{LINKS}/d/availability", params=asked)).json()["reason"] == "taken"
    recent = await admin.get("/api/v1/stats/recent", params={"link": f"{domain}/d"})
    assert [(each["domain"], each["code"]) for each in recent.json()["items"]] == [("go.example.org", "d")]
    again = {"url": URL, "domain": domain, "find_existing": True}
    assert (await admin.post(LINKS, json=again)).status_code == 200
    batch = (await admin.post(f"{LINKS}/batch", json={"links": [again]})).json()
    assert (batch["found"], batch["failed"]) == (1, 0)
    assert (await admin.patch(f"{LINKS}/d", params=asked, json={"title": "t"})).status_code == 200
    assert (await admin.delete(f"{LINKS}/d", params=asked)).status_code == 204


@pytest.mark.parametrize(
    "domain", ["go.example.orgx", "go.example.org..x", "go.example.org/", "x@go.example.org", "gö.example.org"]
)
async def test_another_domain_is_none_of_ours(admin: httpx.AsyncClient, domain: str) -> None:
    """Only the name itself is spelled; nothing is taken out of a longer text."""
    assert fields_at_fault(await admin.post(LINKS, json={"url": URL, "domain": domain})) == {"domain"}
    assert (await admin.get(f"{LINKS}/d", params={"domain": domain})).status_code == 404
