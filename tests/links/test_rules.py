"""Rules and splits of the API: what is taken, how it comes back, and what is refused, by rule and place."""

import json
from typing import Any

import asyncpg
import httpx
import pytest

from services.links.links.checks import DECIDING, new_draft
from services.links.links.forms import LinkIn
from services.links.site import Site
from services.links.web.errors import InvalidInput
from shared.api import LONGEST_DECISION
from shared.postgres import Connection
from shared.settings import LinksSettings
from tests.conftest import Database
from tests.links.conftest import ClientOf, fields_at_fault

LINKS = "/api/v1/links"
URL = "https://www.example.com/"
SENT_RULES: list[dict[str, Any]] = [
    {"name": " Ünïcödé ", "if": {"device": "Mobile", "os": ["iOS", "android"], "browser": "safari"}, "url": "https://EXAMPLE.com"},
    {"if": {"language": ["pt-BR", "de"], "country": "de"}, "url": URL},
    {"if": {"query": {"name": "a", "value": ""}, "referrer": "*.Bücher.example."}, "url": URL},
    {
        "if": {
            "after": "2031-01-01T01:00:00+01:00",
            "before": "2032-01-01T00:00:00Z",
            "weekday": ["Mon", "fri"],
            "time": "22:00-06:00",
            "time_zone": "Europe/Berlin",
            "address": ["192.0.2.0/24", "2001:DB8::1"],
        },
        "split": [{"name": "one", "url": URL}, {"name": "two", "url": f"{URL}2", "weight": 3}],
    },
]  # fmt: skip
STORED_RULES: list[dict[str, Any]] = [
    {
        "name": "Ünïcödé",
        "if": {"device": ["mobile"], "os": ["ios", "android"], "browser": ["safari"]},
        "url": "https://example.com/",
    },
    {"if": {"language": ["pt-br", "de"], "country": ["DE"]}, "url": URL},
    {"if": {"query": [{"name": "a", "value": ""}], "referrer": ["xn--bcher-kva.example"]}, "url": URL},
    {
        "if": {
            "after": "2031-01-01T00:00:00Z",
            "before": "2032-01-01T00:00:00Z",
            "weekday": ["mon", "fri"],
            "time": ["22:00-06:00"],
            "time_zone": "Europe/Berlin",
            "address": ["192.0.2.0/24", "2001:db8::1/128"],
        },
        "split": [{"name": "one", "url": URL, "weight": 1}, {"name": "two", "url": f"{URL}2", "weight": 3}],
    },
]
SPLIT = [{"name": "a", "url": URL, "weight": 1}, {"name": "b", "url": f"{URL}b", "weight": 0}]


async def salt(database: Database, code: str) -> str | None:
    conn: Connection = await asyncpg.connect(database.links_url)
    try:
        found: str | None = await conn.fetchval("SELECT split_salt::text FROM links WHERE code = $1", code)
    finally:
        await conn.close()
    return found


async def test_rules_come_back_in_one_spelling(alice: httpx.AsyncClient) -> None:
    """Rules and splits are stored and read back, in answers, lists and exports, whatever the spelling was."""
    created = await alice.post(LINKS, json={"url": URL, "code": "r", "rules": SENT_RULES, "split": SPLIT})
    answers = [created.json(), (await alice.get(f"{LINKS}/r")).json(), (await alice.get(LINKS)).json()["items"][0]]
    export = await alice.get("/api/v1/exports", headers={"Accept": "application/x-ndjson"})

    assert created.status_code == 201, created.text
    for link in [*answers, json.loads(export.text)]:
        assert link["rules"] == STORED_RULES
        assert link["split"] == SPLIT
        assert not any("salt" in name for name in link)


async def test_what_came_back_can_be_sent(alice: httpx.AsyncClient) -> None:
    """An answer's rules are taken as they are, change nothing, and find the link; null and no rules take them away."""
    sent = {"url": URL, "rules": SENT_RULES, "split": SPLIT}
    link = (await alice.post(LINKS, json=sent)).json()
    same = await alice.patch(f"{LINKS}/{link['code']}", json={"rules": link["rules"], "split": link["split"]})
    found = await alice.post(LINKS, json={**sent, "find_existing": True})
    other = await alice.post(LINKS, json={**sent, "rules": SENT_RULES[:1], "find_existing": True})
    taken = await alice.patch(f"{LINKS}/{link['code']}", json={"rules": [], "split": None})

    assert same.json() == link
    assert (found.status_code, found.json()["code"]) == (200, link["code"])
    assert other.status_code == 201
    assert (taken.json()["rules"], taken.json()["split"]) == (None, None)


