"""Redirect rules in Shlink's words: what comes back as it was set, what our own rules become, and what has no words."""

from typing import Any

import httpx
import pytest

from tests.compat.conftest import KeyOf
from tests.compat.shlink import Shlink

TARGET = "https://example.com/target"
RULES = "/short-urls/mine/redirect-rules"
REFUSED = {"invalidElements": ["redirectRules"]}


@pytest.fixture
async def shlink(foreign: httpx.AsyncClient, key_of: KeyOf) -> Shlink:
    """A client with the link `mine`."""
    found = Shlink(foreign, await key_of("alice"))
    await found.create(customSlug="mine")
    return found


def condition(kind: str, value: str | None, key: str | None = None) -> dict[str, Any]:
    return {"type": kind, "matchKey": key, "matchValue": value}


def rule(*conditions: dict[str, Any]) -> dict[str, Any]:
    return {"longUrl": TARGET, "conditions": list(conditions)}


DEVICES = ["android", "ios", "mobile", "windows", "macos", "linux", "chromeos", "desktop"]
BROWSERS = ["chrome", "firefox", "edge", "safari", "opera"]


@pytest.mark.parametrize(
    ("sent", "ours"),
    [
        *((condition("device", each), None) for each in DEVICES),
        *((condition("browser", each), {"browser": [each]}) for each in BROWSERS),
        (condition("device", "mobile"), {"device": ["mobile", "tablet"]}),
        (condition("device", "android"), {"os": ["android"]}),
        (condition("language", "en"), {"language": ["en"]}),
        (condition("language", "en-GB"), {"language": ["en-gb"]}),
        (condition("query-param", "1", "a"), {"query": [{"name": "a", "value": "1"}]}),
        (condition("any-value-query-param", None, "a"), {"query": [{"name": "a"}]}),
        (condition("valueless-query-param", None, "a"), {"query": [{"name": "a", "value": ""}]}),
        (condition("ip-address", "192.0.2.7"), {"address": ["192.0.2.7/32"]}),
        (condition("ip-address", "2001:db8::/32"), {"address": ["2001:db8::/32"]}),
        (condition("geolocation-country-code", "DE"), {"country": ["DE"]}),
        (condition("before-date", "2100-01-01T00:00:00+00:00"), {"before": "2100-01-01T00:00:00Z"}),
        (condition("after-date", "2020-01-01T00:00:00+00:00"), {"after": "2020-01-01T00:00:00Z"}),
    ],
)
async def test_condition_comes_back(
    shlink: Shlink, alice: httpx.AsyncClient, sent: dict[str, Any], ours: dict[str, Any] | None
) -> None:
    """Each condition of Shlink's is one of ours, and is told as it was sent."""
    answer = await shlink.read(RULES, method="POST", json={"redirectRules": [rule(sent)]})

    assert answer["redirectRules"] == [{**rule(sent), "priority": 1}]
    assert await shlink.read(RULES) == answer
    (stored,) = (await alice.get("/api/v1/links/mine")).json()["rules"]
    assert ours is None or stored["if"] == ours


async def test_wildcard_is_a_network(shlink: Shlink) -> None:
    """An address with stars at its end is the network of it."""
    sent = [rule(condition("ip-address", each)) for each in ("192.0.2.*", "10.7.*.*", "10.*.*.*")]
    answer = await shlink.read(RULES, method="PATCH", json={"redirectRules": sent})

    values = [each["conditions"][0]["matchValue"] for each in answer["redirectRules"]]
    assert values == ["192.0.2.0/24", "10.7.0.0/16", "10.0.0.0/8"]


@pytest.mark.parametrize(
    "conditions",
    [
        [],
        ["x"],
        [condition("geolocation-city-name", "Berlin")],
        [condition("browser", "android_browser")],
        [condition("device", "toaster")],
        [condition("language", "not a language")],
        [condition("ip-address", "1.*.3.4")],
        [condition("ip-address", "1.2.*")],
        [condition("geolocation-country-code", "QQ")],
        [condition("before-date", "soon")],
        [condition("query-param", "1", None)],
        [condition("unknown", "x")],
        [condition("language", "de"), condition("language", "en")],
        [condition("any-value-query-param", None, "a"), condition("any-value-query-param", None, "b")],
    ],
)
async def test_what_cannot_be_said_is_refused(shlink: Shlink, conditions: list[Any]) -> None:
    """A rule without a condition, with one that there is not here, or with two of a kind changes nothing."""
    kept = [rule(condition("device", "ios"))]
    await shlink.read(RULES, method="POST", json={"redirectRules": kept})
    body = {"redirectRules": [{"longUrl": TARGET, "conditions": conditions}]}
    await shlink.refused("invalid-data", 400, "POST", RULES, REFUSED, json=body)

    assert [each["conditions"] for each in (await shlink.read(RULES))["redirectRules"]] == [kept[0]["conditions"]]


@pytest.mark.parametrize("body", [{}, {"redirectRules": {}}, {"redirectRules": [{"longUrl": "x", "conditions": []}]}])
async def test_rules_have_to_be_a_list(shlink: Shlink, body: dict[str, Any]) -> None:
    """What is no list of rules is refused."""
    await shlink.refused("invalid-data", 400, "POST", RULES, REFUSED, json=body)


async def test_our_rules_are_told_where_there_are_words(shlink: Shlink, alice: httpx.AsyncClient) -> None:
    """A condition with several values is several rules, in order; what Shlink cannot say is left out, and cannot be lost."""
    ours = [
        {"if": {"language": ["de", "pt-br"], "os": ["ios", "android"]}, "url": TARGET},
        {"if": {"referrer": ["example.org"]}, "url": TARGET, "name": "kept"},
    ]
    await alice.patch("/api/v1/links/mine", json={"rules": ours})
    answer = await shlink.read(RULES)
    pairs = [tuple(each["matchValue"] for each in told["conditions"]) for told in answer["redirectRules"]]

    assert sorted(tuple(sorted(pair)) for pair in pairs) == [
        ("android", "de"), ("android", "pt-BR"), ("de", "ios"), ("ios", "pt-BR"),
    ]  # fmt: skip
    assert [told["priority"] for told in answer["redirectRules"]] == [1, 2, 3, 4]
    await shlink.refused("invalid-data", 400, "POST", RULES, REFUSED, json={"redirectRules": []})
    assert (await alice.get("/api/v1/links/mine")).json()["rules"][1]["name"] == "kept"


@pytest.mark.parametrize(
    "conditions",
    [
        {"device": ["tablet"]},
        {"browser": ["samsung"]},
        {"weekday": ["mon"], "time_zone": "Europe/Berlin"},
        {
            "language": ["de", "en", "fr", "it", "es", "pt", "nl", "da"],
            "country": ["DE", "AT", "CH", "FR", "IT", "ES", "PT"],
        },
    ],
)
async def test_rule_without_words_is_left_out(
    shlink: Shlink, alice: httpx.AsyncClient, conditions: dict[str, Any]
) -> None:
    """A rule with a condition that Shlink has no words for, or of more than fifty combinations, is not told."""
    patched = await alice.patch("/api/v1/links/mine", json={"rules": [{"if": conditions, "url": TARGET}]})
    assert patched.status_code == 200, patched.text

    assert (await shlink.read(RULES))["redirectRules"] == []
    assert (await shlink.read("/short-urls/mine"))["hasRedirectRules"] is True
