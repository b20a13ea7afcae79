"""Every page with a month of data, drawn in a real browser: none is wider than its screen, and each is kept as a picture."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard.browser import (
    LOOKS,
    ONE_BY_ONE,
    TIMEOUT_MS,
    Look,
    copyable,
    go_to,
    needs_chromium,
    open_window,
    sign_in,
    take_screenshot,
    tick_row,
)
from tests.dashboard.samples import store_samples
from tests.dashboard.site import DashboardSite

WIDEST = "Math.max(...[...document.querySelectorAll('html, body, main, section')].map(each => each.scrollWidth))"
BRIGHTNESS = """() => {
    const canvas = document.createElement('canvas').getContext('2d');
    canvas.fillStyle = getComputedStyle(document.querySelector('[data-testid=stApp]') ?? document.body).backgroundColor;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, opacity] = canvas.getImageData(0, 0, 1, 1).data;
    return opacity ? (red + green + blue) / 3 : matchMedia('(prefers-color-scheme: dark)').matches ? 0 : 255;
}"""
"""Of the background, from 0 to 255; a page that paints none has the one of its scheme."""

pytestmark = [needs_chromium, ONE_BY_ONE]


@pytest.fixture(scope="module")
def site(site: DashboardSite) -> DashboardSite:
    """With data."""
    store_samples(site)
    return site


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_pages_fit_their_screen(site: DashboardSite, browser: Browser, look: Look) -> None:
    """No page has to be scrolled sideways; the scheme is the one that the browser asks for."""
    with open_window(browser, site.url, look) as page:
        page.goto("/")
        expect(page.get_by_label("API key")).to_be_visible()
        check(page, look, "sign-in")
        sign_in(page, site.stack.api_key)
        go_to(page, "Links")
        tick_row(page, 0)
        check(page, look, "links")
        go_to(page, "Statistics")
        expect(page.get_by_test_id("stVegaLiteChart").last).to_be_visible(timeout=TIMEOUT_MS)
        check(page, look, "statistics")
        go_to(page, "Domains")
        expect(page.get_by_label("Where unknown codes lead")).to_be_visible(timeout=TIMEOUT_MS)
        check(page, look, "domains")
        go_to(page, "Keys")
        check(page, look, "keys")
        go_to(page, "Shorten")
        page.get_by_label("Long address").fill("https://www.example.com/a/long/address?of=somebody")
        page.get_by_role("button", name="Shorten").click()
        expect(copyable(page)).to_be_visible(timeout=TIMEOUT_MS)
        page.get_by_text("Options").click()
        expect(page.get_by_text("Pass the visitor's query parameters on")).to_be_visible()
        check(page, look, "shorten")
        site.delete(site.stack.api_key, copyable(page).inner_text().strip())


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_preview_fits_its_screen(site: DashboardSite, browser: Browser, look: Look) -> None:
    """The preview of a long target and title has its style, is read by a screen reader as a link, and runs nothing."""
    target = f"https://www.example.com/{'long' * 500}?x={'y' * 500}"
    (link,) = site.create(site.stack.api_key, [{"url": target, "title": "<b>" + "t" * 500}])
    refused = []
    with open_window(browser, site.url, look) as page:
        page.on("console", lambda message: refused.append(message.text))
        page.goto(f"{link['short_url']}+")
        expect(page.get_by_role("link", name=target)).to_have_attribute("rel", "noreferrer nofollow")
        expect(page.get_by_role("main").get_by_role("heading", level=1)).to_have_text(
            re.compile(r"^Where .*/.* leads$")
        )
        expect(page.locator("strong")).to_have_css("font-size", "20px")
        check(page, look, "preview")
    site.delete(site.stack.api_key, link["short_url"])

    # Browsers ask for an icon by themselves.
    assert [text for text in refused if "favicon" not in text] == []


def check(page: Page, look: Look, name: str) -> None:
    path = take_screenshot(page, look, name)

    assert path.stat().st_size > 0
    assert page.evaluate(WIDEST) <= look.width
    assert (page.evaluate(BRIGHTNESS) < 128) == (look.scheme == "dark")
