"""YOURLS' API: what its clients send and read, to the byte where they compare, and what stays ours."""

import json
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from shared.postgres import Connection
from tests.compat.conftest import KeyOf
from tests.links.conftest import owner  # noqa: F401  # a fixture

PATH = "/yourls-api.php"
URL = "https://www.example.com/page?a=1"


class Yourls:
    """Calls the API as its clients do, with JSON for an answer."""

    def __init__(self, client: httpx.AsyncClient, key: str) -> None:
        self.client = client
        self.key = key

    async def call(self, action: str, **parameters: str) -> httpx.Response:
        sent = {"signature": self.key, "action": action, "format": "json", **parameters}
        return await self.client.get(PATH, params=sent)

    async def shorten(self, url: str = URL, **parameters: str) -> dict[str, Any]:
        answer = await self.call("shorturl", url=url, **parameters)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
async def yourls(foreign: httpx.AsyncClient, key_of: KeyOf) -> Yourls:
    return Yourls(foreign, await key_of("alice"))


@pytest.fixture
async def bob(foreign: httpx.AsyncClient, key_of: KeyOf) -> Yourls:
    return Yourls(foreign, await key_of("bob"))


async def test_link_is_created(yourls: Yourls, alice: httpx.AsyncClient) -> None:
    """A new link is answered with what YOURLS answers, member by member, and is a link of the key's owner."""
    before = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    answer = await yourls.shorten(keyword="mine", title="A page")
    date = answer["url"].pop("date")

    assert answer == {
        "status": "success",
        "code": "",
        "message": f"{URL} added to database",
        "errorCode": "",
        "statusCode": "200",
        "url": {"keyword": "mine", "url": URL, "title": "A page", "ip": ""},
        "title": "A page",
        "shorturl": "https://sho.rt/mine",
    }
    assert datetime.strptime(date, "%Y-%m-%d %H:%M:%S") >= before  # noqa: DTZ007  # as clients read it
    link = (await alice.get("/api/v1/links/mine")).json()
    assert (link["url"], link["title"], link["owner"]) == (URL, "A page", "alice")


async def test_long_url_is_cut_in_the_message(yourls: Yourls) -> None:
    """Messages show 60 characters of a target; the answer has all of it. Without a title the target is the title."""
    url = "https://www.example.com/" + "a" * 100
    answer = await yourls.shorten(url)

    assert answer["message"] == f"{url[:55]}[...] added to database"
    assert answer["url"]["url"] == answer["title"] == url


async def test_known_target_makes_another_link(yourls: Yourls) -> None:
    """As with YOURLS' setting UNIQUE_URLS off, the same target again is a second link."""
    first, second = await yourls.shorten(), await yourls.shorten()

    assert first["shorturl"] != second["shorturl"]


async def test_known_target_is_found_if_asked_for(yourls: Yourls) -> None:
    """With `find_existing` the answer is the failure of YOURLS up to 1.9.0: status 200, and the short URL that there is."""
    first = await yourls.shorten(keyword="mine", title="A page")
    again = await yourls.shorten(title="A page", find_existing="true")

    assert (again["status"], again["code"]) == ("fail", "error:url")
    assert again["message"] == f"{URL} already exists in database (short URL: sho.rt/mine)"
    assert again["errorCode"] == again["statusCode"] == "200"
    assert again["url"] == {**first["url"], "clicks": 0}
    assert again["shorturl"] == "https://sho.rt/mine"
    simple = await yourls.call("shorturl", url=URL, title="A page", find_existing="1", format="simple")
    assert simple.text == "https://sho.rt/mine"


TAKEN = "Short URL {} already exists in database or is reserved"

