"""Titles and tags: what people write in any script is taken as it is spelled, and what hides in a text is not."""

import unicodedata

import asyncpg
import httpx
import pytest
from pydantic import TypeAdapter, ValidationError

from services.links.web.texts import Tag, Title
from shared.schema import migrations
from tests.conftest import Database
from tests.links.conftest import fields_at_fault

LINKS = "/api/v1/links"
URL = "https://www.example.com/"

SPELLED = {
    "Persian": "می‌خواهم نامه‌ها",
    "Kurdish, at the end of a word": "ئه‌م نامه‌ یه",
    "Persian year": "۱۴۰۳ ه‍.",
    "Hindi": "क्‍ष शरद्‌काल",
    "Malayalam, at the end of a word": "അവന്‍ വന്നു",
    "Sinhala": "ශ්‍රී ලංකා",
    "Bengali": "র‍্যাব",
    "Mongolian": "ᠬᠠᠷ\u180eᠠ",
    "Khmer": "ភាសា\u200bខ្មែរ",
    "Thai": "ภาษา\u200bไทย",
    "Arabic verse": "\u06ddآية",
    "German": "Auf‌lage",
    "soft hyphen": "Donau\u00addampf\u00adschiff",
    "Vietnamese": "Tiếng Việt",
    "Hebrew": "שָׁלוֹם",
    "Korean": "한국어",
    "family": "👩‍👩‍👧‍👦",
    "skin tone": "👍🏽 👩🏿‍🚀",
    "heart on fire": "❤️‍🔥",
    "rainbow and pirates": "🏳️‍🌈🏴‍☠️",
    "flags": "🇩🇪🇬🇷",
    "Scotland and Texas": "🏴󠁧󠁢󠁳󠁣󠁴󠁿 🏴󠁵󠁳󠁴󠁸󠁿",
    "keycap": "#️⃣1️⃣",
    "text style": "☎︎",
    "ideographic variant": "葛󠄀飾区",
    "blank without break": "10\u00a0km",
}

HIDDEN = {
    "override": ("right\u202eto left", "202E"),
    "embeddings": ("a\u202ab", "202A"),
    "pop": ("a\u202c", "202C"),
    "isolate": ("a\u2066b\u2069", "2066"),
    "Arabic mark": ("a\u061cb", "061C"),
    "left-to-right mark": ("a\u200eb", "200E"),
    "zero width space": ("zero\u200bwidth", "200B"),
    "zero width space at the end of Thai": ("ไทย\u200b", "200B"),
    "word joiner": ("a\u2060b", "2060"),
    "invisible times": ("a\u2062b", "2062"),
    "byte order mark": ("\ufeffa", "FEFF"),
    "joiner alone": ("\u200d", "200D"),
    "joiner first": ("\u200da", "200D"),
    "joiner last": ("a\u200d", "200D"),
    "joiner after a blank": ("a \u200db", "200D"),
    "joiner before a blank": ("a\u200c b", "200C"),
    "two joiners": ("a\u200d\u200cb", "200D"),
    "soft hyphen last": ("a\u00ad", "00AD"),
    "tag characters": ("a\U000e0041\U000e0042", "E0041"),
    "tag characters without an end": ("🏴\U000e0067\U000e0062\U000e0073", "E0067"),
    "more tag characters than a region has": ("🏴" + "\U000e0061" * 7 + "\U000e007f", "E0061"),
    "language tag": ("\U000e0001a", "E0001"),
    "line feed": ("a\nb", "000A"),
    "next line": ("a\u0085b", "0085"),
    "line separator": ("a\u2028b", "2028"),
    "NUL": ("a\0b", "0000"),
}

NFD = {form: unicodedata.normalize("NFD", form) for form in ("Tiếng Việt", "rockbär", "한국어", "Ångström")}


def test_the_table_is_what_it_says() -> None:
    """An editor that normalises or strips invisible characters has not touched the data above."""
    assert all("\u200c" in SPELLED[name] for name in ("Persian", "German", "Hindi"))
    assert all("\u200d" in SPELLED[name] for name in ("Sinhala", "Malayalam, at the end of a word", "family"))
    assert "\U000e007f" in SPELLED["Scotland and Texas"]