async def test_salt_stays_as_long_as_there_is_a_split(alice: httpx.AsyncClient, database: Database) -> None:
    """Links have salts of their own, which edits of weights keep, and which nobody can choose."""
    for code in ("a", "b"):
        await alice.post(LINKS, json={"url": URL, "code": code, "split": SPLIT})
    await alice.post(LINKS, json={"url": URL, "code": "plain"})
    first = await salt(database, "a")
    await alice.patch(f"{LINKS}/a", json={"split": [SPLIT[0] | {"weight": 9}, SPLIT[1]], "title": "t"})
    kept = await salt(database, "a")
    refused = await alice.patch(f"{LINKS}/a", json={"split_salt": "x", "salt": "x"})
    await alice.patch(f"{LINKS}/a", json={"split": None})

    assert first is not None
    assert kept == first != await salt(database, "b")
    assert await salt(database, "plain") is None
    assert await salt(database, "a") is None
    assert fields_at_fault(refused) == {"split_salt", "salt"}


RULE: dict[str, Any] = {"if": {"device": "mobile"}, "url": URL}


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ({"if": {"moon": "full"}}, "rules.1.if.moon"),
        ({"if": {"device": ["mobile", "fridge"]}}, "rules.1.if.device.1"),
        ({"if": {"os": "beos"}}, "rules.1.if.os.0"),
        ({"if": {"browser": 7}}, "rules.1.if.browser.0"),
        ({"if": {"language": "german?"}}, "rules.1.if.language.0"),
        ({"if": {"country": "XX"}}, "rules.1.if.country.0"),
        ({"if": {"query": "a"}}, "rules.1.if.query.0"),
        ({"if": {"query": {"name": "a\0"}}}, "rules.1.if.query.0.name"),
        ({"if": {"query": {"name": "a", "is": "b"}}}, "rules.1.if.query.0.is"),
        ({"if": {"referrer": "https://a.example/"}}, "rules.1.if.referrer.0"),
        ({"if": {"after": "2031-01-01"}}, "rules.1.if.after"),
        ({"if": {"after": "2031-01-01T00:00:00Z", "before": "2031-01-01T00:00:00Z"}}, "rules.1.if"),
        ({"if": {"weekday": "monday"}}, "rules.1.if.weekday.0"),
        ({"if": {"time": "9-17"}}, "rules.1.if.time.0"),
        ({"if": {"time": "09:00-09:00"}}, "rules.1.if.time.0"),
        ({"if": {"time": "09:00-10:00", "time_zone": "Mars/Base"}}, "rules.1.if.time_zone"),
        ({"if": {"device": "mobile", "time_zone": "UTC"}}, "rules.1.if"),
        ({"if": {"address": "192.0.2.1/24"}}, "rules.1.if.address.0"),
        ({"if": {"address": "fe80::1%eth0"}}, "rules.1.if.address.0"),
        ({"if": {"weekday": "mon", "time_zone": "Factory"}}, "rules.1.if.time_zone"),
        ({"if": {"weekday": "mon", "time_zone": "localtime"}}, "rules.1.if.time_zone"),
        ({"if": {"device": []}}, "rules.1.if.device"),
        ({"if": {"address": ["192.0.2.1"] * 51}}, "rules.1.if.address"),
        ({"if": {}}, "rules.1.if"),
        ({"if": None}, "rules.1.if"),
        ({"name": "x" * 41}, "rules.1.name"),
        ({"name": "\u202e"}, "rules.1.name"),
        ({"url": "javascript:alert(1)"}, "rules.1.url"),
        ({"url": "https://sho.rt/a"}, "rules.1.url"),
        ({"url": "http://127.0.0.1/"}, "rules.1.url"),
        ({"url": None}, "rules.1"),
        ({"split": SPLIT}, "rules.1"),
        ({"url": None, "split": [SPLIT[0], SPLIT[1] | {"url": "http://10.0.0.1/"}]}, "rules.1.split.1.url"),
        ({"url": None, "split": SPLIT[:1]}, "rules.1.split"),
        ({"else": URL}, "rules.1.else"),
    ],
)
async def test_wrong_rule_is_named(alice: httpx.AsyncClient, rule: dict[str, Any], place: str) -> None:
    """What is wrong with a rule is told by the number of the rule and the place in it, and nothing is stored."""
    answer = await alice.post(LINKS, json={"url": URL, "rules": [RULE, {**RULE, **rule}]})

    assert answer.status_code == 422
    assert fields_at_fault(answer) == {place}, answer.text
    assert (await alice.get(LINKS)).json()["items"] == []


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"rules": [RULE] * 51}, {"rules"}),
        ({"rules": [RULE | {"name": "a"}] * 2}, {"rules.1.name"}),
        ({"rules": [RULE | {"name": "rule 2"}, RULE]}, {"rules.1.name"}),
        ({"rules": [RULE, RULE | {"name": "url"}]}, {"rules.1.name"}),
        (
            {
                "rules": [{"if": {"device": "mobile"}, "name": "a", "split": SPLIT}],
                "split": [{"name": "a / b", "url": URL}, SPLIT[0]],
            },
            {"rules.0.split.1.name"},
        ),
        ({"rules": {}}, {"rules"}),
        ({"split": [SPLIT[0]] * 2}, {"split"}),
        ({"split": [SPLIT[1], SPLIT[1] | {"name": "c"}]}, {"split"}),
        ({"split": [SPLIT[0] | {"name": str(n)} for n in range(21)]}, {"split"}),
        ({"split": [SPLIT[0] | {"weight": 1.5}, SPLIT[1]]}, {"split.0.weight"}),
        ({"split": [SPLIT[0] | {"weight": -1}, SPLIT[1]]}, {"split.0.weight"}),
        ({"split": [SPLIT[0], SPLIT[1] | {"url": "data:,"}]}, {"split.1.url"}),
        ({"rules": [RULE], "cache_control": 0}, {"cache_control"}),
        ({"split": SPLIT, "status_code": 301, "cache_control": 9}, {"cache_control", "status_code"}),
        ({"split": SPLIT, "status_code": 308}, {"status_code"}),
        ({"rules": [RULE | {"url": URL + "x" * 8150}] * 2, "split": [SPLIT[0], SPLIT[0] | {"name": "y" * 40}]}, {"rules"}),
    ],
)  # fmt: skip
async def test_wrong_fields_are_named(alice: httpx.AsyncClient, fields: dict[str, Any], places: set[str]) -> None:
    """Too many rules, splits of one, lifetimes and permanent redirects beside either are refused, in a creation and an edit."""
    link = (await alice.post(LINKS, json={"url": URL})).json()
    answers = [
        await alice.post(LINKS, json={"url": URL, **fields}),
        await alice.patch(f"{LINKS}/{link['code']}", json=fields),
    ]

    assert [answer.status_code for answer in answers] == [422, 422]
    assert [fields_at_fault(answer) for answer in answers] == [places, places], answers[0].text
    assert [len(answer.json()["errors"]) for answer in answers] == [len(places)] * 2


