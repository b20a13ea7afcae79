"""Request bodies: what is no JSON, or JSON that parsers read differently, never becomes a link and never a 500."""

import json
from typing import Any

import httpx
import pytest

from services.links.web.bodies import LARGEST_BODY
from tests.links.conftest import fields_at_fault

LINKS = "/api/v1/links"
KEYS = "/api/v1/keys"

MALFORMED = {
    "nothing": b"",
    "blanks": b" \r\n\t",
    "not JSON": b"url=x",
    "cut off": b'{"url": "https://example.com/"',
    "trailing data": b'{"url": "https://example.com/"} {}',
    "NaN": b'{"url": "https://example.com/", "cache_control": NaN}',
    "Infinity": b'{"cache_control": -Infinity}',
    "a number too large": b'{"cache_control": 1e400}',
    "a field twice": b'{"url": "https://example.com/", "url": "https://evil.example/"}',
    "a field twice within": b'{"url": {"a": 1, "a": 2}}',
    "too deep": b"[" * 8000 + b"]" * 8000,
    "byte order mark": b'\xef\xbb\xbf{"url": "https://example.com/"}',
    "UTF-16": '{"url": "https://example.com/"}'.encode("utf-16"),
    "UTF-32": '{"url": "https://example.com/"}'.encode("utf-32"),
    "no UTF-8": b'{"title": "\xff"}',
    "half a surrogate pair": b'{"url": "https://example.com/", "title": "\\ud800"}',
    "half a pair in a name": b'{"\\udfff": 1}',
    "a raw control character": b'{"title": "a\nb"}',
    "single quotes": b"{'url': 'https://example.com/'}",
    "a comment": b'{"url": "https://example.com/" /* x */}',
    "a huge integer": b'{"cache_control": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_json_is_refused(alice: httpx.AsyncClient, body: bytes) -> None:
    """Every reading of the body that is not certain is answered 400 or 422, and says why."""
    for method, path in (("POST", LINKS), ("PATCH", f"{LINKS}/x")):
        response = await alice.request(method, path, content=body, headers={"Content-Type": "application/json"})

        assert response.status_code in (400, 422)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["detail"]


WHOLE = {"60.0": 60, "6e1": 60, "0.6E+2": 60, "6000e-2": 60, "60.000": 60, "-0.0": 0, "0e5": 0}


@pytest.mark.parametrize(("written", "number"), WHOLE.items())
async def test_whole_number_is_whole_however_it_is_written(alice: httpx.AsyncClient, written: str, number: int) -> None:
    """JSON has one kind of number, and some languages write each with a fraction; in a batch it is the same."""
    body = f'{{"url": "https://example.com/", "code": "n", "cache_control": {written}, "status_code": 307.0}}'.encode()
    headers = {"Content-Type": "application/json"}
    created = (await alice.post(LINKS, content=body, headers=headers)).json()
    edited = (await alice.patch(f"{LINKS}/n", content=b'{"status_code": 3.01e2}', headers=headers)).json()
    batch = await alice.post(
        f"{LINKS}/batch", content=b'{"links": [%b]}' % body.replace(b'"n"', b'"m"'), headers=headers
    )
    (row,) = batch.json()["results"]

    assert (created["cache_control"], created["status_code"], edited["status_code"]) == (number, 307, 301)
    assert (row["link"]["cache_control"], row["link"]["status_code"]) == (number, 307)


@pytest.mark.parametrize(
    "written", ["60.5", "-1.0", "1e300", "9007199254740993.0", "true", '"60"', "[60]", '""', "1e-400"]
)
async def test_what_is_no_whole_number_is_refused(alice: httpx.AsyncClient, written: str) -> None:
    """A fraction is not cut off, and a text or a truth is no number; a fraction too small for one is none."""
    body = f'{{"url": "https://example.com/", "cache_control": {written}}}'.encode()
    response = await alice.post(LINKS, content=body, headers={"Content-Type": "application/json"})

    assert (
        (response.json()["cache_control"] == 0)
        if written == "1e-400"
        else fields_at_fault(response) == {"cache_control"}
    )


def largest(escape: Any) -> dict[str, bytes]:
    """Bodies with every field at its limit, spelled by `escape`."""
    tags = [chr(0x1F300 + n) * 64 for n in range(20)]
    fields = {
        "domain": "go.example.org",
        "title": "\U0001f600" * 512,
        "tags": tags,
        "status_code": 308,
        "cache_control": 31536000,
        "valid_from": "2198-12-31T23:59:59.123456789+14:00",
        "expires_at": "2199-12-30T23:59:59.123456789+14:00",
        "enabled": False,
        "forward_query": True,
        "find_existing": False,
    }
    targets = {
        "ASCII": "https://e.example/" + "a" * (8192 - 18),
        "two bytes": "https://e.example/" + "ä" * ((8192 - 18) // 6),
        "three bytes": "https://e.example/" + "路" * ((8192 - 18) // 9),
        "four bytes": "https://e.example/" + "\U0001f600" * ((8192 - 18) // 12),
    }
    return {name: escape({"url": url, "expired_url": url, "code": "c" * 64, **fields}) for name, url in targets.items()}


def escape_all(value: Any) -> bytes:
    """JSON with each character of each text as an escape, ASCII too."""
    if isinstance(value, dict):
        return b"{" + b",".join(escape_all(name) + b":" + escape_all(each) for name, each in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(escape_all, value)) + b"]"
    if isinstance(value, str):
        units = value.encode("utf-16-be")
        return (
            b'"'
            + b"".join(b"\\u%04x" % int.from_bytes(units[n : n + 2], "big") for n in range(0, len(units), 2))
            + b'"'
        )
    return json.dumps(value).encode()


SPELLED = {
    "UTF-8": lambda value: json.dumps(value, ensure_ascii=False).encode(),
    "escapes": lambda value: json.dumps(value, indent=4).encode(),
    "escapes of all": escape_all,
}


@pytest.mark.parametrize("target", largest(escape_all))
@pytest.mark.parametrize("spelling", SPELLED)
async def test_every_field_at_its_limit_fits(alice: httpx.AsyncClient, spelling: str, target: str) -> None:
    """A link at every limit can be created, edited and made in a batch, however its JSON is written."""
    body = largest(SPELLED[spelling])[target]
    headers = {"Content-Type": "application/json"}
    created = await alice.post(LINKS, content=body, headers=headers)
    again = await alice.post(f"{LINKS}/batch", content=b'{"links": [%b]}' % body, headers=headers)
    fields = {name: each for name, each in json.loads(body).items() if name not in ("domain", "code", "find_existing")}
    where = f"{LINKS}/{'c' * 64}?domain=go.example.org"
    edited = await alice.patch(where, content=SPELLED[spelling](fields), headers=headers)

    assert created.status_code == 201, created.text
    assert edited.status_code == 200, edited.text
    assert [result["status"] for result in again.json()["results"]] == [409], "the same code, and nothing else is wrong"
    assert len(created.json()["title"]) == 512


async def test_too_long_a_field_is_named_and_not_the_body(alice: httpx.AsyncClient) -> None:
    """A little too much of everything, in the longest spelling, is said of the fields."""
    text = "\U0001f600"
    fields: dict[str, object] = {
        "url": text * 8193,
        "expired_url": text * 8193,
        "title": text * 513,
        "tags": [text * 65],
    }
    response = await alice.post(LINKS, content=SPELLED["escapes"](fields), headers={"Content-Type": "application/json"})

    assert fields_at_fault(response) == {"url", "expired_url", "title", "tags.0"}


WIDE: dict[str, Any] = {
    "fields": {str(n): 1 for n in range(20_000)},
    "tags": {"url": "https://example.com/", "tags": ["x"] * 50_000},
    "empty tags": {"url": "https://example.com/", "tags": [""] * 60_000},
    "objects": {"url": "https://example.com/", "tags": [{}] * 60_000},
    "object of fields": {"url": {str(n): 1 for n in range(20_000)}},
    "conditions": {"url": "https://example.com/", "rules": [{"if": {str(n): 1 for n in range(20_000)}}]},
    "values": {"url": "https://example.com/", "rules": [{"if": {"os": [1] * 60_000}}]},
    "rules": {"url": "https://example.com/", "rules": [{"if": {str(n): "some text" for n in range(90)}}] * 99},
}


@pytest.mark.parametrize("body", WIDE.values(), ids=WIDE)
@pytest.mark.parametrize(("method", "path"), [("POST", LINKS), ("PATCH", f"{LINKS}/x"), ("POST", KEYS)])
async def test_wide_body_has_a_short_answer(alice: httpx.AsyncClient, body: Any, method: str, path: str) -> None:
    """What has thousands of entries is refused as a whole, without a line for each of them."""
    content = json.dumps(body, separators=(",", ":")).encode()
    assert 100_000 < len(content) <= LARGEST_BODY
    response = await alice.request(method, path, content=content, headers={"Content-Type": "application/json"})

    assert response.status_code in (403, 422)
    assert len(response.content) < 20_000


@pytest.mark.parametrize("value", [b"null", b"[]", b'"x"', b"5", b"true", b'[{"url": "https://example.com/"}]'])
async def test_json_that_is_no_object_is_invalid(alice: httpx.AsyncClient, value: bytes) -> None:
    """A body has to be an object of fields."""
    response = await alice.post(LINKS, content=value, headers={"Content-Type": "application/json"})

    assert response.status_code == 422
    assert response.json()["type"] == "urn:tinyurl:problem:invalid-input"


async def test_surrogate_pair_is_a_character(alice: httpx.AsyncClient) -> None:
    """A whole pair spells one character and is fine."""
    body = b'{"url": "https://example.com/", "title": "\\ud83d\\ude00"}'
    response = await alice.post(LINKS, content=body, headers={"Content-Type": "application/json; charset=utf-8"})

    assert response.json()["title"] == "😀"


@pytest.mark.parametrize(
    "content_type",
    [
        *("application/json", "Application/JSON", "APPLICATION/JSON; CHARSET=UTF-8", "application/json;charset=utf-8"),
        *("application/json ; charset=utf-8", "application/merge-patch+json", "application/vnd.example+json; v=1"),
    ],
)
async def test_types_of_json_are_json(alice: httpx.AsyncClient, content_type: str) -> None:
    """Case and parameters do not matter, and a type that says that it is JSON is (RFC 6839)."""
    headers = {"Content-Type": content_type}
    created = await alice.post(LINKS, content=b'{"url": "https://example.com/", "code": "t"}\n\r\n ', headers=headers)
    edited = await alice.patch(f"{LINKS}/t", content=b' \t{"title": "t"}\n', headers=headers)
    batch = await alice.post(f"{LINKS}/batch", content=b'{"links": []}\n', headers=headers)

    assert (created.status_code, edited.status_code, batch.status_code) == (201, 200, 200)


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json", "text/x+json"],
)
async def test_body_must_say_that_it_is_json(alice: httpx.AsyncClient, content_type: str | None) -> None:
    """A form of another site, which can only send these types, gets 415."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    for method, path in (("POST", LINKS), ("PATCH", f"{LINKS}/x")):
        response = await alice.request(method, path, content=b'{"url": "https://example.com/"}', headers=headers)

        assert response.status_code == 415


async def test_large_body_is_refused_early(alice: httpx.AsyncClient) -> None:
    """More than 256 KiB is not read, whether its length is told or not."""

    async def endless() -> object:
        for _ in range(10_000):
            yield b"x" * 10_000

    headers = {"Content-Type": "application/json"}
    told = await alice.post(LINKS, content=b" " * (LARGEST_BODY + 1), headers=headers)
    untold = await alice.post(LINKS, content=endless(), headers=headers)  # type: ignore[arg-type]  # an async iterator

    assert told.status_code == untold.status_code == 413
    assert told.json()["type"] == "urn:tinyurl:problem:body-too-large"