REFUSED = [
    ({"keyword": "taken"}, "error:keyword", TAKEN.format("taken")),
    ({"keyword": "api"}, "error:keyword", TAKEN.format("api")),
    ({"keyword": "a?b"}, "error:keyword", None),
    ({"url": ""}, "error:nourl", "Missing or malformed URL"),
    ({"url": "http://"}, "error:nourl", "Missing or malformed URL"),
    ({"url": "https://sho.rt/taken"}, "error:noloop", "URL is a short URL"),
    ({"url": "javascript:alert(1)"}, "error:nourl", "URL must begin with http:// or https://"),
    ({"url": "http://127.0.0.1/"}, "error:nourl", "URL must not lead to a private, loopback or link-local host"),
    ({"url": f"https://www.example.com/{'a' * 9000}"}, "error:nourl", None),
    ({"title": "a\u202eb"}, "error:title", "title must not contain the invisible character U+202E"),
]


@pytest.mark.parametrize(("parameters", "code", "message"), REFUSED, ids=lambda each: str(each)[:40])
async def test_refusals(yourls: Yourls, parameters: dict[str, str], code: str, message: str | None) -> None:
    """A link that cannot be is refused by 400, with YOURLS' code and message where it has one, and a reason elsewhere."""
    await yourls.shorten(keyword="taken")
    answer = await yourls.call("shorturl", **{"url": URL, **parameters})
    body = answer.json()

    assert answer.status_code == 400
    assert (body["status"], body["code"], body["statusCode"], body["errorCode"]) == ("fail", code, "400", "400")
    assert message is None or body["message"] == message
    assert "shorturl" not in body


async def test_url_without_scheme(yourls: Yourls) -> None:
    """A target without a scheme gets http://, and blanks around it go; a host with a port has no scheme."""
    assert (await yourls.shorten("example.com:8080/a"))["url"]["url"] == "http://example.com:8080/a"
    assert (await yourls.shorten(" www.example.com/a "))["url"]["url"] == "http://www.example.com/a"


@pytest.mark.parametrize("name", ["mine", "https://sho.rt/mine", "http://SHO.RT/mine", "sho.rt/mine"])
async def test_expand(yourls: Yourls, bob: Yourls, name: str) -> None:
    """A link is found by its keyword or its short URL; another owner's is not found."""
    await yourls.shorten(keyword="mine", title="A page")
    found = await yourls.call("expand", shorturl=name)

    assert found.status_code == 200
    assert found.json() == {
        "keyword": "mine",
        "shorturl": "https://sho.rt/mine",
        "longurl": URL,
        "title": "A page",
        "message": "success",
        "statusCode": "200",
    }
    assert (await yourls.call("expand", shorturl=name, format="simple")).text == URL
    refused = await bob.call("expand", shorturl=name)
    assert refused.status_code == 404
    assert refused.json() == {"keyword": "mine", "message": "Error: short URL not found", "errorCode": "404"}
    assert (await bob.call("expand", shorturl=name, format="simple")).text == "not found"


async def test_domain_is_the_one_that_is_talked_to(yourls: Yourls) -> None:
    """Who keeps the address of an old site in a client gets links of that domain, and means its keywords."""
    sent = {"signature": yourls.key, "format": "json"}
    there = {"Host": "go.example.org"}
    made = await yourls.client.get(
        PATH, params={**sent, "action": "shorturl", "url": URL, "keyword": "mine"}, headers=there
    )
    found = await yourls.client.get(PATH, params={**sent, "action": "expand", "shorturl": "mine"}, headers=there)

    assert made.json()["shorturl"] == found.json()["shorturl"] == "https://go.example.org/mine"
    assert (await yourls.call("expand", shorturl="mine")).status_code == 404


async def test_second_domain_is_named_by_its_short_url(yourls: Yourls, alice: httpx.AsyncClient) -> None:
    """A keyword is that of the domain that is talked to; a short URL names its domain itself."""
    await alice.post("/api/v1/links", json={"url": URL, "code": "there", "domain": "go.example.org"})

    assert (await yourls.call("expand", shorturl="there")).status_code == 404
    assert (await yourls.call("expand", shorturl="https://go.example.org/there")).json()["longurl"] == URL


