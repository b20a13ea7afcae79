"""Codes of one's own in any script, with marks and slashes, over the API; and those that could be taken for another owner's."""

import asyncio
import unicodedata
from collections.abc import AsyncIterator
from urllib.parse import quote

import asyncpg
import httpx
import pytest

from services.links.codes.stems import SHADOWS, Stemmed, select_shadowed
from services.links.links.creation import Outcome, announce_links, insert_drawn, store_links
from services.links.links.rows import LinkDraft, LinkFields
from services.links.web.errors import CodeTaken
from shared.postgres import Connection
from tests.conftest import Database
from tests.links.conftest import ClientOf, fields_at_fault

LINKS = "/api/v1/links"
URL = "https://www.example.com/"

CODES = [
    "mail+",
    "a.b~",
    "\u5171",
    "caf\u00e9",
    "\u2764",
    "\U0001f469\u200d\U0001f680",
    "x" * 255,
    "\u0645\u06cc\u200c\u062e",
    "menu/today/\u5171",
]


@pytest.fixture
async def segmented(client_with: ClientOf) -> None:
    """Codes of sho.rt may have slashes in them."""
    root = await client_with("root", "admin")
    assert (await root.patch("/api/v1/domains/sho.rt", json={"multi_segment": True})).status_code == 200


@pytest.mark.parametrize("code", CODES)
@pytest.mark.usefixtures("segmented")
async def test_codes_in_any_script(client_with: ClientOf, code: str) -> None:
    """Such a code is stored in NFC, given out percent-encoded, and taken by every route, in every spelling."""
    alice = await client_with("alice", "links:read", "links:write", "stats:read", "stats:write")
    made = await alice.post(LINKS, json={"url": URL, "code": unicodedata.normalize("NFD", code)})
    path = f"{LINKS}/{quote(code, safe='')}"

    assert (made.status_code, made.json()["code"]) == (201, code)
    assert made.json()["short_url"] == f"https://sho.rt/{quote(code, safe='/+~')}"
    assert made.headers["location"] == f"{path}?domain=sho.rt"
    for spelling in (code, unicodedata.normalize("NFD", code)):
        place = f"{LINKS}/{quote(spelling, safe='')}"
        assert (await alice.get(place.replace("%2F", "%2f"))).json() == made.json()
    for route in ("stats", "clicks", "decide", "qr"):
        assert (await alice.get(f"{path}/{route}")).status_code == 200, route
    assert (await alice.get(f"{path}/availability")).json()["reason"] == "taken"
    found = (await alice.get(LINKS, params={"q": made.json()["short_url"]})).json()["items"]
    assert [link["code"] for link in found] == [code]
    recent = await alice.get("/api/v1/stats/recent", params={"link": f"sho.rt/{code}"})
    assert [each["code"] for each in recent.json()["items"]] == [code]
    assert (await alice.patch(path, json={"title": "t"})).json()["version"] == 2
    assert (await alice.delete(path)).status_code == 204
    assert (await alice.post(LINKS, json={"url": URL, "code": code})).status_code == 409


async def test_slashes_are_for_domains_that_allow_them(alice: httpx.AsyncClient) -> None:
    """Without `multi_segment` a slash is invalid input, of a single link and of a row, and such a code is malformed."""
    body = {"url": URL, "code": "a/b"}
    batch = await alice.post(f"{LINKS}/batch", json={"links": [body, {"url": URL, "code": "ab"}]})

    assert fields_at_fault(await alice.post(LINKS, json=body)) == {"code"}
    assert [row["status"] for row in batch.json()["results"]] == [422, 201]
    assert (await alice.get(f"{LINKS}/a%2Fb/availability")).json()["reason"] == "malformed"
    assert (await alice.get(f"{LINKS}/a%2Fb")).status_code == 404


