"""Lists of links: pages that fit together whatever happens meanwhile, search, filters and sort orders."""

import asyncpg
import httpx
import pytest

from services.links.web.cursors import CursorRefused, Cursors, Position
from tests.conftest import Database
from tests.links.conftest import ClientOf, fields_at_fault

LINKS = "/api/v1/links"


@pytest.fixture
async def stocked(alice: httpx.AsyncClient, database: Database) -> httpx.AsyncClient:
    """A client with 250 links, among them equal values of every sort column but the code."""
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute(
        """
        INSERT INTO links (domain, code, owner, url, title, tags, clicks, enabled, updated_at, created_at)
        SELECT 'sho.rt', 'c' || n, CASE WHEN n % 5 = 0 THEN 'bob' ELSE 'alice' END,
               'https://example.com/page/' || n, CASE WHEN n % 10 = 1 THEN 'Über 50% of_it' END,
               CASE WHEN n % 3 = 0 THEN ARRAY['third', 'x'] ELSE '{}' END, n / 20, n % 4 <> 0,
               '2026-01-01Z'::timestamptz + n / 7 * interval '1 hour', '2026-01-01Z'::timestamptz + n * interval '1 hour'
        FROM generate_series(1, 250) AS n
        """
    )
    await conn.close()
    return alice


async def walk(client: httpx.AsyncClient, **params: str | int) -> list[dict[str, object]]:
    """All items of a list, page by page."""
    items: list[dict[str, object]] = []
    cursor = None
    while True:
        page = await client.get(LINKS, params={**params, **({"cursor": cursor} if cursor else {})})
        assert page.status_code == 200, page.text
        items += page.json()["items"]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            return items


@pytest.mark.parametrize("sort", ["created_at", "updated_at", "clicks", "code"])
@pytest.mark.parametrize("sign", ["", "-"])
async def test_pages_hold_each_link_once_in_order(stocked: httpx.AsyncClient, sort: str, sign: str) -> None:
    """The pages of a list together are the list: sorted, nothing twice, nothing left out, nobody else's."""
    items = await walk(stocked, sort=sign + sort, limit=17)
    values = [item[sort] for item in items]

    assert values == sorted(values, reverse=sign == "-")  # type: ignore[type-var]  # texts, or numbers
    assert len({item["code"] for item in items}) == len(items) == 200
    assert {item["owner"] for item in items} == {"alice"}


async def test_newest_link_is_first_by_default(stocked: httpx.AsyncClient) -> None:
    """Without parameters a list begins with the newest, 50 a page."""
    page = (await stocked.get(LINKS)).json()

    assert len(page["items"]) == 50
    assert page["items"][0]["code"] == "c249"


async def test_pages_fit_although_links_come_and_go(stocked: httpx.AsyncClient) -> None:
    """A link that is added or deleted between two pages neither repeats nor hides another one."""
    first = (await stocked.get(LINKS, params={"limit": 100})).json()
    for link in first["items"][:3]:
        await stocked.delete(f"{LINKS}/{link['code']}")
    await stocked.post(LINKS, json={"url": "https://example.com/new"})
    second = (await stocked.get(LINKS, params={"limit": 100, "cursor": first["next_cursor"]})).json()
    codes = [link["code"] for link in first["items"] + second["items"]]

    assert len(set(codes)) == len(codes) == 200
    assert second["next_cursor"] is None


async def test_search_and_filters(stocked: httpx.AsyncClient, client_with: ClientOf) -> None:
    """Search finds parts of code, target and title, taken literally; each filter restricts; they combine."""

    async def count(**params: str) -> int:
        return len(await walk(stocked, limit=100, **params))

    assert await count(q="c17") == 9
    assert await count(q="PAGE/24") == 9
    assert await count(q="über 50% OF_IT") == 25
    assert await count(q="5_%") == 0
    assert await count(tag="third") == 67
    assert await count(tag="thir") == 0
    assert await count(state="disabled") == 50
    assert await count(state="active") == 150
    assert await count(state="expired") == await count(state="scheduled") == 0
    assert await count(domain="go.example.org") == 0
    assert await count(tag="third", state="active", q="page/1") == sum(
        1 for n in range(1, 251) if n % 3 == 0 and n % 4 and n % 5 and str(n).startswith("1")
    )
    assert await count(created_after="2026-01-02T00:00:00Z", created_before="2026-01-03T00:00:00+00:00") == 19
    admin = await client_with("root", "admin")
    assert len(await walk(admin, limit=100)) == 250
    assert len(await walk(admin, limit=100, owner="bob")) == 50


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=101", "limit=9223372036854775808", "limit=x", "sort=url", "sort=;drop", "state=on"]
    + [
        "cursor=x",
        "cursor=",
        "cursor=%00",
        "cursor=ä",
        "created_after=1",
        "created_after=2026-01-01",
        "offset=1",
        "q=",
    ]
    + ["q=a%00b", "tag=%00", "domain=%00", "owner=%00"],
)
async def test_bad_parameter_is_named(alice: httpx.AsyncClient, query: str) -> None:
    """A parameter that is wrong or unknown is refused by its name."""
    assert fields_at_fault(await alice.get(f"{LINKS}?{query}")) == {query.partition("=")[0]}


async def test_cursor_of_another_order_is_refused(stocked: httpx.AsyncClient) -> None:
    """A cursor goes on in the order that it was made for."""
    cursor = (await stocked.get(LINKS, params={"limit": 1, "sort": "clicks"})).json()["next_cursor"]

    assert fields_at_fault(await stocked.get(LINKS, params={"cursor": cursor, "sort": "code"})) == {"cursor"}


def test_altered_cursor_is_refused() -> None:
    """No byte of a cursor can be changed, and one of another server is worth nothing."""
    cursors = Cursors(b"secret")
    text = cursors.write(Position("code", 5), "code")

    assert cursors.read(text, "code") == Position("code", 5)
    for place, character in enumerate(text):
        altered = text[:place] + ("A" if character != "A" else "Q") + text[place + 1 :]
        with pytest.raises(CursorRefused):
            cursors.read(altered, "code")
    with pytest.raises(CursorRefused):
        Cursors(b"other").read(text, "code")