async def test_url_stats(yourls: Yourls, bob: Yourls, owner: Connection) -> None:  # noqa: F811
    """The clicks of a link are a number beside what it is; an unknown one is 404 within and without."""
    await yourls.shorten(keyword="mine", title="A page")
    await owner.execute("UPDATE links SET clicks = 7, clicks_sorted = 7")
    body = (await yourls.call("url-stats", shorturl="mine")).json()

    assert body.keys() == {"statusCode", "message", "link"}
    assert body["link"].pop("timestamp")
    assert body["link"] == {"shorturl": "https://sho.rt/mine", "url": URL, "title": "A page", "ip": "", "clicks": 7}
    unknown = await bob.call("url-stats", shorturl="mine")
    assert unknown.status_code == 404
    assert unknown.json() == {"statusCode": "404", "message": "Error: short URL not found"}


async def test_stats(yourls: Yourls, bob: Yourls, owner: Connection) -> None:  # noqa: F811
    """Links come by clicks or age, from a place on, of the key's owner alone; a limit of 0 leaves them out."""
    for number, keyword in enumerate(("a", "b", "c", "d")):
        await yourls.shorten(keyword=keyword)
        await owner.execute("UPDATE links SET clicks = $1, clicks_sorted = $1 WHERE code = $2", number % 3, keyword)
    await bob.shorten(keyword="his")

    async def keywords(**asked: str) -> list[str]:
        body = (await yourls.call("stats", **asked)).json()
        assert body["stats"] == {"total_links": 4, "total_clicks": 3}
        assert (body["statusCode"], body["message"]) == ("200", "success")
        links = body.get("links", {})
        assert list(links) == [f"link_{number}" for number in range(1, len(links) + 1)]
        return [link["shorturl"].rpartition("/")[2] for link in links.values()]

    assert await keywords(filter="top", limit="2") == ["c", "b"]
    assert await keywords(filter="top", limit="2", start="1") == ["b", "d"]
    assert await keywords(filter="bottom", limit="9") == ["a", "d", "b", "c"]
    assert await keywords(filter="last", limit="3") == ["d", "c", "b"]
    assert sorted(await keywords(filter="rand", limit="9")) == ["a", "b", "c", "d"]
    assert len(await keywords(filter="random", limit="2")) == 2
    assert await keywords(limit="0") == await keywords() == await keywords(limit="-3") == []
    assert (await bob.call("db-stats")).json() == {
        "db-stats": {"total_links": 1, "total_clicks": 0},
        "statusCode": "200",
        "message": "success",
    }


@pytest.mark.parametrize("asked", [{"limit": "1001"}, {"limit": "1", "start": "1000001"}, {"limit": "9" * 30}])
async def test_stats_are_bounded(yourls: Yourls, asked: dict[str, str]) -> None:
    """No list is so long or so far down that it takes the database from others."""
    answer = await yourls.call("stats", **asked)

    assert answer.status_code == 400
    assert "must not be greater than" in answer.json()["message"]


async def test_version(yourls: Yourls) -> None:
    """Clients that ask get a version of YOURLS, and with `db` that of its tables."""
    assert (await yourls.call("version")).json() == {"version": "1.10.4"}
    assert (await yourls.call("version", db="1")).json() == {"version": "1.10.4", "db_version": "507"}
    assert (await yourls.call("version", format="simple")).text == "1.10.4"


@pytest.mark.parametrize("action", ["", "delete", "shorturls"])
async def test_unknown_action(yourls: Yourls, action: str) -> None:
    """What is no action of YOURLS itself is 400, as its plugins' are where they are not installed."""
    answer = await yourls.call(action)

    assert answer.status_code == 400
    assert answer.json() == {"errorCode": "400", "message": 'Unknown or missing "action" parameter'}


