"""The domains as visitors see them: each decision counts within a second, and what is not decided is as before."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import pytest
from hypothesis import given
from pydantic import SecretStr

from services.redirect.answers import Answer, error, spare
from services.redirect.app import create_app
from services.redirect.domains.decisions import UNDECIDED, Domain, Domains, dress
from services.redirect.domains.paths import LARGEST_ROBOTS, LIFETIME_S, RobotLists
from services.redirect.feed import Feed
from services.redirect.lane import LaneProtocol
from services.redirect.lookup.source import SourceUnavailable, open_source
from services.redirect.memory import Memory
from shared.changes import EVERYTHING, Change, insert_change
from shared.records import VersionedRecord
from shared.settings import RedirectSettings
from tests.conftest import Database
from tests.redirect.conftest import AddLink, FaultyPostgres
from tests.redirect.test_answers import PLAIN
from tests.redirect.test_preview import HOSTILE
from tests.serving import client_of, serve

URL = "https://www.example.com/"
PAST = datetime(2020, 1, 1, tzinfo=UTC)
VISIBLE_S = 1.0
HTML = {"X-Error-Format": "html"}


async def decide(database: Database, domain: str = "sho.rt", **decided: str | None) -> None:
    """Decide about a domain as links does: the row, then the change."""
    conn = await asyncpg.connect(database.owner_url)
    async with conn.transaction():
        await conn.execute("INSERT INTO domains (domain) VALUES ($1) ON CONFLICT DO NOTHING", domain)
        for name, value in decided.items():
            await conn.execute(f"UPDATE domains SET {name} = $2 WHERE domain = $1", domain, value)
        await insert_change(conn, (domain, ""))
    await conn.close()


async def store_file(database: Database, name: str, content: str) -> None:
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute("INSERT INTO domains (domain) VALUES ('sho.rt') ON CONFLICT DO NOTHING")
    await conn.execute("INSERT INTO domain_files (domain, name, content) VALUES ('sho.rt', $1, $2)", name, content)
    await insert_change(conn, ("sho.rt", ""))
    await conn.close()


@pytest.fixture
async def visitor(redirect_settings: RedirectSettings, socket: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(create_app(redirect_settings), socket, http=LaneProtocol), client_of(socket) as client:
        yield client


async def until(client: httpx.AsyncClient, path: str, status: int) -> httpx.Response:
    """Ask until the answer has a status, at most for the second that a change may take."""
    async with asyncio.timeout(VISIBLE_S):
        while (answer := await client.get(path)).status_code != status:
            await asyncio.sleep(0.01)
    return answer


async def test_nothing_decided_changes_nothing(visitor: httpx.AsyncClient, add_link: AddLink) -> None:
    """Without a decision errors are the usual ones, and `/` and the files are nginx's business or nobody's."""
    await add_link("old", URL, expires_at=PAST)
    statuses = {
        path: (await visitor.get(path)).status_code for path in ("/", "/none", "/old", "/.well-known/security.txt")
    }

    assert statuses == {"/": 404, "/none": 404, "/old": 410, "/.well-known/security.txt": 404}


async def test_decisions_count_within_a_second(
    visitor: httpx.AsyncClient, database: Database, add_link: AddLink
) -> None:
    """Where `/`, unknown codes and ended links lead follows an edit, both ways; a link's own address wins."""
    await add_link("old", URL, expires_at=PAST)
    await add_link("own", URL, expires_at=PAST, expired_url="https://own.example/")
    await add_link("a", URL)
    await decide(
        database,
        root_url="https://root.example/",
        not_found_url="https://www.example.com/missing?code={code}",
        expired_url="https://ended.example/",
    )
    root = await until(visitor, "/", 302)
    answers = {path: await visitor.get(path) for path in ("/none", "/none.", "/old", "/own", "/a", "/a/rest")}

    assert root.headers["location"] == "https://root.example/"
    assert {path: answer.headers["location"] for path, answer in answers.items()} == {
        "/none": "https://www.example.com/missing?code=none",
        "/none.": "https://www.example.com/missing?code=none",
        "/old": "https://ended.example/",
        "/own": "https://own.example/",
        "/a": URL,
        "/a/rest": "https://www.example.com/missing?code=a",
    }
    assert answers["/none"].headers["cache-control"] == "private, no-store"
    assert answers["/none"].headers["x-robots-tag"] == "noindex"
    assert (await visitor.get("/none+")).status_code == 404
    assert (await visitor.get("/old+")).status_code == 410
    assert (await visitor.get("/none", headers={"Host": "go.example.org"})).status_code == 404

    await decide(database, root_url=None, not_found_url=None, expired_url=None)
    await until(visitor, "/", 404)
    assert (await visitor.get("/none")).status_code == 404
    assert (await visitor.get("/old")).status_code == 410


