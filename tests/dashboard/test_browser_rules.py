"""A link with rules in a real browser: edited by hand, explained, followed, and counted by variant."""

import json

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.dashboard.browser import (
    LOOKS,
    ONE_BY_ONE,
    PHONE_AGENT,
    TIMEOUT_MS,
    Look,
    go_to,
    needs_chromium,
    open_window,
    sign_in,
    take_screenshot,
    tick_row,
)
from tests.dashboard.site import FIREFOX, DashboardSite
from tests.dashboard.test_browser_pages import WIDEST

URL = "https://www.example.com/"
RULES = [
    {"name": "phones", "if": {"device": "mobile", "os": ["android", "ios"]}, "url": f"{URL}phone"},
    {"if": {"country": "NZ"}, "url": f"{URL}nz"},
]
SPLIT = [{"name": name, "url": f"{URL}{name}"} for name in ("old", "new")]

pytestmark = [needs_chromium, ONE_BY_ONE]


@pytest.mark.parametrize("look", [LOOKS[0], LOOKS[-1]], ids=str)
def test_rules_from_the_editor_to_the_chart(site: DashboardSite, browser: Browser, look: Look) -> None:
    """Rules are typed in, the panel tells which one wins, visitors go there, and the statistics show their shares."""
    (link,) = site.create(site.stack.api_key, [{"url": URL, "code": f"rules-{look}", "split": SPLIT}])
    with open_window(browser, site.url, look) as page:
        sign_in(page, site.stack.api_key)
        go_to(page, "Links")
        tick_row(page, 0)
        page.get_by_role("button", name="Edit").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Rules", exact=True).fill(json.dumps(RULES, indent=2))
        dialog.get_by_role("button", name="Save").click()
        expect(page.get_by_text("1 link changed.")).to_be_visible(timeout=TIMEOUT_MS)
        tick_row(page, 0)
        page.get_by_role("button", name="Edit").click()
        dialog.get_by_text("Where does a visitor go?").click()
        expect(dialog.get_by_text(f"50% of these visitors: old → {URL}old")).to_be_visible(timeout=TIMEOUT_MS)
        dialog.get_by_label("Country").fill("NZ")
        dialog.get_by_label("Country").press("Enter")
        expect(dialog.get_by_text("rule 2 wins: all its conditions hold.")).to_be_visible(timeout=TIMEOUT_MS)
        expect(dialog.get_by_text("os is not known")).to_be_visible()
        take_screenshot(page, look, "rules")
        assert page.evaluate(WIDEST) <= look.width

        followed = [
            httpx.get(f"{site.url}/{link['code']}", headers={"User-Agent": agent}) for agent in (PHONE_AGENT, FIREFOX)
        ]
        page.goto("/")
        go_to(page, "Statistics")
        page.get_by_label("Link", exact=True).fill(link["code"])
        page.get_by_label("Link", exact=True).press("Enter")
        expect(page.get_by_role("heading", name="Rules and splits")).to_be_visible(timeout=TIMEOUT_MS)
        take_screenshot(page, look, "variants")

    assert followed[0].headers["location"] == f"{URL}phone"
    assert followed[1].headers["location"] in {target["url"] for target in SPLIT}