async def test_password_is_as_good_as_a_signature(foreign: httpx.AsyncClient, key_of: KeyOf) -> None:
    """The key goes as signature or as password; the user name, which clients ask for, does not matter."""
    key = await key_of("alice")
    for sent in ({"signature": key}, {"username": "anyone", "password": key}, {"password": key}):
        answer = await foreign.post(PATH, data={**sent, "action": "version", "format": "json"})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({}, "Please log in"),
        ({"signature": "1002a612b4"}, "Invalid username or password"),
        ({"username": "admin", "password": "secret"}, "Invalid username or password"),
        ({"signature": "a" * 32, "timestamp": "1700000000"}, None),
    ],
)
async def test_wrong_keys(foreign: httpx.AsyncClient, sent: dict[str, str], message: str | None) -> None:
    """Without a valid key the answer is 403 with YOURLS' message; a timed signature is told that it is not offered."""
    answer = await foreign.get(PATH, params={**sent, "action": "shorturl", "url": URL, "format": "json"})
    body = answer.json()

    assert answer.status_code == 403
    assert (body["errorCode"], body["callback"]) == ("403", "")
    assert body["message"] == (message or body["message"])
    assert message or body["message"].startswith("Timed signatures are not offered")
    simple = await foreign.get(PATH, params={**sent, "action": "shorturl", "url": URL, "format": "simple"})
    assert simple.text == body["message"]


async def test_scopes_hold(foreign: httpx.AsyncClient, key_of: KeyOf, alice: httpx.AsyncClient) -> None:
    """A key that only reads creates nothing here, and one that only writes reads nothing."""
    reader = Yourls(foreign, await key_of("alice", "links:read"))
    writer = Yourls(foreign, await key_of("alice", "links:write"))

    assert (await reader.call("shorturl", url=URL)).status_code == 403
    for action in ("expand", "url-stats", "stats", "db-stats"):
        assert (await writer.call(action)).status_code == 403
    assert (await alice.get("/api/v1/links")).json()["items"] == []


async def test_formats(yourls: Yourls) -> None:
    """XML is the default, JSONP has a callback that is nothing but a name, and text is the short URL alone."""
    key = {"signature": yourls.key}
    created = {**key, "action": "shorturl", "url": "https://www.example.com/?a=1&b=<2>", "keyword": "mine"}
    xml = await yourls.client.get(PATH, params=created)
    root = ET.fromstring(xml.text)  # noqa: S314  # our own

    assert xml.headers["content-type"].startswith("application/xml")
    assert root.findtext("shorturl") == "https://sho.rt/mine"
    assert root.findtext("url/url") == "https://www.example.com/?a=1&b=<2>"
    jsonp = await yourls.client.get(PATH, params={**key, "action": "version", "format": "jsonp", "callback": "do.it"})
    assert jsonp.headers["content-type"].startswith("application/javascript")
    assert jsonp.text == 'do.it({"version":"1.10.4","callback":"do.it"})'
    for callback in ("alert(1)//", "a\\u2028b", "", "u2028"):
        sent = {**created, "keyword": "uncalled", "format": "jsonp", "callback": callback}
        refused = await yourls.client.get(PATH, params=sent)
        assert refused.status_code == 400
        assert refused.json() == {"errorCode": "400", "error": "Invalid callback parameter"}
    assert (await yourls.call("expand", shorturl="uncalled")).status_code == 404
    simple = await yourls.client.get(PATH, params={**created, "keyword": "other", "format": "simple"})
    assert simple.headers["content-type"].startswith("text/plain")
    assert simple.text == "https://sho.rt/other"
    stats = await yourls.client.get(PATH, params={**key, "action": "stats", "format": "simple"})
    assert stats.text == "Need either XML or JSON format for stats"