async def test_link_in_memory_ends_where_its_domain_says(
    visitor: httpx.AsyncClient, database: Database, add_link: AddLink
) -> None:
    """A link that memory answers leads to the domain's address as soon as it is disabled: memory has nothing of domains."""
    await add_link("a", URL)
    assert {(await visitor.get("/a")).headers["location"] for _ in range(3)} == {URL}
    await decide(database, expired_url="https://ended.example/")
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute("UPDATE links SET enabled = false WHERE code = 'a'")
    await insert_change(conn, ("sho.rt", "a"))
    await conn.close()

    async with asyncio.timeout(VISIBLE_S):
        while (await visitor.get("/a")).headers.get("location") != "https://ended.example/":
            await asyncio.sleep(0.01)


async def test_files_are_served_with_their_types(visitor: httpx.AsyncClient, database: Database) -> None:
    """A file of a domain is under `/.well-known/` within a second, byte for byte; its neighbours are not found."""
    await store_file(database, "assetlinks.json", '[{"ü": 1}]')
    await store_file(database, "security.txt", "Contact: mailto:a@b.example\n")
    answer = await until(visitor, "/.well-known/security.txt", 200)
    links = await visitor.get("/.well-known/assetlinks.json")
    head = await visitor.head("/.well-known/assetlinks.json")

    assert (answer.text, answer.headers["content-type"]) == (
        "Contact: mailto:a@b.example\n",
        "text/plain; charset=utf-8",
    )
    assert (links.text, links.headers["content-type"]) == ('[{"ü": 1}]', "application/json")
    assert (head.headers, head.content) == (links.headers, b"")
    for path in ("/.well-known/", "/.well-known/acme-challenge/x", "/.well-known/../security.txt", "/security.txt"):
        assert (await visitor.get(path)).status_code == 404
    assert (await visitor.post("/.well-known/security.txt")).status_code == 405


async def test_robots_lists_what_is_crawlable(
    visitor: httpx.AsyncClient, database: Database, add_link: AddLink
) -> None:
    """robots.txt allows the crawlable links of the domain and disallows all else; an operator's text replaces it at once."""
    await add_link("yes", URL, crawlable=True)
    await add_link("on", URL, crawlable=True, forward_path=True)
    await add_link("no", URL)
    await add_link("gone", "", crawlable=True, deleted_at=PAST)
    await add_link("other", URL, crawlable=True, domain="go.example.org")
    answer = await visitor.get("/robots.txt")
    group = answer.text.partition("User-agent: *\n")[2]

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert group == "Allow: /.well-known/\nAllow: /on$\nAllow: /on/\nAllow: /yes$\nDisallow: /\n"
    assert "x-robots-tag" not in (await visitor.get("/yes")).headers
    await decide(database, robots="User-agent: *\nDisallow:\n")
    async with asyncio.timeout(VISIBLE_S):
        while (await visitor.get("/robots.txt")).text != "User-agent: *\nDisallow:\n":
            await asyncio.sleep(0.01)


