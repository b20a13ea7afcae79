"""Polr's and TinyURL's ways to create a link, which are little more than one line of text."""

import httpx
import pytest

from tests.compat.conftest import KeyOf

SHORTEN = "/api/v2/action/shorten"
LOOKUP = "/api/v2/action/lookup"
CREATE = "/api-create.php"
URL = "https://www.example.com"


@pytest.fixture
async def key(key_of: KeyOf) -> str:
    return await key_of("alice")


async def test_polr_shortens(foreign: httpx.AsyncClient, key: str, alice: httpx.AsyncClient) -> None:
    """The answer is the short URL as text, or in JSON if that is asked for; the parameters may be a form."""
    text = await foreign.get(SHORTEN, params={"key": key, "url": URL, "custom_ending": "mine"})
    form = {"key": key, "url": f"{URL}/a", "custom_ending": "other", "is_secret": "false", "unknown": "1"}
    json = await foreign.post(SHORTEN, data={**form, "response_type": "json"})

    assert (text.status_code, text.text) == (200, "https://sho.rt/mine")
    assert text.headers["content-type"].startswith("text/plain")
    assert json.json() == {"action": "shorten", "result": "https://sho.rt/other"}
    assert (await alice.get("/api/v1/links/mine")).json()["owner"] == "alice"


async def test_polr_finds_a_known_target(foreign: httpx.AsyncClient, key: str, key_of: KeyOf) -> None:
    """Without an ending, a link of one's own with the same target is found, as at Polr; with one, another is made."""
    first = await foreign.get(SHORTEN, params={"key": key, "url": URL})
    others = [{"custom_ending": "mine"}, {"url": f"{URL}/a"}, {"key": await key_of("bob")}]

    assert (await foreign.get(SHORTEN, params={"key": key, "url": URL, "custom_ending": ""})).text == first.text
    for other in others:
        assert (await foreign.get(SHORTEN, params={"key": key, "url": URL, **other})).text != first.text


async def test_polr_looks_up(foreign: httpx.AsyncClient, key: str, key_of: KeyOf) -> None:
    """A link of one's own is told with PHP's form of a time; as text it is the target. Another owner's is not found."""
    await foreign.get(SHORTEN, params={"key": key, "url": URL, "custom_ending": "mine"})
    asked = {"key": key, "url_ending": "mine"}
    found = (await foreign.get(LOOKUP, params={**asked, "response_type": "json"})).json()

    assert found["action"] == "lookup"
    assert (found["result"]["long_url"], found["result"]["clicks"]) == (URL, 0)
    assert found["result"]["created_at"].keys() == {"date", "timezone_type", "timezone"}
    assert (await foreign.get(LOOKUP, params=asked)).text == URL
    refused = await foreign.get(LOOKUP, params={**asked, "key": await key_of("bob"), "response_type": "json"})
    assert refused.status_code == 404
    assert refused.json() == {"status_code": 404, "error_code": "NOT_FOUND", "error": "Link not found."}


async def test_domain_is_the_one_that_is_talked_to(foreign: httpx.AsyncClient, key: str) -> None:
    """A client that knows the second domain of the site makes and finds links of that one."""
    there = {"Host": "go.example.org:443"}
    made = await foreign.get(SHORTEN, params={"key": key, "url": URL, "custom_ending": "mine"}, headers=there)
    other = await foreign.get(CREATE, params={"key": key, "url": URL, "alias": "other"}, headers=there)

    assert (made.text, other.text) == ("https://go.example.org/mine", "https://go.example.org/other")
    assert (await foreign.get(LOOKUP, params={"key": key, "url_ending": "mine"}, headers=there)).text == URL
    assert (await foreign.get(LOOKUP, params={"key": key, "url_ending": "mine"})).status_code == 404


REFUSED = [
    ({"key": ""}, 401, "AUTH_ERROR", "Authentication token invalid."),
    ({"key": "wrong"}, 401, "AUTH_ERROR", "Authentication token invalid."),
    ({"url": ""}, 400, "MISSING_PARAMETERS", "Invalid or missing parameters."),
    ({"url": "www.example.com"}, 400, "CREATION_ERROR", "url is not an absolute URL"),
    ({"url": "https://sho.rt/taken"}, 400, "CREATION_ERROR", "url must not be a short link of this site"),
    ({"custom_ending": "taken"}, 400, "CREATION_ERROR", "Sorry, but this URL ending is already in use."),
    ({"custom_ending": "api"}, 400, "CREATION_ERROR", "code is a reserved word"),
    ({"is_secret": "true"}, 400, "CREATION_ERROR", None),
]


@pytest.mark.parametrize(("parameters", "status", "code", "message"), REFUSED, ids=lambda each: str(each)[:30])
async def test_polr_refuses(
    foreign: httpx.AsyncClient, key: str, *, parameters: dict[str, str], status: int, code: str, message: str | None
) -> None:
    """A refusal has Polr's code and status, as JSON or as one line."""
    await foreign.get(SHORTEN, params={"key": key, "url": URL, "custom_ending": "taken"})
    sent = {"key": key, "url": URL, **parameters}
    json = await foreign.get(SHORTEN, params={**sent, "response_type": "json"})
    text = await foreign.get(SHORTEN, params=sent)
    body = json.json()

    assert (json.status_code, body["status_code"], body["error_code"]) == (status, status, code)
    assert body["error"] == (message or body["error"])
    assert (text.status_code, text.text) == (status, f"{status} {body['error']}")


async def test_tinyurl_creates(foreign: httpx.AsyncClient, key: str) -> None:
    """Text in, text out: the answer is the short URL, or the word Error and why."""
    made = await foreign.get(CREATE, params={"key": key, "url": URL, "alias": "mine"})
    posted = await foreign.post(CREATE, data={"key": key, "url": URL})

    assert (made.status_code, made.text) == (200, "https://sho.rt/mine")
    assert made.headers["content-type"].startswith("text/plain")
    assert posted.text.startswith("https://sho.rt/")
    for parameters, status in (({"alias": "mine"}, 400), ({"url": ""}, 400), ({"url": "x"}, 400), ({"key": ""}, 401)):
        refused = await foreign.get(CREATE, params={"key": key, "url": URL, **parameters})
        assert refused.status_code == status
        assert refused.text.startswith("Error: ")


async def test_scopes_and_head(foreign: httpx.AsyncClient, key_of: KeyOf, alice: httpx.AsyncClient) -> None:
    """A key that only reads creates nothing, and neither does a HEAD."""
    reader, writer = await key_of("alice", "links:read"), await key_of("alice", "links:write")
    for path in (SHORTEN, CREATE):
        assert (await foreign.get(path, params={"key": reader, "url": URL})).status_code == 403
        looked = await foreign.head(path, params={"key": writer, "url": URL})
        assert (looked.status_code, looked.headers["allow"]) == (405, "GET, POST")
    assert (await foreign.get(LOOKUP, params={"key": writer, "url_ending": "mine"})).status_code == 403

    assert (await alice.get("/api/v1/links")).json()["items"] == []