@pytest.mark.usefixtures("segmented")
async def test_no_path_follows_a_code_with_slashes(alice: httpx.AsyncClient) -> None:
    """Such a link cannot pass on a path, and whoever asks for it hears so, at once or later."""
    body = {"url": URL, "code": "a/b"}

    assert fields_at_fault(await alice.post(LINKS, json={**body, "forward_path": True})) == {"forward_path"}
    assert (await alice.post(LINKS, json=body)).status_code == 201
    assert fields_at_fault(await alice.patch(f"{LINKS}/a%2Fb", json={"forward_path": True})) == {"forward_path"}


async def test_link_with_a_word_that_was_reserved_later(alice: httpx.AsyncClient, owner: Connection) -> None:
    """A link that has such a code is read, edited and deleted as before; nobody gets one any more."""
    await owner.execute("INSERT INTO links (domain, code, owner, url) VALUES ('sho.rt', 'share', 'alice', $1)", URL)

    assert (await alice.get(f"{LINKS}/share")).status_code == 200
    assert (await alice.patch(f"{LINKS}/share", json={"title": "t"})).status_code == 200
    assert fields_at_fault(await alice.post(LINKS, json={"url": URL, "code": "Share"})) == {"code"}


ALIKE = [
    ("a", "a."),
    ("a", "a+"),
    ("a", "a~.+"),
    ("a+", "a++"),
    ("a.", "a~"),
    ("a", "a/b"),
    ("a/b", "a/c"),
    ("a/b", "a."),
    ("a./b", "a"),
    ("\u5171", "\u5171+"),
]
"""Codes of which one could be taken for the other."""

FOLDED = [
    ("abc", "ABC"),
    ("abc", "aBc+"),
    ("abc/d", "Abc"),
    ("abc+", "ABC"),
    ("\u00e4", "\u00c4"),
    ("\u0390a", "\u0390A"),
    ("\u0390", "\u03aa\u0301+"),
]
"""The first of them folds case."""

APART = [("a", "b."), ("a.b", "a"), ("a-", "a"), ("abc", "ABC"), ("abc.", "ABC"), ("ab", "a/b")]


@pytest.mark.usefixtures("segmented")
@pytest.mark.parametrize(("first", "second"), ALIKE)
@pytest.mark.parametrize("is_turned", [False, True])
async def test_code_that_could_be_taken_for_one_of_another_owner(
    client_with: ClientOf, first: str, second: str, is_turned: bool
) -> None:
    """It is refused in either order of creation, in a batch too, also after a deletion; one owner may have both."""
    alice, bob = await client_with("alice"), await client_with("bob")
    if is_turned:
        first, second = second, first
    assert (await alice.post(LINKS, json={"url": URL, "code": first})).status_code == 201
    await alice.delete(f"{LINKS}/{quote(first, safe='')}")
    refused = await bob.post(LINKS, json={"url": URL, "code": second})
    batch = await bob.post(f"{LINKS}/batch", json={"links": [{"url": URL, "code": second}, {"url": URL}]})

    assert (refused.status_code, refused.json()["type"]) == (409, "urn:tinyurl:problem:code-taken")
    assert f"The code {second} could be taken for" in refused.json()["detail"]
    assert [row["status"] for row in batch.json()["results"]] == [409, 201]
    assert (await bob.get(f"{LINKS}/{quote(second, safe='')}/availability")).json()["reason"] == "taken"
    assert (await bob.post(LINKS, json={"url": URL, "code": second, "domain": "go.example.org"})).status_code in (
        201,
        422,
    )
    assert (await alice.post(LINKS, json={"url": URL, "code": second})).status_code == 201


@pytest.mark.usefixtures("segmented")
@pytest.mark.parametrize(("first", "second"), APART)
async def test_codes_that_nobody_takes_for_each_other(client_with: ClientOf, first: str, second: str) -> None:
    """Codes that only look alike belong to whoever asks first."""
    for owner, code in (("alice", first), ("bob", second)):
        assert (await (await client_with(owner)).post(LINKS, json={"url": URL, "code": code})).status_code == 201


