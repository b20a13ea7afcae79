"""The explanation of a link's rules: which one wins for a visit, and why the others do not."""

from typing import Any

import httpx
import pytest

from tests.links.conftest import ClientOf, fields_at_fault

LINKS = "/api/v1/links"
URL = "https://www.example.com/"
SPLIT = [{"name": "a", "url": f"{URL}a", "weight": 3}, {"name": "b", "url": f"{URL}b", "weight": 1}]
RULES: list[dict[str, Any]] = [
    {"name": "phones", "if": {"device": "mobile", "os": "ios"}, "url": f"{URL}phone"},
    {"if": {"language": ["de", "pt-br"]}, "url": f"{URL}de"},
    {"if": {"country": ["NZ", "AU"], "browser": "chrome"}, "split": SPLIT},
    {"if": {"query": [{"name": "a", "value": "ä"}, {"name": "b"}]}, "url": f"{URL}query"},
    {"if": {"referrer": "news.example"}, "url": f"{URL}news"},
    {"if": {"weekday": "fri", "time": "22:00-06:00", "time_zone": "Europe/Berlin"}, "url": f"{URL}night"},
    {"if": {"after": "2031-01-01T00:00:00Z"}, "url": f"{URL}later"},
    {"if": {"address": "192.0.2.0/24"}, "url": f"{URL}office"},
]


async def decide(client: httpx.AsyncClient, **visit: str) -> dict[str, Any]:
    answer = await client.get(f"{LINKS}/r/decide", params={"time": "2030-01-01T12:00:00Z", **visit})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
async def link(alice: httpx.AsyncClient) -> httpx.AsyncClient:
    created = await alice.post(LINKS, json={"url": URL, "code": "r", "rules": RULES})
    assert created.status_code == 201, created.text
    return alice


@pytest.mark.parametrize(
    ("visit", "rule", "targets"),
    [
        ({}, None, ["url"]),
        ({"device": "mobile", "os": "ios", "language": "de"}, 1, ["phones"]),
        ({"device": "mobile", "os": "android", "language": "de-CH;q=0.5, pt-BR;q=0.6"}, 2, ["rule 2"]),
        ({"language": "pt"}, None, ["url"]),
        ({"country": "au", "browser": "chrome"}, 3, ["rule 3 / a", "rule 3 / b"]),
        ({"query": "?x=1&a=%C3%A4"}, 4, ["rule 4"]),
        ({"query": "b="}, 4, ["rule 4"]),
        ({"query": "a=a"}, None, ["url"]),
        ({"referrer": "m.news.example"}, 5, ["rule 5"]),
        ({"referrer": "https://news.example:443/a"}, 5, ["rule 5"]),
        ({"referrer": "https://fakenews.example/"}, None, ["url"]),
        ({"time": "2030-01-04T21:00:00Z"}, 6, ["rule 6"]),
        ({"time": "2030-01-03T22:30:00Z"}, None, ["url"]),
        ({"time": "2030-01-05T04:59:00+00:00"}, 6, ["rule 6"]),
        ({"time": "2030-01-05T05:00:00Z"}, None, ["url"]),
        ({"time": "2030-01-04T00:30:00+01:00"}, None, ["url"]),
        ({"time": "2030-01-05T01:30:00+01:00"}, 6, ["rule 6"]),
        ({"time": "2030-01-05T06:00:00+01:00"}, None, ["url"]),
        ({"time": "2031-01-01T00:00:00Z"}, 7, ["rule 7"]),
        ({"address": "::ffff:192.0.2.7"}, 8, ["rule 8"]),
    ],
)
async def test_winner_is_told(
    link: httpx.AsyncClient, visit: dict[str, str], rule: int | None, targets: list[str]
) -> None:
    """For each kind of visit the rule that wins is the first that holds, with its targets and their shares."""
    found = await decide(link, **visit)

    assert found["rule"] == rule
    assert [target["variant"] for target in found["targets"]] == targets
    assert [target["share"] for target in found["targets"]] == ([1.0] if len(targets) == 1 else [0.75, 0.25])
    assert [each["number"] for each in found["rules"] if each["wins"]] == ([] if rule is None else [rule])
    assert [each["number"] for each in found["rules"] if each["holds"]][:1] == ([] if rule is None else [rule])


