"""Shlink's own web interface, unchanged, in a browser, from a page of another address: nothing may be wrong in its console."""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.compat.npm import npm_clients
from tests.compat.test_shlink_sdk import Sdk, click_link, running_sdk
from tests.dashboard.browser import ONE_BY_ONE, needs_chromium, open_window, running_browser
from tests.dashboard.site import DashboardSite

__all__ = ["npm_clients"]

pytestmark = [ONE_BY_ONE, needs_chromium]

NO_MERCURE = r"status of 501.*/mercure-info"
"""The browser writes down each answer that is an error. The client asks for Mercure and goes on without it."""


class _Files(SimpleHTTPRequestHandler):
    """Serves a page, also at the paths that it gives itself."""

    def do_GET(self) -> None:
        if not self.path.startswith("/assets/"):
            self.path = "/index.html"
        super().do_GET()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the name in the base
        """Write nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a built page; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Files, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as found:
        yield found


@pytest.fixture
def key(site: DashboardSite, request: pytest.FixtureRequest) -> str:
    """The key of an owner who has nothing yet."""
    return site.key(f"web-{request.node.originalname}", "links:read", "links:write", "stats:read")


@pytest.fixture
def sdk(npm_clients: Path, site: DashboardSite, key: str) -> Iterator[Sdk]:
    with running_sdk(npm_clients, site.url, key) as call:
        yield call


@pytest.fixture
def page(npm_clients: Path, site: DashboardSite, browser: Browser, key: str) -> Iterator[Page]:
    """The web interface, connected with the site."""
    with served(npm_clients / "dist") as url:
        host = urlsplit(site.url).netloc
        with open_window(browser, url, leads_to=host, tolerated=NO_MERCURE) as found:
            found.goto(f"/?{urlencode({'server': site.url, 'key': key})}")
            yield found


def test_short_url_is_created_listed_and_edited(page: Page, site: DashboardSite) -> None:
    """The form makes a link, the list shows and finds it, and its editor changes it."""
    page.goto("/create-short-url")
    page.get_by_placeholder("URL to be shortened").fill("https://example.com")
    page.get_by_placeholder("Title").fill("A page")
    page.get_by_placeholder("Custom slug").fill("my slug")
    page.get_by_placeholder("Add tags to the URL").press_sequentially("news")
    page.get_by_text('Add "news" tag').click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text(f"{site.url}/my-slug").first).to_be_visible()

    page.goto("/list-short-urls/1?search=my-slug")
    row = page.get_by_role("row").filter(has_text=f"{site.url}/my-slug")
    expect(row).to_contain_text("https://example.com")
    expect(row).to_contain_text("news")
    page.goto("/short-code/my-slug/edit")
    expect(page.get_by_placeholder("URL to be shortened")).to_have_value("https://example.com")
    page.get_by_placeholder("Title").fill("Another page")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("properly edited")).to_be_visible()
    page.goto("/list-short-urls/1")
    expect(page.get_by_role("row").filter(has_text="Another page")).to_be_visible()


def test_short_url_gets_a_rule_and_is_deleted(page: Page, sdk: Sdk) -> None:
    """A rule is added in its dialog and saved; a link goes after its code was typed."""
    made = sdk("createShortUrl", {"longUrl": "https://example.com"})
    page.goto(f"/short-code/{made['shortCode']}/redirect-rules")
    page.get_by_role("button", name="Add rule").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Add condition").click()
    dialog.locator("select").last.select_option(label="Android")
    dialog.get_by_placeholder("https://www.example.com").fill("https://example.com/android")
    dialog.get_by_role("button", name="Confirm").click()
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Save rules").click()
    expect(page.get_by_text("Redirect rules properly saved")).to_be_visible()
    (rule,) = sdk("getShortUrlRedirectRules", made)["redirectRules"]
    assert rule["conditions"] == [{"type": "device", "matchKey": None, "matchValue": "android"}]

    page.goto("/list-short-urls/1")
    page.get_by_role("button", name="Options").click()
    page.get_by_role("menuitem", name="Delete short URL").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("delete")
    page.get_by_role("button", name="Delete").last.click()
    expect(page.get_by_text("No results found")).to_be_visible()
    assert sdk("listShortUrls")["data"] == []


def test_tags_and_domains_are_managed(page: Page, sdk: Sdk, site: DashboardSite) -> None:
    """The tags are there with their numbers, one gets another name, and the domain is well."""
    sdk("createShortUrl", {"longUrl": "https://example.com", "tags": ["news", "old"]})
    page.goto("/manage-tags")
    expect(page.get_by_role("row").filter(has_text="news")).to_contain_text("1")
    row = page.get_by_role("row").filter(has_text="old")
    row.get_by_role("button", name="Options").click()
    page.get_by_role("menuitem", name="Edit").click()
    page.get_by_role("textbox", name="Tag", exact=True).fill("New")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_role("row").filter(has_text="New")).to_be_visible()
    assert sdk("listTags")["data"] == ["New", "news"]

    page.goto("/manage-domains")
    with page.expect_response("**/rest/v3/health") as health:
        page.reload()
    assert health.value.status == 200
    expect(page.get_by_role("row").filter(has_text=urlsplit(site.url).netloc)).to_contain_text("No redirect")


def test_visits_have_charts(page: Page, sdk: Sdk, site: DashboardSite) -> None:
    """The visits of a link are drawn by system, browser, referrer and country, as they were counted."""
    made = sdk("createShortUrl", {"longUrl": "https://example.com"})
    click_link(site, made["shortCode"])
    visits = f"/short-code/{made['shortCode']}/visits"
    page.goto(f"{visits}/by-context")
    for text in ("Linux", "Firefox", "news.example"):
        expect(page.get_by_text(text).first).to_be_visible()
    expect(page.locator(".recharts-surface").first).to_be_visible()

    page.goto(f"{visits}/by-location")
    expect(page.get_by_text("Germany").first).to_be_visible()
    page.goto(f"{visits}/list")
    expect(page.get_by_role("row").filter(has_text="Germany")).to_contain_text("Firefox")
    page.goto("/overview")
    expect(page.locator("body")).to_contain_text("Visits")