def draft(owner: str, code: str, *, folds_case: bool = False) -> LinkDraft:
    return LinkDraft("sho.rt", owner, LinkFields(URL), code, folds_case=folds_case)


async def create(conn: Connection, *drafts: LinkDraft) -> list[bool]:
    """Store drafts of one owner; tell of each whether it was stored."""
    async with conn.transaction():
        outcomes = await store_links(conn, drafts[0].owner, drafts)
        await announce_links(conn, drafts, outcomes)
    return [isinstance(outcome, Outcome) for outcome in outcomes]


@pytest.mark.usefixtures("segmented")
@pytest.mark.parametrize(("folding", "other"), FOLDED)
@pytest.mark.parametrize("is_first", [False, True])
async def test_code_that_folds_case(links: Connection, folding: str, other: str, is_first: bool) -> None:
    """A link whose code visitors may write in any case does not stand beside another owner's code that is one of these."""
    drafts = [draft("alice", folding, folds_case=True), draft("bob", other)]
    first, second = drafts if is_first else drafts[::-1]

    assert await create(links, first) == [True]
    assert await create(links, second) == [False]
    assert await create(links, draft(first.owner, second.code, folds_case=second.folds_case)) == [True]


async def test_drawn_code_is_nobody_elses(links: Connection) -> None:
    """A code that is drawn is drawn again where visitors would take it for another owner's."""
    await create(links, draft("alice", "abc.", folds_case=True))
    drawn = await insert_drawn(links, [draft("bob", "") for _ in range(3)], draw=iter(["abc", "ABC", "abd"]).__next__)
    own = await insert_drawn(links, [draft("alice", "")], draw=lambda: "ABC")

    assert [row and row.code for row in drawn] == [None, None, "abd"]
    assert [row and row.code for row in own] == ["ABC"]


@pytest.fixture
async def pair(database: Database) -> AsyncIterator[list[Connection]]:
    """Two connections of the write service."""
    conns: list[Connection] = [await asyncpg.connect(database.links_url) for _ in range(2)]
    yield conns
    for conn in conns:
        await conn.close()


RACES = [
    ("abc", False, "abc.", False),
    ("abc.", False, "abc+", False),
    ("abc", True, "ABC", False),
    ("a/b", False, "a", False),
]


@pytest.mark.usefixtures("segmented")
@pytest.mark.parametrize("race", RACES)
@pytest.mark.parametrize("is_turned", [False, True])
async def test_two_owners_at_once(pair: list[Connection], race: tuple[str, bool, str, bool], is_turned: bool) -> None:
    """Of two transactions that do not see each other, the second one to end learns of the first."""
    first, second = draft("alice", race[0], folds_case=race[1]), draft("bob", race[2], folds_case=race[3])
    if is_turned:
        first, second = second, first
    late, conn = pair
    async with late.transaction():
        outcomes = await store_links(late, second.owner, [second])
        assert isinstance(outcomes[0], Outcome)
        assert await create(conn, first) == [True]
        with pytest.raises(CodeTaken):
            await announce_links(late, [second], outcomes)


async def test_code_of_ones_own_costs_no_statement_more(links: Connection) -> None:
    """An ordinary code takes three statements (the link, the feed's lock, the feed), where there are special codes too."""
    await create(links, draft("carol", "other.", folds_case=True))
    statements: list[str] = []
    links.add_query_logger(lambda record: statements.append(record.query))
    await create(links, draft("alice", "Abc"))
    # asyncpg tells of a statement in the next step of the loop.
    await asyncio.sleep(0)

    assert [words(each) for each in statements] == [
        "BEGIN;",
        "INSERT INTO links",
        "SELECT pg_advisory_xact_lock",
        "WITH wanted",
        "COMMIT;",
    ]


def words(statement: str) -> str:
    return " ".join(statement.split()).partition(" (")[0].partition("(")[0].partition(" AS ")[0]


