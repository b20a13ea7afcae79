"""Texts that somebody might send in the place of any parameter: each is answered, and nothing breaks."""

import httpx
import pytest

from tests.compat.conftest import KeyOf

TEXTS = [
    "\0",
    "a\0b",
    "\ud800".encode("utf-8", "surrogatepass"),
    b"\xff\xfe",
    "\u202e\u200b\ufeff",
    "e" + "\u0301" * 2000,
    "https://\u2024\u2024.example/..;/%2e%2e/",
    "https://sho.rt/%00%ff/..",
    "http://[::1",
    "sho.rt/" + "/" * 3000,
    "//" + "a:" * 2000 + "/",
    "-" * 5000 + "1e999",
    "9" * 5000,
    "'; DROP TABLE links; --",
    "<script>alert(1)</script>",
    "{}[]&=%s%n{0}",
    "\u0661\u0662\u0663",
    " ",
]

CALLS = [
    (
        "/yourls-api.php",
        {"action": "shorturl", "url": "https://www.example.com/"},
        ("url", "keyword", "title", "find_existing"),
    ),
    ("/yourls-api.php", {"action": "expand"}, ("shorturl", "action", "format", "callback")),
    ("/yourls-api.php", {"action": "url-stats"}, ("shorturl", "timestamp")),
    ("/yourls-api.php", {"action": "stats", "limit": "1"}, ("filter", "limit", "start")),
    ("/yourls-api.php", {"action": "version"}, ("signature", "password", "db")),
    ("/api/v2/links", {}, ("limit", "skip", "search", "all")),
    (
        "/api/v2/action/shorten",
        {"url": "https://www.example.com/"},
        ("url", "custom_ending", "is_secret", "response_type", "key"),
    ),
    ("/api/v2/action/lookup", {}, ("url_ending", "url_key")),
    ("/api-create.php", {"url": "https://www.example.com/"}, ("url", "alias")),
]
"""A path, what else is sent, and the parameters that get the texts."""

MEMBERS = ("target", "customurl", "domain", "description", "expire_in", "password", "reuse", "address")


@pytest.mark.parametrize(("path", "sent", "names"), CALLS, ids=lambda each: str(each)[:50])
async def test_any_text_in_a_query(
    foreign: httpx.AsyncClient, key_of: KeyOf, *, path: str, sent: dict[str, str], names: tuple[str, ...]
) -> None:
    """No text in a query or a form is an error of this site."""
    key = await key_of("alice")
    keys = {"signature": key, "key": key}
    for name in names:
        for text in TEXTS:
            parameters = keys | sent | {name: text}
            answers = [await foreign.get(path, params=parameters, headers={"X-API-KEY": key})]  # type: ignore[arg-type]
            answers.append(await foreign.post(path, data=parameters, headers={"X-API-KEY": key}))
            for answer in answers:
                assert answer.status_code < 500, (name, text, answer.text)


async def test_any_value_in_json(foreign: httpx.AsyncClient, key_of: KeyOf) -> None:
    """Nor is any value of a member of JSON, of whatever type."""
    headers = {"X-API-KEY": await key_of("alice")}
    made = await foreign.post("/api/v2/links", json={"target": "https://www.example.com/"}, headers=headers)
    path = f"/api/v2/links/{made.json()['id']}"
    texts = [text for text in TEXTS if isinstance(text, str)]
    for value in (*texts, 0, 1, -1.5, True, False, None, [], ["a"], {}, {"a": 1}):
        for name in MEMBERS:
            body = {"target": "https://www.example.com/", name: value}
            created = await foreign.post("/api/v2/links", json=body, headers=headers)
            edited = await foreign.patch(path, json={name: value}, headers=headers)
            assert created.status_code < 500, (name, value, created.text)
            assert edited.status_code < 500, (name, value, edited.text)
    for hostile in ("..", "%00", "a%2fb", "0" * 5000, "\u0661" * 36, "{00000000-0000-8000-8000-000000000001}"):
        assert (await foreign.delete(f"/api/v2/links/{hostile}", headers=headers)).status_code < 500
    assert (await foreign.patch(path, json={"description": "still there"}, headers=headers)).status_code == 200