def test_paths_are_added_to_web_addresses_alone(links_settings: LinksSettings) -> None:
    """A link that passes paths on has no target of an app, in no rule and no split."""
    site = Site(links_settings.model_copy(update={"target_schemes": ("https", "tel")}))
    phone = {"name": "b", "url": "tel:+15550100", "weight": 1}
    for fields in ({"rules": [RULE | {"url": "tel:+15550100"}]}, {"split": [SPLIT[0], phone]}):
        draft = new_draft(LinkIn.model_validate({"url": URL, **fields}), "alice", site)
        assert "tel:" in f"{draft.fields.rules}{draft.fields.split}"
        with pytest.raises(InvalidInput, match="forward_path needs a target"):
            new_draft(LinkIn.model_validate({"url": URL, "forward_path": True, **fields}), "alice", site)


async def test_a_kept_redirect_gets_no_rules(alice: httpx.AsyncClient) -> None:
    """An edit that adds rules to a permanent redirect is refused until it is none any more."""
    await alice.post(LINKS, json={"url": URL, "code": "a", "status_code": 301, "cache_control": 60})
    refused = await alice.patch(f"{LINKS}/a", json={"rules": [RULE]})
    taken = await alice.patch(f"{LINKS}/a", json={"rules": [RULE], "status_code": 307, "cache_control": None})

    assert fields_at_fault(refused) == {"status_code", "cache_control"}
    assert taken.status_code == 200
    assert {"rules", "split"} <= set(DECIDING)


async def test_largest_rules_are_taken(alice: httpx.AsyncClient) -> None:
    """The largest rules fit into a body together with the largest of the rest, however their letters are escaped."""
    rules: list[dict[str, Any]] = [
        {"if": {"query": [{"name": "\U0001f600" * 250}]}, "url": f"{URL}{n}"} for n in range(15)
    ]
    size = len(json.dumps(rules, ensure_ascii=False, separators=(",", ":")).encode())
    body = json.dumps({"url": URL + "x" * 8000, "expired_url": URL + "y" * 8000, "code": "a", "rules": rules})
    created = await alice.post(LINKS, content=body, headers={"Content-Type": "application/json"})

    assert LONGEST_DECISION - 1100 < size <= LONGEST_DECISION
    assert created.status_code == 201, created.text


async def test_rules_in_a_batch(client_with: ClientOf) -> None:
    """A row of a batch may have rules; the wrong ones of another row are named there."""
    alice = await client_with("alice")
    rows = [{"url": URL, "rules": SENT_RULES}, {"url": URL, "rules": [RULE | {"if": {"moon": 1}}]}]
    answer = await alice.post(f"{LINKS}/batch", json={"links": rows})
    first, second = answer.json()["results"]

    assert first["link"]["rules"] == STORED_RULES
    assert second["problem"]["errors"][0]["field"] == "rules.0.if.moon"