async def test_robots_is_bounded(database: Database) -> None:
    """With more crawlable links than fit, the newest are listed, up to 500 KiB, in whole lines, and it is said."""
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute(
        """
        INSERT INTO links (domain, code, owner, url, crawlable)
        SELECT 'sho.rt', lpad(n::text, 64, 'x'), 'o', 'https://www.example.com/', true FROM generate_series(1, 9000) AS n
        """
    )
    await conn.close()
    async with open_source(database.redirect_url) as source:
        text = await RobotLists(source).read("sho.rt")
    lines = text.splitlines()

    assert LARGEST_ROBOTS - 100 < len(text) <= LARGEST_ROBOTS
    assert lines[-1] == "Disallow: /"
    assert lines[-2].startswith("# There are more")
    assert f"Allow: /{'9000'.rjust(64, 'x')}$" in lines
    assert all(len(line) == 73 for line in lines if line.startswith("Allow: /x"))


async def test_robots_is_read_again_after_a_minute(add_link: AddLink, faulty_postgres: FaultyPostgres) -> None:
    """The list is kept for a minute, and longer while Postgres is away; without one nothing is told."""
    now = 0.0
    await add_link("first", URL, crawlable=True)
    proxy, url = faulty_postgres
    async with open_source(url) as source:
        lists = RobotLists(source, clock=lambda: now)
        first = await lists.read("sho.rt")
        await add_link("second", URL, crawlable=True)
        kept = await lists.read("sho.rt")
        now = LIFETIME_S
        proxy.refuse()
        stale = await lists.read("sho.rt")
        proxy.accept()
        source.trust_again()
        second = await lists.read("sho.rt")

    assert kept == stale == first
    assert "Allow: /second$" not in first
    assert "Allow: /second$" in second


async def test_error_pages_look_like_the_domain(
    visitor: httpx.AsyncClient, database: Database, add_link: AddLink
) -> None:
    """A page of an error has the domain's title and colour; programs get the same problem as ever."""
    await add_link("old", URL, expires_at=PAST)
    plain = {path: await visitor.get(path) for path in ("/none", "/old")}
    await decide(database, page_title="Example & Söhne", page_colour="#0a7d4b", root_url=URL)
    await until(visitor, "/", 302)
    for path, problem in plain.items():
        page = await visitor.get(path, headers=HTML)

        assert page.status_code == problem.status_code
        assert "<p>Example &amp; Söhne</p>" in page.text
        assert "solid #0a7d4b" in page.text
        assert f"<h1>{problem.json()['title']}</h1>" in page.text
        assert (await visitor.get(path)).content == problem.content
        assert page.headers["content-length"] == str(len(page.content))


@given(HOSTILE)
def test_title_of_a_domain_is_text(title: str) -> None:
    """Whatever a domain's title holds, the page has no element because of it."""
    page = dress(error(404, "html"), Domain(page_title=title or "x"), "html").body.decode()
    plain = dress(error(404, "html"), Domain(page_title="x"), "html").body.decode()

    assert page.count("<") == plain.count("<")


def test_answer_that_is_no_error_stays() -> None:
    """An error of a domain without decisions, and an error that is not about the code, stay as they are."""
    full = Domain(not_found_url=URL, expired_url=URL)

    assert dress(error(404, "html"), UNDECIDED, "html", "a") == error(404, "html")
    assert dress(error(503, "json"), full, "json", "a") == error(503, "json")
    assert dress(error(404, "json"), full, "json") == error(404, "json")


def test_page_that_says_more_stays() -> None:
    """The page of a link with a limit, and the form of a password after too many tries, are not the usual pages of an error."""
    form = Answer(429, ((b"content-length", b"6"),), b"a form")
    full = Domain(page_title="x", page_colour="#000000")

    assert dress(spare("html"), full, "html", "a") == spare("html")
    assert dress(form, full, "html", "a") == form


