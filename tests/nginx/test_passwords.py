"""Links with a password, through nginx, both services and a real database: what visitors, API clients and owners get."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from services.links.app import create_app as create_links
from services.links.keys.rows import create_key
from services.redirect.app import create_app as create_redirect
from services.redirect.lane import LaneProtocol
from shared.settings import LinksSettings, RedirectSettings
from shared.unlocks import COOKIE
from tests.conftest import Database
from tests.nginx.conftest import NginxSite, StartFront
from tests.serving import serve

TOKEN = "a token of the tests, which is long enough"  # noqa: S105  # of the tests alone
TARGET = "https://www.example.com/secret"
PASSWORD = "correct h\u00f6rse"  # noqa: S105
BROWSER = {"Accept": "text/html"}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


def basic(password: str, user: str = "anyone") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
async def guarded(
    database: Database, valkey_url: str, links_settings: LinksSettings, socket: Path, start_front: StartFront
) -> AsyncIterator[NginxSite]:
    """Both services with an internal token, behind nginx."""
    conn = await asyncpg.connect(database.links_url)
    _, key = await create_key(conn, owner="root", scopes=["admin"])
    await conn.close()
    links, redirect = socket.with_suffix(".links"), socket.with_suffix(".redirect")
    redirect_settings = RedirectSettings(
        redirect_database_url=SecretStr(database.redirect_url),
        redis_url=SecretStr(valkey_url),
        internal_token=SecretStr(TOKEN),
        links_address=f"unix:{links}",
        log_level="error",
    )
    settings = links_settings.model_copy(update={"internal_token": SecretStr(TOKEN)})
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serve(create_links(settings), links))
        await stack.enter_async_context(serve(create_redirect(redirect_settings), redirect, http=LaneProtocol))
        # A test says in a header from where it comes.
        front = await asyncio.to_thread(
            start_front, redirect=[redirect], links=[links], trusted_proxies=["127.0.0.1"], redirect_rate=100_000
        )
        yield NginxSite(front, key, await stack.enter_async_context(front.client()))


async def send_form(site: NginxSite, path: str, *, headers: dict[str, str], data: dict[str, str]) -> httpx.Response:
    """Send a form, and again where a busy machine has no time for it (503), as `Retry-After` says."""
    for _ in range(5):
        answer = await site.client.post(path, headers=headers, data=data)
        if answer.status_code != 503:
            break
    return answer


async def test_right_password_opens_the_link(guarded: NginxSite) -> None:
    """A visitor sees a form without the target; a wrong password shows it again, the right one sets a cookie that opens."""
    made = await guarded.create(url=TARGET, code="secret", password=PASSWORD)
    asked = await guarded.client.get("/secret", headers=BROWSER)
    wrong = await send_form(guarded, "/secret", headers=BROWSER, data={"password": "correct"})
    right = await send_form(guarded, "/secret", headers=BROWSER, data={"password": PASSWORD})
    cookie = right.headers["set-cookie"]
    opened = await guarded.client.get("/secret", headers={**BROWSER, "Cookie": cookie.partition(";")[0]})

    assert (made["has_password"], "password" in made) == (True, False)
    assert (asked.status_code, wrong.status_code, right.status_code) == (200, 200, 200)
    for page in (asked, wrong, right):
        assert "example.com" not in page.text + str(page.headers)
        assert page.headers["cache-control"] == "private, no-store"
        assert page.headers["x-robots-tag"] == "noindex"
        assert page.headers["x-frame-options"] == "DENY"
        assert "www-authenticate" not in page.headers
        for rule in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'self'"):
            assert rule in page.headers["content-security-policy"]
    assert 'method="post" action="/secret"' in asked.text
    assert '<label for="password">' in asked.text
    assert "not the password" not in asked.text
    assert "not the password" in wrong.text
    assert 'content="0; url=/secret"' in right.text
    assert "; Path=/secret; Max-Age=3600; HttpOnly; SameSite=Lax; Secure" in cookie
    assert (opened.status_code, opened.headers["location"]) == (302, TARGET)
    assert opened.headers["cache-control"] == "private, no-store"


async def test_api_client_sends_basic(guarded: NginxSite) -> None:
    """A client that asks for no page gets 401 with a challenge, and the target with the password and any user name."""
    await guarded.create(url=TARGET, code="secret", password=PASSWORD)
    get = guarded.client.get
    bare, wrong = await get("/secret"), await get("/secret", headers=basic("wrong"))
    right = [await get("/secret", headers=basic(PASSWORD, user)) for user in ("", "anyone", "\u00fc")]
    head = await guarded.client.head("/secret", headers=basic(PASSWORD))

    for refused in (bare, wrong):
        assert (refused.status_code, refused.json()["type"]) == (401, "urn:tinyurl:problem:password-needed")
        assert refused.headers["www-authenticate"] == 'Basic realm="link", charset="UTF-8"'
    assert [(each.status_code, each.headers["location"]) for each in (*right, head)] == [(302, TARGET)] * 4


async def test_edit_of_the_password_voids_the_cookie(guarded: NginxSite) -> None:
    """A cookie opens its own link until the password changes, and no other link; without a password the link is open."""
    for code in ("one", "two"):
        await guarded.create(url=TARGET, code=code, password=PASSWORD)
    right = await send_form(guarded, "/one", headers=BROWSER, data={"password": PASSWORD})
    cookie = {"Cookie": right.headers["set-cookie"].partition(";")[0], **BROWSER}
    key = {"Authorization": f"Bearer {guarded.key}"}
    other = await guarded.client.get("/two", headers=cookie)
    await guarded.client.patch("/api/v1/links/one", headers=key, json={"title": "new"})
    same = await guarded.client.get("/one", headers=cookie)
    edited = await guarded.client.patch("/api/v1/links/one", headers=key, json={"password": "another"})
    voided = await answer_after(guarded, "/one", cookie, 200)
    removed = await guarded.client.patch("/api/v1/links/one", headers=key, json={"password": None})
    free = await answer_after(guarded, "/one", BROWSER, 302)

    assert (other.status_code, same.status_code) == (200, 302)
    assert (edited.json()["has_password"], edited.json()["version"]) == (True, 3)
    assert re.search('<input id="password"', voided.text)
    assert removed.json()["has_password"] is False
    assert free.headers["location"] == TARGET


async def answer_after(site: NginxSite, path: str, headers: dict[str, str], status: int) -> httpx.Response:
    """The first answer with a status; an edit needs up to a second."""
    async with asyncio.timeout(20):
        while (answer := await site.client.get(path, headers=headers)).status_code != status:
            await asyncio.sleep(0.05)
    return answer


async def test_form_leads_back_to_the_whole_address(guarded: NginxSite) -> None:
    """Path and query of the visit stay in the form and in the page after it, and nothing in them ends an attribute."""
    await guarded.create(url=TARGET, code="deep", password=PASSWORD, forward_path=True, forward_query=True)
    asked = await guarded.front.send(
        b"GET /deep/a;b?x=%22%3E&y='<\"&z HTTP/1.1\r\nHost: sho.rt\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    )
    trailing = await guarded.client.get("/deep).", headers=BROWSER)

    assert b'action="/deep/a;b?x=%22%3E&amp;y=&#x27;&lt;&quot;&amp;z"' in asked
    assert 'action="/deep"' in trailing.text


async def test_form_of_another_site_is_not_a_try(guarded: NginxSite) -> None:
    """What a page of another site sends counts as no try, and opens nothing."""
    await guarded.create(url=TARGET, code="secret", password=PASSWORD)
    data = {"password": PASSWORD}
    foreign = [
        await send_form(guarded, "/secret", headers={**BROWSER, **headers}, data=data)
        for headers in (
            {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
        )
    ]
    own = [
        await send_form(guarded, "/secret", headers={**BROWSER, **headers}, data=data)
        for headers in (
            {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
            {"Origin": "http://sho.rt"},
            {},
        )
    ]

    assert [each.status_code for each in (*foreign, *own)] == [200] * 7
    assert not any("set-cookie" in each.headers for each in foreign)
    assert all("set-cookie" in each.headers for each in own)
    # A browser says `null` from a page without referrers; and a click has not come from the page after the form.
    assert [each.headers["referrer-policy"] for each in (foreign[0], own[0])] == ["same-origin", "no-referrer"]


async def test_only_who_knows_the_password_uses_up_a_limit(guarded: NginxSite) -> None:
    """Forms and right and wrong passwords use no click of a limited link; a visit with the cookie does, and the rules hold."""
    rule = {"if": {"language": ["de"]}, "url": f"{TARGET}/de"}
    await guarded.create(url=TARGET, code="few", password=PASSWORD, max_clicks=1, rules=[rule])
    visitor = {**BROWSER, "User-Agent": FIREFOX, "Accept-Language": "de-AT"}
    pages = [await guarded.client.get("/few", headers=visitor) for _ in range(2)]
    pages.append(await guarded.client.get("/few+", headers=visitor))
    pages += [
        await send_form(guarded, "/few", headers=visitor, data={"password": each}) for each in ("wrong", PASSWORD)
    ]
    cookie = {"Cookie": pages[-1].headers["set-cookie"].partition(";")[0]}
    opened, over = [await guarded.client.get("/few", headers={**visitor, **cookie}) for _ in range(2)]

    assert [each.status_code for each in pages] == [200] * 5
    assert not any("example.com" in each.text + str(each.headers) for each in pages)
    assert (opened.status_code, opened.headers["location"]) == (302, f"{TARGET}/de")
    assert over.status_code == 410


async def test_strangers_shut_nobody_out(guarded: NginxSite) -> None:
    """Who has tried five wrong passwords waits, with a page that says so; a cookie opens all the same, and others get in."""
    await guarded.create(url=TARGET, code="secret", password=PASSWORD)

    async def send(address: str, password: str) -> httpx.Response:
        headers = {**BROWSER, "X-Forwarded-For": address}
        return await send_form(guarded, "/secret", headers=headers, data={"password": password})

    cookie = (await send("192.0.2.1", PASSWORD)).headers["set-cookie"].partition(";")[0]
    wrong = [await send(address, "wrong") for address in ("192.0.2.1", "2001:db8::1", "2001:db8::2") for _ in range(5)]
    late = await send("192.0.2.1", PASSWORD)
    opened = await guarded.client.get("/secret", headers={"X-Forwarded-For": "192.0.2.1", "Cookie": cookie})
    asked = await guarded.client.get("/secret", headers={**BROWSER, "X-Forwarded-For": "192.0.2.1"})
    first = await send("192.0.2.2", PASSWORD)

    assert [each.status_code for each in wrong] == [200] * 10 + [429] * 5
    assert (late.status_code, "set-cookie" in late.headers) == (429, False)
    assert 1 <= int(late.headers["retry-after"]) <= 60
    assert "too many tries" in late.text
    assert (opened.status_code, opened.headers["location"], asked.status_code) == (302, TARGET, 200)
    assert (first.status_code, "set-cookie" in first.headers) == (200, True)


async def test_password_is_written_nowhere(guarded: NginxSite, database: Database) -> None:
    """No log, answer, export or row has a password, however it was sent; the database has a hash of argon2id."""
    secret = "unusual-password-7391"  # noqa: S105
    key = {"Authorization": f"Bearer {guarded.key}"}
    answers = [
        await guarded.client.post(
            "/api/v1/links",
            headers={**key, "Idempotency-Key": "k"},
            json={"url": TARGET, "code": "secret", "password": secret},
        )
        for _ in range(2)
    ]
    answers.append(
        await guarded.client.post(
            "/api/v1/links/batch",
            headers={**key, "Idempotency-Key": "b"},
            json={
                "links": [{"url": TARGET, "code": "second", "password": secret}, {"url": TARGET, "password": [secret]}]
            },
        )
    )
    answers.append(
        await guarded.client.post("/api/v1/links", headers=key, json={"url": TARGET, "password": secret * 4})
    )
    answers += [
        await guarded.client.get(path, headers=key)
        for path in ("/api/v1/links/secret", "/api/v1/links", "/api/v1/exports")
    ]
    answers.append(await send_form(guarded, "/secret", headers=BROWSER, data={"password": secret + "x"}))
    answers.append(await guarded.client.get("/secret", headers=basic(secret)))
    conn = await asyncpg.connect(database.owner_url)
    stored = []
    for (table,) in await conn.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    ):
        stored += [str(dict(row)) for row in await conn.fetch(f"SELECT * FROM {table}")]
    hashes = await conn.fetch("SELECT password_hash FROM links ORDER BY code")
    shown = await conn.fetch("SELECT * FROM link_records")
    await conn.close()

    assert [each.status_code for each in answers] == [201, 201, 200, 422, 200, 200, 200, 200, 302]
    texts = [each.text + str(each.headers) for each in answers] + stored
    texts += [path.read_text(errors="replace") for path in (guarded.front.log, guarded.front.errors)]
    for text in texts:
        assert secret not in text
        assert base64.b64encode(secret.encode()).decode()[:12] not in text
    assert all(row["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$") for row in hashes)
    assert len(hashes) == 2
    assert not any("argon2" in str(dict(row)) for row in shown)
    assert not any("argon2" in each.text for each in answers)


async def test_only_links_with_a_password_take_forms(guarded: NginxSite) -> None:
    """A POST to any other code is 405, and what is sent with it opens nothing and breaks nothing."""
    await guarded.create(url=TARGET, code="plain")
    headers = {**BROWSER, "Cookie": f"{COOKIE}=1.x", **basic("x")}
    for path, status in (("/internal/unlocks", 404), ("/internal/unlocks.", 404)):
        token = {"Authorization": f"Bearer {TOKEN}"}
        assert (await guarded.client.post(path, json={}, headers=token)).status_code == status
    for path, status in (("/plain", 405), ("/unknown", 405)):
        answer = await guarded.client.post(path, data={"password": "x"})
        assert (answer.status_code, answer.headers["allow"]) == (status, "GET, HEAD")
    for method, status in (("PUT", 405), ("DELETE", 405), ("GET", 302), ("HEAD", 302)):
        assert (await guarded.client.request(method, "/plain", headers=headers)).status_code == status
    large = await guarded.client.post("/plain", data={"password": "x" * 1024})

    assert large.status_code == 413


async def test_password_of_a_code_in_another_script(guarded: NginxSite) -> None:
    """The form leads back to the encoded path, and its cookie opens the link there."""
    await guarded.create(url=TARGET, code="\u5171", password=PASSWORD)
    page = await guarded.client.get("/\u5171", headers={"Accept": "text/html"})
    assert 'action="/%E5%85%B1"' in page.text
    opened = await guarded.client.post("/%e5%85%b1", data={"password": PASSWORD}, headers={"Accept": "text/html"})
    cookie = opened.headers["set-cookie"]
    name, _, rest = cookie.partition("=")
    answer = await guarded.client.get("/\u5171", headers={"Cookie": f"{name}={rest.partition(';')[0]}"})

    assert "; Path=/%E5%85%B1;" in cookie
    assert (answer.status_code, answer.headers["location"]) == (302, TARGET)
