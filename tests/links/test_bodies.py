"""Request bodies: what is no JSON, or JSON that parsers read differently, never becomes a link and never a 500."""

import httpx
import pytest

from services.links.bodies import LARGEST_BODY

LINKS = "/api/v1/links"
KEYS = "/api/v1/keys"

MALFORMED = {
    "nothing": b"",
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
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
async def test_body_must_say_that_it_is_json(alice: httpx.AsyncClient, content_type: str | None) -> None:
    """A form of another site, which can only send these types, gets 415."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    for method, path in (("POST", LINKS), ("PATCH", f"{LINKS}/x")):
        response = await alice.request(method, path, content=b'{"url": "https://example.com/"}', headers=headers)

        assert response.status_code == 415


async def test_large_body_is_refused_early(alice: httpx.AsyncClient) -> None:
    """More than 16 KiB is not read, whether its length is told or not."""

    async def endless() -> object:
        for _ in range(10_000):
            yield b"x" * 10_000

    headers = {"Content-Type": "application/json"}
    told = await alice.post(LINKS, content=b" " * (LARGEST_BODY + 1), headers=headers)
    untold = await alice.post(LINKS, content=endless(), headers=headers)  # type: ignore[arg-type]  # an async iterator

    assert told.status_code == untold.status_code == 413
    assert told.json()["type"] == "urn:tinyurl:problem:body-too-large"