def test_change_of_a_domain_forgets_no_link() -> None:
    """A redirector of the release before, which knows no domains, loses nothing by such a row of the feed."""
    memory = Memory(2**20)
    feed = Feed(memory)
    feed.begin([])
    memory.store(("sho.rt", "a"), VersionedRecord(0, PLAIN), 0.0)
    feed.extend([Change(1, ("sho.rt", ""))])

    assert memory.find(("sho.rt", "a")) is not None
    assert feed.counts(("sho.rt", "a"), 0)


async def test_all_domains_are_read_again_after_a_restore(database: Database) -> None:
    """What was remembered of domains does not outlive a change of everything, nor a failed reading."""
    await decide(database, root_url=URL)
    await decide(database, "go.example.org", root_url=URL)
    domains = Domains()
    async with open_source(database.redirect_url) as source:
        await domains.read(source)
        assert domains.get("sho.rt").root_url == domains.get("go.example.org").root_url == URL
        conn = await asyncpg.connect(database.owner_url)
        await conn.execute("DELETE FROM domains WHERE domain = 'sho.rt'")
        await conn.execute("UPDATE domains SET root_url = 'https://new.example/'")
        await conn.close()
        domains.clear()
        domains.forget(EVERYTHING)
        await domains.read(source)

    assert domains.get("sho.rt") is UNDECIDED
    assert domains.get("go.example.org").root_url == "https://new.example/"


async def test_change_during_a_reading_is_read_after_it(database: Database, faulty_postgres: FaultyPostgres) -> None:
    """A domain that changes while it is read is read once more, so that no reading brings an older decision back."""
    await decide(database, root_url="https://one.example/")
    domains = Domains()
    proxy, url = faulty_postgres
    async with open_source(url) as source:
        await domains.read(source)
        domains.forget(("sho.rt", ""))
        proxy.hold_answers()
        reading = asyncio.create_task(domains.read(source))
        await proxy.wait_held()
        await decide(database, root_url="https://two.example/")
        domains.forget(("sho.rt", ""))
        proxy.release_answers()
        # On a slow machine the answer that was held comes too late; then it is asked for again.
        with contextlib.suppress(SourceUnavailable):
            await reading
        source.trust_again()
        await domains.read(source)

    assert domains.get("sho.rt").root_url == "https://two.example/"


@pytest.mark.parametrize("is_all", [True, False])
async def test_reading_that_failed_is_still_due(
    database: Database, is_all: bool, faulty_postgres: FaultyPostgres
) -> None:
    """What could not be read is as it was, and is read as soon as it can be, whether it is one domain or all of them."""
    await decide(database, root_url="https://one.example/")
    domains = Domains()
    proxy, url = faulty_postgres
    async with open_source(url) as source:
        await domains.read(source)
        proxy.refuse()
        await decide(database, root_url="https://two.example/")
        domains.forget(EVERYTHING if is_all else ("sho.rt", ""))
        if is_all:
            domains.clear()
        with pytest.raises(SourceUnavailable):
            await domains.read(source)
        kept = domains.get("sho.rt").root_url
        proxy.accept()
        source.trust_again()
        await domains.read(source)

    assert kept == "https://one.example/"
    assert domains.get("sho.rt").root_url == "https://two.example/"


async def test_domains_outlive_postgres(
    redirect_settings: RedirectSettings, database: Database, socket: Path, faulty_postgres: FaultyPostgres
) -> None:
    """While Postgres is away a domain is as it was, and what changed meanwhile counts within a second of its return."""
    await decide(database, root_url=URL)
    proxy, url = faulty_postgres
    settings = redirect_settings.model_copy(update={"redirect_database_url": SecretStr(url)})
    async with (
        serve(create_app(settings), socket),
        client_of(socket) as client,
    ):
        assert (await client.get("/")).headers["location"] == URL
        proxy.refuse()
        await decide(database, root_url="https://new.example/")
        assert (await client.get("/")).headers["location"] == URL
        proxy.accept()
        async with asyncio.timeout(VISIBLE_S):
            while (await client.get("/")).headers["location"] == URL:
                await asyncio.sleep(0.01)