async def test_control_characters_make_no_broken_xml(yourls: Yourls) -> None:
    """What XML cannot hold is replaced there, whatever a client sends to be echoed."""
    sent = {"signature": yourls.key, "action": "expand", "shorturl": "a\x01\ud800b".encode("utf-8", "surrogatepass")}
    answer = await yourls.client.post(PATH, data=sent)

    assert ET.fromstring(answer.text).findtext("errorCode") == "404"  # noqa: S314  # our own


async def test_query_and_form_are_merged(yourls: Yourls) -> None:
    """Parameters may be in the query, a form or several parts, and the body's count; what is unknown is ignored."""
    query = {"signature": "wrong", "format": "json", "plugin": "x"}
    sent = {"signature": yourls.key, "action": "shorturl", "url": URL, "unknown": "1"}

    for body in ({"data": sent}, {"files": {name: (None, value) for name, value in sent.items()}}):
        answer = await yourls.client.post(PATH, params=query, **body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["url"]["url"] == URL


async def test_bytes_that_are_no_text(yourls: Yourls) -> None:
    """A byte that is no UTF-8, which a client did not encode twice, stays percent-encoded in the target."""
    url = "https%3A%2F%2Fwww.example.com%2F%E4"
    answer = await yourls.client.get(f"{PATH}?signature={yourls.key}&action=shorturl&format=json&url={url}")

    assert answer.json()["url"]["url"] == "https://www.example.com/%E4"


PART = b'--x\r\nContent-Disposition: form-data; name="a"%b\r\n\r\nb\r\n--x--\r\n'

HOSTILE_BODIES = [
    ("multipart/form-data", b"--x\r\n"),
    ("multipart/form-data; boundary=x", b"not a part"),
    ("multipart/form-data; boundary=x", PART % b'; filename="f"'),
    ("multipart/form-data; boundary=x", PART.replace(b'; name="a"', b"") % b""),
    ("multipart/form-data; boundary=x; charset=nowhere", PART % b""),
    ("application/x-www-form-urlencoded", b"a=1&" * 200),
    ("application/x-www-form-urlencoded", b"a" * 70_000),
]


@pytest.mark.parametrize(("media_type", "body"), HOSTILE_BODIES, ids=range(len(HOSTILE_BODIES)))
async def test_hostile_bodies(foreign: httpx.AsyncClient, media_type: str, body: bytes) -> None:
    """A body that is malformed, has files, or is too large or too much is refused, and nothing breaks."""
    answer = await foreign.post(f"{PATH}?format=json", content=body, headers={"Content-Type": media_type})

    assert answer.status_code in (400, 403, 413)
    assert "message" in answer.json()


async def test_head_creates_nothing(yourls: Yourls, alice: httpx.AsyncClient) -> None:
    """A HEAD, which programs send to look, is refused."""
    sent = {"signature": yourls.key, "action": "shorturl", "url": URL}
    answer = await yourls.client.head(PATH, params=sent)

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    assert (await alice.get("/api/v1/links")).json()["items"] == []


async def test_wrong_method_names_the_right_ones(foreign: httpx.AsyncClient) -> None:
    """Other methods are told which ones there are."""
    answer = await foreign.put(PATH)

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"


async def test_answers_are_json_of_ascii(yourls: Yourls) -> None:
    """A title in another script comes back as it was."""
    answer = await yourls.call("shorturl", url=URL, title="Zürich 🎉", keyword="mine")

    assert answer.content.isascii()
    assert json.loads(answer.content)["title"] == "Zürich 🎉"


@pytest.mark.parametrize("keyword", ["mail+", "a.b~", "größe", "🎉", "a" * 255])
async def test_keywords_of_any_script(yourls: Yourls, keyword: str) -> None:
    """Whatever a link of this site can be called, a client can make and find, also by the short URL that it was given."""
    made = await yourls.shorten(keyword=keyword)
    found = (await yourls.call("expand", shorturl=keyword)).json()

    assert (made["url"]["keyword"], found["longurl"]) == (keyword, URL)
    assert (await yourls.call("expand", shorturl=made["shorturl"])).json()["keyword"] == keyword
