"""A visitor opens a link with a password in a real browser, on a desk and on a phone, in both schemes."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.dashboard.browser import LOOKS, ONE_BY_ONE, Look, needs_chromium, open_window, running_browser
from tests.dashboard.site import DashboardSite, running_site
from tests.dashboard.test_browser_pages import check

HOST = "www.example.com"
TARGET = f"http://{HOST}/secret"
PASSWORD = "correct h\u00f6rse"  # noqa: S105  # of the tests alone

pytestmark = [needs_chromium, ONE_BY_ONE]


class TargetHandler(BaseHTTPRequestHandler):
    """The page that the link leads to. It says who sent the visitor."""

    def do_GET(self) -> None:
        body = f"<!doctype html><title>Target</title><h1>The target</h1><p>{self.headers.get('referer')}</p>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for which the target's host is a server of this test."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), TargetHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with running_browser(f"--host-resolver-rules=MAP {HOST}:80 127.0.0.1:{server.server_port}") as running:
        yield running
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DashboardSite]:
    with running_site(tmp_path_factory.mktemp("site"), dashboard=False) as running:
        yield running


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_visitor_gets_in_with_the_password(site: DashboardSite, browser: Browser, look: Look) -> None:
    """The form is readable and says that a password was wrong; the right one leads on, and the link then stays open."""
    (link,) = site.create(site.stack.api_key, [{"url": TARGET, "password": PASSWORD}])
    with open_window(browser, site.url, look, leads_to=HOST) as page:
        page.goto(f"/{link['code']}?x=1")
        password = page.get_by_label("Password")
        expect(password).to_be_focused()
        check(page, look, "password")
        password.fill("wrong")
        page.get_by_role("button", name="Open the link").click()
        expect(page.get_by_role("alert")).to_have_text("This is not the password. Please try again.")
        expect(password).to_have_accessible_description("This is not the password. Please try again.")
        check(page, look, "password-wrong")
        password.fill(PASSWORD)
        password.press("Enter")
        page.wait_for_url(TARGET)
        expect(page.get_by_text("None")).to_be_visible()
        page.goto(f"/{link['code']}")
        page.wait_for_url(TARGET)
        cookies = page.context.cookies(f"{site.url}/{link['code']}")
        others = page.context.cookies(f"{site.url}/{link['code']}x")

    (cookie,) = cookies
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", f"/{link['code']}")
    assert others == []
    site.delete(site.stack.api_key, link["short_url"])


def test_no_page_can_frame_the_form(site: DashboardSite) -> None:
    """Every answer to a visitor without the password forbids frames, and other sources of anything."""
    (link,) = site.create(site.stack.api_key, [{"url": TARGET, "password": PASSWORD}])
    for data in (None, {"password": "wrong"}, {"password": PASSWORD}):
        method = "GET" if data is None else "POST"
        answer = httpx.request(method, link["short_url"], data=data, headers={"Accept": "text/html"})

        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "<script" not in answer.text
