"""Search finds what one sees: the short URL as it was copied, the target as it was typed, whatever its spelling is stored."""

import unicodedata

import httpx
import pytest

from tests.links.conftest import fields_at_fault

LINKS = "/api/v1/links"

TARGETS = {
    "chinese": "https://example.com/路径/文件?关键词=值",
    "german": "https://rockbär.example.com/Größe/Ärger?q=müde",
    "idn": "https://müller.de/straße",
    "blanks": "https://example.com/a file (1).pdf",
    "decomposed": f"https://example.com/{unicodedata.normalize('NFD', 'café-ñandú')}",
    "plain": "http://www.example.com/Plain/page.html?x=1#top",
    "emoji": "https://example.com/🎉",
}

FINDS = {
    "路径": "chinese",
    "路径/文件": "chinese",
    "example.com/路径": "chinese",
    "https://example.com/路径/文件": "chinese",
    "关键词=值": "chinese",
    "%E8%B7%AF": "chinese",
    "rockbär": "german",
    "ROCKBÄR": "german",
    "rockbär.example.com": "german",
    "https://rockbär.example.com": "german",
    "rockbär.example.com/größe": "german",
    "http://rockbär.example.com/Größe/": "german",
    "größe/ärger": "german",
    "GRÖ": "german",
    "müde": "german",
    "xn--rockbr-fua": "german",
    "müller.de": "idn",
    "MÜLLER.de/Straße": "idn",
    "https://müller.de/straße": "idn",
    "a file (1)": "blanks",
    "a%20file": "blanks",
    "example.com/a file": "blanks",
    "café": "decomposed",
    "café-ñandú": "decomposed",
    "example.com/CAFÉ": "decomposed",
    "page.html": "plain",
    "PLAIN/page": "plain",
    "www.example.com/plain": "plain",
    "https://www.example.com/Plain/page.html?x=1#top": "plain",
    "http://www.example.com:80/Plain": "plain",
    "🎉": "emoji",
}


@pytest.fixture
async def stocked(alice: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client with a link to each of the targets, each under its name."""
    for code, url in TARGETS.items():
        assert (await alice.post(LINKS, json={"url": url, "code": code})).status_code == 201
    await alice.post(LINKS, json={"url": "https://example.com/other", "code": "plain", "domain": "go.example.org"})
    return alice


async def find(client: httpx.AsyncClient, text: str, path: str = LINKS) -> list[str]:
    """The short links that are found, without their scheme."""
    items = (await client.get(path, params={"q": text, "sort": "code"})).json()["items"]
    return [f"{item['domain']}/{item['code']}" for item in items]


async def test_target_is_found_as_typed(stocked: httpx.AsyncClient) -> None:
    """Letters find what is stored percent-encoded or as Punycode, in either normal form and either case."""
    for typed, code in FINDS.items():
        for form in ("NFC", "NFD"):
            assert await find(stocked, unicodedata.normalize(form, typed)) == [f"sho.rt/{code}"], typed
    for nothing in ("路経", "rockbar", "grosse", "größe ärger", "sho.rt/nothing", "_", "\\"):
        assert await find(stocked, nothing) == [], nothing


@pytest.mark.parametrize(
    "text",
    [
        *(
            "https://sho.rt/plain",
            "http://sho.rt/plain",
            "sho.rt/plain",
            "SHO.RT/plain",
            "sho.rt/plain/",
            " sho.rt/plain ",
        ),
        *(
            "www.sho.rt/plain",
            "https://www.sho.rt/plain/",
            "sho.rt./plain",
            "HTTPS://Sho.rt/plain",
            "sho.rt:8443/plain",
        ),
        *(
            "https://sho.rt/plain?utm_source=x",
            "sho.rt/plain#top",
            "https://sho.rt/plain.",
            "sho.rt/plai",
            "sho.rt/plain)",
        ),
    ],
)
async def test_short_url_is_found_as_copied(stocked: httpx.AsyncClient, text: str) -> None:
    """The address of a short link finds it, and not the link of the same code on another domain."""
    assert await find(stocked, text) == ["sho.rt/plain"]


@pytest.mark.parametrize(
    "text", ["\u200bsho.rt/plain\ufeff", "\u200esho.rt/plain\u200f \n", "\u2060https://sho.rt/plain"]
)
async def test_what_is_copied_along_is_not_looked_for(stocked: httpx.AsyncClient, text: str) -> None:
    """Blanks without width and marks of direction around a text are nothing that one sees; alone they are no text."""
    assert await find(stocked, text) == ["sho.rt/plain"]
    assert fields_at_fault(await stocked.get(LINKS, params={"q": "\u200b \ufeff"})) == {"q"}


async def test_long_target_is_found_by_all_of_it(alice: httpx.AsyncClient) -> None:
    """A target of the length that campaigns have can be pasted whole."""
    url = "https://www.example.com/?" + "&".join(f"utm_{n}=Größe-{n:040}" for n in range(15))
    await alice.post(LINKS, json={"url": url, "code": "long"})

    assert 700 < len(url) < 1000
    assert await find(alice, url) == ["sho.rt/long"]
    assert fields_at_fault(await alice.get(LINKS, params={"q": "x" * 1001})) == {"q"}


async def test_short_url_names_its_domain(stocked: httpx.AsyncClient) -> None:
    """Each domain has its own; a code of another case is another code; the export finds the same."""
    assert await find(stocked, "https://go.example.org/plain") == ["go.example.org/plain"]
    assert await find(stocked, "sho.rt/Plain") == []
    assert await find(stocked, "sho.rt/idnx") == []
    assert sorted(await find(stocked, "plain")) == ["go.example.org/plain", "sho.rt/plain"]
    exported = await stocked.get(
        "/api/v1/exports", params={"q": "sho.rt/plain"}, headers={"Accept": "application/x-ndjson"}
    )
    assert len(exported.text.splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["[", "::", "a@b", "*", "(?i)", "a|b", "\\d", ".*", "{1,3}", "^h", "$", "\\", "ế" * 200]
)
async def test_text_is_taken_literally(stocked: httpx.AsyncClient, text: str) -> None:
    """What means something to a pattern, or would to a parser of addresses, is looked for as it is; so is the longest."""
    assert await find(stocked, text) == []


@pytest.mark.parametrize("text", ["http://", "https:///", "//", "/", "?", "#", "(", "http"])
async def test_part_of_an_address_is_a_text(stocked: httpx.AsyncClient, text: str) -> None:
    """What begins like an address, and is none, finds the targets that contain it."""
    stored = [item["url"] for item in (await stocked.get(LINKS)).json()["items"]]
    assert len(await find(stocked, text)) == sum(text in url for url in stored)