async def test_kinds_of_codes_are_noted_at_their_domain(links: Connection, owner: Connection) -> None:
    """The first code of a kind is announced with its domain, and no later one."""
    for code, folds_case in (
        ("a", False),
        ("\u5171", False),
        ("mail+", False),
        ("b.", False),
        ("abc", True),
        ("abd", True),
    ):
        await create(links, draft("alice", code, folds_case=folds_case))
    announced = [row["code"] for row in await owner.fetch("SELECT code FROM link_changes ORDER BY version")]
    decided = await owner.fetchrow(
        "SELECT has_tail_codes, has_folding_codes FROM domain_records WHERE domain = 'sho.rt'"
    )

    assert announced == ["a", "\u5171", "mail+", "", "b.", "abc", "", "abd"]
    assert decided is not None
    assert tuple(decided) == (True, True)


async def test_codes_that_were_free_need_no_announcement(links: Connection, owner: Connection) -> None:
    """Whoever can wait announces only what domains have now, and is checked all the same."""
    drafts = [draft("alice", "mail+"), draft("alice", "plain")]
    async with links.transaction():
        await announce_links(links, drafts, await store_links(links, "alice", drafts), are_free=True)

    assert [tuple(row) for row in await owner.fetch("SELECT domain, code FROM link_changes")] == [("sho.rt", "")]
    assert await select_shadowed(links, "bob", [Stemmed("sho.rt", "plain.", folds_case=False)])


async def test_codes_of_others_are_found_in_an_index(owner: Connection) -> None:
    """However many codes are more than their stem, one is looked up by domain and stem, with and without statistics."""
    await owner.execute(
        """
        INSERT INTO code_stems (domain, stem, code, owner, folds_case)
        SELECT 'sho.rt', 'code' || n, 'code' || n || '.', 'alice', false FROM generate_series(1, 5000) AS n
        """
    )
    for _ in range(2):
        plan = await owner.fetch(
            f"EXPLAIN SELECT FROM (VALUES ('sho.rt', 'code7', 'bob')) AS wanted (domain, code, owner) WHERE {SHADOWS}"
        )
        assert any("Index Cond" in row[0] and "(stem = ANY" in row[0] for row in plan), plan
        await owner.execute("ANALYZE code_stems")


async def test_folded_code_is_found_in_an_index(owner: Connection, links: Connection) -> None:
    """However many codes there are, the ones in other cases are looked up, with and without statistics."""
    await owner.execute(
        """
        INSERT INTO links (domain, code, owner, url)
        SELECT 'sho.rt', 'Code' || n, 'alice', 'https://www.example.com/' FROM generate_series(1, 20000) AS n
        """
    )
    for _ in range(2):
        assert await select_shadowed(links, "bob", [Stemmed("sho.rt", "code7", folds_case=True)]) == {
            ("sho.rt", "code7")
        }
        plan = await owner.fetch(
            "EXPLAIN SELECT count(*) FROM links AS other WHERE hashtextextended(normalize(casefold(rtrim(split_part("
            "other.code, '/', 1), '.~+') COLLATE pg_unicode_fast)), 0)"
            " = 1 AND other.code <> casefold(other.code COLLATE pg_unicode_fast)"
        )
        assert any("links_by_folded_stem" in row[0] for row in plan)
        await owner.execute("ANALYZE links")


async def test_pages_of_long_codes(alice: httpx.AsyncClient) -> None:
    """A list in the order of codes goes on after the longest one, whose cursor is long."""
    codes = [place * 255 for place in ("\U0001f600", "\U0001f601", "\U0001f602")]
    for code in codes:
        assert (await alice.post(LINKS, json={"url": URL, "code": code})).status_code == 201
    found: list[str] = []
    cursor = None
    while cursor is not None or not found:
        page = (
            await alice.get(LINKS, params={"limit": 1, "sort": "code", **({"cursor": cursor} if cursor else {})})
        ).json()
        found += [link["code"] for link in page["items"]]
        cursor = page["next_cursor"]

    assert found == codes
