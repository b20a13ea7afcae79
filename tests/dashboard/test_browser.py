"""The dashboard in a real browser before the whole site: what people do there works on a desk and on a phone."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard.browser import (
    LOOKS,
    ONE_BY_ONE,
    TIMEOUT_MS,
    Look,
    copy,
    copyable,
    go_to,
    has_phone_width,
    metric,
    needs_chromium,
    open_window,
    sign_in,
    take_screenshot,
    tick_row,
)
from tests.dashboard.site import DashboardSite, follow, wait_for_answer

pytestmark = [needs_chromium, ONE_BY_ONE]


def test_printed_link_signs_in_once(site: DashboardSite, browser: Browser) -> None:
    """The link of `tinyurl up` opens the dashboard, which stays open over a reload; nobody else gets in with it."""
    with open_window(browser, site.url) as page:
        page.goto(site.sign_in_url)
        expect(page.get_by_role("heading", name="Shorten")).to_be_visible(timeout=TIMEOUT_MS)
        page.reload()
        expect(page.get_by_role("heading", name="Shorten")).to_be_visible(timeout=TIMEOUT_MS)
    answer = follow(site.sign_in_url)

    assert answer.status_code == 410


def test_documentation_of_the_api_needs_no_other_host(site: DashboardSite, browser: Browser) -> None:
    """`/docs` shows each route from files of this site alone, under a policy that it keeps to."""
    with open_window(browser, site.url) as page:
        page.goto("/docs")
        expect(page.get_by_role("heading", name="TinyURL")).to_be_visible(timeout=TIMEOUT_MS)
        creation = page.locator("#operations-links-create_link")
        creation.get_by_role("button").first.click()
        expect(creation.get_by_text("Request body")).to_be_visible(timeout=TIMEOUT_MS)
        take_screenshot(page, LOOKS[0], "docs")


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_sign_out(site: DashboardSite, browser: Browser, look: Look) -> None:
    """Whoever signs out is asked for the key from then on."""
    with open_window(browser, site.url, look) as page:
        sign_in(page, site.key("leaving"))
        if has_phone_width(page):
            page.get_by_test_id("stExpandSidebarButton").click()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("API key")).to_be_visible(timeout=TIMEOUT_MS)
        page.goto("/dashboard/links")
        expect(page.get_by_label("API key")).to_be_visible(timeout=TIMEOUT_MS)


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_life_of_a_link(site: DashboardSite, browser: Browser, look: Look) -> None:
    """A link is made, copied, followed, counted while one looks on, edited and deleted."""
    with open_window(browser, site.url, look) as page:
        sign_in(page, site.key(f"life-{look}"))
        short_url = make_link(page, "https://www.example.com/first")
        go_to(page, "Statistics")
        page.get_by_label("Link", exact=True).fill(short_url)
        page.keyboard.press("Enter")
        expect(metric(page, "Clicks")).to_have_text("0", timeout=TIMEOUT_MS)
        answer = follow(short_url)

        assert (answer.status_code, answer.headers["location"]) == (302, "https://www.example.com/first")
        expect(metric(page, "Clicks")).to_have_text("1", timeout=TIMEOUT_MS)
        expect(metric(page, "Humans")).to_have_text("1")
        expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible()
        go_to(page, "Links")
        edit_link(page, "https://www.example.com/second")
        wait_for_answer(short_url, 302, "https://www.example.com/second")
        delete_link(page)
        wait_for_answer(short_url, 410)


def make_link(page: Page, url: str) -> str:
    page.get_by_label("Long address").fill(url)
    page.get_by_role("button", name="Shorten").click()
    made = page.locator(".st-key-shortened")
    short_url = copyable(made).inner_text().strip()
    copy(made)

    expect(made.get_by_role("img")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == short_url
    return short_url


def edit_link(page: Page, url: str) -> None:
    tick_row(page, 0)
    page.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Leads to").fill(url)
    dialog.get_by_label("Title").fill("The second")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("1 link changed.")).to_be_visible(timeout=TIMEOUT_MS)


def delete_link(page: Page) -> None:
    tick_row(page, 0)
    page.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete for good?")
    dialog.get_by_role("button", name="Delete 1 link").click()
    expect(page.get_by_text("1 link deleted.")).to_be_visible(timeout=TIMEOUT_MS)