@pytest.mark.parametrize("text", SPELLED.values(), ids=SPELLED)
def test_spelling_is_taken_as_it_is(text: str) -> None:
    """Joiners, variation selectors and flags stay where they are, in titles and in tags."""
    assert TypeAdapter(Title).validate_python(text) == unicodedata.normalize("NFC", text)
    assert TypeAdapter(Tag).validate_python(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(("text", "code_point"), HIDDEN.values(), ids=HIDDEN)
def test_what_hides_is_refused_by_name(text: str, code_point: str) -> None:
    """What turns the reading direction, or makes two texts look alike, is refused; the reason names the character."""
    with pytest.raises(ValidationError, match=f"U\\+{code_point}"):
        TypeAdapter(Title).validate_python(text)
    with pytest.raises(ValidationError, match=f"U\\+{code_point}"):
        TypeAdapter(Tag).validate_python(text)


def test_limit_counts_what_is_stored() -> None:
    """A title of 512 characters is taken in either normal form; stacks of marks, which cost most to sort, are not."""
    title = "ế" * 512

    assert TypeAdapter(Title).validate_python(unicodedata.normalize("NFD", title)) == title
    for wrong in (title + "ế", "a" + "\u0301" * 31, "a" + "\u0301\u0327" * 100_000):
        with pytest.raises(ValidationError):
            TypeAdapter(Title).validate_python(wrong)


@pytest.mark.parametrize(("text", "other"), NFD.items(), ids=NFD)
async def test_normal_forms_are_one(alice: httpx.AsyncClient, text: str, other: str) -> None:
    """Whichever form is sent, NFC is stored; tags that differ in it alone are one, and a filter has either."""
    assert text != other
    created = await alice.post(LINKS, json={"url": URL, "title": other, "tags": [other, text, "x"]})
    link = created.json()

    assert (link["title"], link["tags"]) == (text, [text, "x"])
    edited = await alice.patch(f"{LINKS}/{link['code']}", json={"title": text, "tags": [text, other, "x"]})
    assert edited.headers["etag"] == '"1"'
    for asked in (text, other):
        assert len((await alice.get(LINKS, params={"tag": asked})).json()["items"]) == 1
        assert len((await alice.get(LINKS, params={"q": asked})).json()["items"]) == 1
        assert (await alice.get("/api/v1/tags", params={"q": asked})).json()["items"] == [{"tag": text, "links": 1}]
    again = {"url": URL, "title": text, "tags": ["x", other], "find_existing": True}
    assert (await alice.post(LINKS, json=again)).status_code == 200


async def test_stored_texts_are_brought_into_one_form(alice: httpx.AsyncClient, database: Database) -> None:
    """The migration spells what an older release stored; tags that become one keep the place of the first."""
    text, other = next(iter(NFD.items()))
    conn = await asyncpg.connect(database.owner_url)
    try:
        await conn.executemany(
            "INSERT INTO links (domain, code, owner, url, title, tags) VALUES ('sho.rt', $1, 'alice', $2, $3, $4)",
            [
                ("old", URL, other, ["x", other, text, "y", other]),
                ("fine", URL, text, ["x", text]),
                ("none", URL, None, []),
                ("zero", URL, "", []),
            ],
        )
        before = await conn.fetchval("SELECT xmin::text FROM links WHERE code = 'fine'")
        await conn.executemany(
            "INSERT INTO api_keys (id, hash, owner, name, scopes) VALUES ($1, '', 'alice', $2, '{}')",
            [("1", other), ("2", ""), ("3", text), ("4", None)],
        )
        await conn.execute(migrations()[6])
        names = [row["name"] for row in await conn.fetch("SELECT name FROM api_keys WHERE hash = '' ORDER BY id")]
        after = await conn.fetchval("SELECT xmin::text FROM links WHERE code = 'fine'")
    finally:
        await conn.close()

    items = (await alice.get(LINKS, params={"sort": "code"})).json()["items"]
    assert [(item["title"], item["tags"]) for item in items] == [
        (text, ["x", text]),
        (None, []),
        (text, ["x", text, "y"]),
        (None, []),
    ]
    assert names == [text, None, text, None]
    assert before == after, "what is in the form is not written again"


EMPTY = ["", " ", "\t", "\u00a0"]


@pytest.mark.parametrize("empty", EMPTY)
async def test_empty_text_is_null(alice: httpx.AsyncClient, empty: str) -> None:
    """A form sends an empty text for what it has not: on creation and on edit it is null."""
    sent = {"url": URL, "code": "e", "title": empty, "expired_url": empty, "domain": ""}
    created = (await alice.post(LINKS, json=sent)).json()
    await alice.patch(f"{LINKS}/e", json={"title": "t", "expired_url": URL})
    edited = (await alice.patch(f"{LINKS}/e", json={"title": empty, "expired_url": empty})).json()

    for link in (created, edited):
        assert (link["title"], link["expired_url"], link["domain"]) == (None, None, "sho.rt")
    again = {**sent, "find_existing": True}
    assert (await alice.post(LINKS, json=again)).status_code == 200
    assert fields_at_fault(await alice.patch(f"{LINKS}/e", json={"url": empty})) == {"url"}
