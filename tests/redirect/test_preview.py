"""Previews: where a link leads, told without a click, to people and programs, whatever the link holds."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import ada_url
import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from services.redirect.answers import Answer
from services.redirect.app import create_app
from services.redirect.lane import LaneProtocol
from services.redirect.preview import Details, show
from shared.clicks import Click
from shared.records import Record
from shared.settings import RedirectSettings
from tests.conftest import Database
from tests.redirect.conftest import AddLink, FaultyPostgres
from tests.redirect.test_answers import NOW, PLAIN
from tests.serving import client_of, serve

URL = "https://www.example.com/a?b=c#d"
MADE = datetime(2026, 3, 7, 12, tzinfo=UTC)
HTML = {"X-Error-Format": "html"}
JSON = {"X-Error-Format": "json"}


@pytest.fixture
async def visitor(
    redirect_settings: RedirectSettings, socket: Path, clicks: list[Click]
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(redirect_settings, clicks.extend)
    async with serve(app, socket, http=LaneProtocol), client_of(socket, **JSON) as client:
        yield client


class Page(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, and the text that is read."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(answer.body.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.elements[-1][0] if self.elements else "", data))

    def text_of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def preview(record: Record, title: str | None = None, now: float = NOW) -> Answer:
    return show(("sho.rt", "a"), record, Details(title, MADE), now=now, error_format="html")


def shown(record: Record, now: float = NOW) -> dict[str, object]:
    answer = show(("sho.rt", "a"), record, Details("A title", MADE), now=now, error_format="json")
    found: dict[str, object] = json.loads(answer.body)
    return found


async def test_preview_tells_the_target_and_is_no_click(
    visitor: httpx.AsyncClient, add_link: AddLink, clicks: list[Click]
) -> None:
    """`/CODE+` tells target, title and time, also with the plus encoded or a full stop behind it; nobody keeps the answer."""
    await add_link("a", URL, title="A title", created_at=MADE)
    answers = [await visitor.get(path) for path in ("/a+", "/a%2B", "/a+.", "/a+?x=1")]

    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert answers[0].json() == {
        "domain": "sho.rt",
        "code": "a",
        "url": URL,
        "depends": False,
        "has_password": False,
        "has_limit": False,
        "has_ended": False,
        "title": "A title",
        "created_at": "2026-03-07T12:00:00+00:00",
    }
    assert answers[0].headers["content-type"] == "application/json"
    assert answers[0].headers["cache-control"] == "private, no-store"
    assert answers[0].headers["x-robots-tag"] == "noindex"
    assert clicks == []


async def test_preview_is_a_page_for_a_browser(visitor: httpx.AsyncClient, add_link: AddLink) -> None:
    """A browser gets a page that runs nothing, loads nothing and stands in no frame; HEAD gets its headers."""
    await add_link("a", URL, title="A title", created_at=MADE)
    page = await visitor.get("/a+", headers=HTML)
    head = await visitor.head("/a+", headers=HTML)
    policy = page.headers["content-security-policy"].split("; ")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "7 March 2026" in page.text
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not [each for each in policy if each.startswith("script-src") or "unsafe" in each]
    assert page.headers["x-frame-options"] == "DENY"
    assert (head.status_code, head.headers, head.content) == (200, page.headers, b"")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"preview": False}, 404),
        ({"valid_from": datetime(2090, 1, 1, tzinfo=UTC)}, 404),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, 410),
        ({"enabled": False}, 410),
        ({"deleted_at": MADE, "url": ""}, 410),
    ],
)
async def test_preview_is_refused_where_the_visit_is(
    visitor: httpx.AsyncClient, add_link: AddLink, fields: dict[str, object], status: int
) -> None:
    """A link that leads nowhere, or wants no preview, has none: 404 or 410, in the format that is asked for."""
    await add_link("a", **{"url": URL, **fields})
    answer = await visitor.get("/a+")

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("path", ["/none+", "/+", "/a++", "/a+b", "/api+", "/a+/rest", "/" + "a" * 65 + "+"])
async def test_what_is_no_preview_is_not_found(visitor: httpx.AsyncClient, add_link: AddLink, path: str) -> None:
    """A plus behind anything else is 404."""
    await add_link("a", URL, forward_path=True)

    assert (await visitor.get(path)).status_code == 404


async def test_site_without_previews(redirect_settings: RedirectSettings, socket: Path, add_link: AddLink) -> None:
    """An operator may have no previews at all; visits stay as they are."""
    await add_link("a", URL)
    app = create_app(redirect_settings.model_copy(update={"previews": False}))
    async with serve(app, socket), client_of(socket) as client:
        assert (await client.get("/a+")).status_code == 404
        assert (await client.get("/a")).status_code == 302


async def test_preview_without_postgres(
    redirect_settings: RedirectSettings, socket: Path, add_link: AddLink, faulty_postgres: FaultyPostgres
) -> None:
    """While Postgres is away a link that is in memory still tells its target; title and time are left out."""
    await add_link("a", URL, title="A title")
    proxy, url = faulty_postgres
    settings = redirect_settings.model_copy(update={"redirect_database_url": SecretStr(url)})
    async with (
        serve(create_app(settings), socket),
        client_of(socket, **JSON) as client,
    ):
        assert (await client.get("/a+")).json()["title"] == "A title"
        proxy.refuse()
        answer = await client.get("/a+")

        assert answer.status_code == 200
        assert answer.json()["url"] == URL
        assert not {"title", "created_at"} & set(answer.json())


async def test_redirectors_role_reads_no_title_behind_a_password(database: Database, add_link: AddLink) -> None:
    """The role of redirect sees the titles of links that have a preview and no password, and none of the others."""
    await add_link("open", URL, title="open")
    await add_link("off", URL, title="off", preview=False)
    await add_link("secret", URL, title="secret", password_hash="hash")  # noqa: S106  # of a link
    conn = await asyncpg.connect(database.redirect_url)
    rows = await conn.fetch("SELECT code, title FROM link_previews")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await conn.fetch("SELECT title FROM links")
    await conn.close()

    assert {row["code"]: row["title"] for row in rows} == {"open": "open", "secret": None}


def test_guarded_link_does_not_tell_its_target() -> None:
    """A password or a limit is told, and the target is not; rules and splits have no single target to tell."""
    guarded = [PLAIN._replace(password="0" * 16), PLAIN._replace(limited=True)]
    depending = [PLAIN._replace(rules="[]"), PLAIN._replace(split="[]")]
    secret, limited = map(shown, guarded)

    assert (secret["url"], secret["has_password"], secret["depends"]) == (None, True, False)
    assert (limited["url"], limited["has_limit"], limited["depends"]) == (None, True, False)
    assert all((each["url"], each["depends"]) == (None, True) for each in map(shown, depending))
    for record in (*guarded, *depending):
        body = preview(record).body.decode()
        assert PLAIN.url not in body
        assert 'href="/a"' in body


@pytest.mark.parametrize(
    "record",
    [PLAIN._replace(enabled=False), PLAIN._replace(expires_at=NOW - 1), PLAIN._replace(limited=True, used_up=True)],
)
def test_link_that_has_ended_tells_where_it_leads_now(record: Record) -> None:
    """A link that has ended and leads elsewhere shows that address, guarded before or not."""
    ended = shown(record._replace(expired_url="https://end.example/"))

    assert (ended["url"], ended["has_ended"]) == ("https://end.example/", True)


HOSTILE = st.text(max_size=60) | st.sampled_from(
    [
        "</title><script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "' onmouseover='alert(1)",
        "{title} {0} %s",
        "\u202emoc.elgoog//:sptth",
        "<!--",
        "]]>",
    ]
)
ELEMENTS = {"html", "meta", "title", "style", "main", "h1", "bdi", "p", "a", "span", "strong", "dl", "dt", "dd", "time"}


@given(HOSTILE, HOSTILE, HOSTILE)
def test_page_has_the_elements_of_a_page_and_no_others(title: str, path: str, query: str) -> None:
    """Whatever a title or a target holds is text: no element, no attribute and no other address comes of it."""
    target = f"https://www.example.com/{path}?{query}"
    page = Page(preview(PLAIN._replace(url=target), title))
    links = [attributes for tag, attributes in page.elements if tag == "a"]

    assert {tag for tag, _ in page.elements} <= ELEMENTS
    assert {name for _, attributes in page.elements for name in attributes} <= {
        *("lang", "charset", "name", "content", "class", "dir", "href", "rel", "datetime")
    }
    assert [each["rel"] for each in links] == ["noreferrer nofollow"]


HOSTS = st.sampled_from(
    ["www.example.com", "bank.example.evil.example", "xn--80ak6aa92e.com", "[2606:4700::1]", "203.1.0.9:81"]
)
PARTS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)


@given(HOSTS, PARTS)
def test_emphasised_host_is_the_one_that_gets_the_visit(host: str, rest: str) -> None:
    """The emphasised host is the one that a browser connects to, and the text of the link is the whole target."""
    href = ada_url.URL(f"https://{host}/{rest}").href
    page = Page(preview(PLAIN._replace(url=href)))
    (link,) = [attributes for tag, attributes in page.elements if tag == "a"]
    after = page.texts[next(n for n, (tag, _) in enumerate(page.texts) if tag == "span") :]

    assert page.text_of("strong") == [ada_url.URL(href).host]
    assert link["href"] == href
    assert "".join(text for tag, text in after if tag in ("span", "strong")).rstrip() == href


@pytest.mark.parametrize("target", ["https://bank.example@evil.example/", "mailto:a@b.example", "intent://x/#y"])
def test_odd_targets_do_not_deceive(target: str) -> None:
    """A user in front of a host is not emphasised; what is not on the web is shown, and no link leads to it."""
    page = Page(preview(PLAIN._replace(url=target)))

    if target.startswith("https:"):
        assert page.text_of("strong") == ["evil.example"]
    else:
        assert "a" not in {tag for tag, _ in page.elements}
        assert target in page.text_of("bdi")