async def test_others_are_explained(link: httpx.AsyncClient) -> None:
    """Each condition of each rule says what it wants, what the visit has, and whether that is enough."""
    found = await decide(link, device="desktop", os="ios", language="fr, de;q=0.1", query="a=1")
    first, second, third, fourth, _, sixth, *_ = found["rules"]

    assert first["name"] == "phones"
    assert [first["holds"], second["holds"], second["wins"]] == [False, True, True]
    assert sorted(first["conditions"], key=lambda each: each["condition"]) == [
        {"condition": "device", "holds": False, "wanted": ["mobile"], "found": "desktop"},
        {"condition": "os", "holds": True, "wanted": ["ios"], "found": "ios"},
    ]
    assert second["conditions"] == [{"condition": "language", "holds": True, "wanted": ["de", "pt-br"], "found": "de"}]
    assert {"condition": "country", "holds": False, "wanted": ["NZ", "AU"], "found": None} in third["conditions"]
    assert fourth["conditions"][0]["wanted"] == ["a=ä", "b"]
    assert {"condition": "weekday", "holds": False, "wanted": ["fri"], "found": "tue"} in sixth["conditions"]
    assert {"condition": "time", "holds": False, "wanted": ["22:00-06:00"], "found": "13:00"} in sixth["conditions"]


async def test_chosen_language_is_explained(alice: httpx.AsyncClient) -> None:
    """The rule of a language that was not chosen does not hold; a rule whose other conditions fail chooses none."""
    wanted: list[dict[str, Any]] = [
        {"language": "en"},
        {"language": "en-US", "query": {"name": "x"}},
        {"language": "de"},
    ]
    rules = [{"if": each, "url": f"{URL}{number}"} for number, each in enumerate(wanted, 1)]
    await alice.post(LINKS, json={"url": URL, "code": "r", "rules": rules})
    plain, special = [await decide(alice, language="en-US,en;q=0.9", query=query) for query in ("", "x")]

    assert [plain["rule"], special["rule"]] == [1, 2]
    assert [each["holds"] for each in plain["rules"]] == [True, False, False]
    assert [each["holds"] for each in special["rules"]] == [False, True, False]
    assert [found["rules"][0]["conditions"][0]["found"] for found in (plain, special)] == ["en", "en-us"]


async def test_link_without_rules(alice: httpx.AsyncClient) -> None:
    """A plain link leads to its target; one with a split has the shares of its targets."""
    await alice.post(LINKS, json={"url": URL, "code": "r"})
    plain = await decide(alice)
    await alice.patch(f"{LINKS}/r", json={"split": SPLIT})
    split = await decide(alice)

    assert (plain["targets"], plain["rules"]) == ([{"variant": "url", "url": URL, "share": 1.0}], [])
    assert [(each["variant"], each["share"]) for each in split["targets"]] == [("a", 0.75), ("b", 0.25)]


async def test_wrong_visits_are_named(link: httpx.AsyncClient) -> None:
    """What no visit can have is refused by its name; what a form leaves empty is left out."""
    wrong = {"device": "fridge", "os": "beos", "browser": "x", "country": "XX", "time": "noon", "address": "a.example"}
    refused = await link.get(f"{LINKS}/r/decide", params={**wrong, "language": "x" * 513, "moon": "full"})

    assert fields_at_fault(refused) == {*wrong, "language", "moon"}
    empty = dict.fromkeys(("device", "os", "browser", "language", "country", "query", "referrer", "address"), "")
    assert (await decide(link, **empty))["rule"] is None


async def test_only_who_may_see_the_link_is_told(link: httpx.AsyncClient, client_with: ClientOf) -> None:
    """Another owner's link is not found, an admin's question is answered, and the scope is that of reading."""
    asked = {name: await client_with(*name.split()) for name in ("bob", "root admin", "alice links:write")}
    answers = [await client.get(f"{LINKS}/r/decide") for client in asked.values()]

    assert [answer.status_code for answer in answers] == [404, 200, 403]
    assert (await link.get(f"{LINKS}/none/decide")).status_code == 404
