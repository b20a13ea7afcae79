"""Moving in, in a real browser before the whole site: a file is looked at, imported, watched and undone; and a bookmark."""

import csv
import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.dashboard.browser import (
    LOOKS,
    ONE_BY_ONE,
    TIMEOUT_MS,
    Look,
    go_to,
    metric,
    needs_chromium,
    open_window,
    sign_in,
    take_screenshot,
    wait_until_drawn,
)
from tests.dashboard.site import DashboardSite, wait_for_answer

pytestmark = [needs_chromium, ONE_BY_ONE]

BOOKMARKLET = Path(__file__).parents[2] / "docs" / "clients" / "bookmarklet.js"


def write_export(site: DashboardSite, path: Path, links: dict[str, str]) -> Path:
    """Write the CSV of an owner whose links had these codes elsewhere."""
    key = site.key(f"elsewhere-{path.parent.name}")
    made = site.create(key, [{"url": target} for target in links.values()])
    text = httpx.get(f"{site.url}/api/v1/exports", headers={"Authorization": f"Bearer {key}"}).text
    for link, code in zip(made, links, strict=True):
        text = text.replace(link["code"], code)
    path.write_text(text, newline="")
    return path


@pytest.mark.parametrize("look", [LOOKS[0], LOOKS[2]], ids=str)
def test_a_file_moves_in_and_out_again(site: DashboardSite, browser: Browser, look: Look, tmp_path: Path) -> None:
    """What was understood is shown before anything is created; then the links work, until the import is undone."""
    code, target = f"moved-{look.device}", f"https://www.example.com/{look.device}"
    key = site.key("mover")
    file = write_export(site, tmp_path / "old.csv", {code: target, "docs": "https://www.example.com/docs"})
    with open_window(browser, site.url, look) as page:
        sign_in(page, key)
        go_to(page, "Import")
        page.locator("input[type=file]").set_input_files(file)
        wait_until_drawn(page)
        page.get_by_role("button", name="Look at it").click()
        expect(page.get_by_text("Nothing has been created yet")).to_be_visible(timeout=TIMEOUT_MS)
        expect(metric(page, "To make")).to_have_text("1")
        expect(metric(page, "Refused")).to_have_text("1")
        with page.expect_download() as downloading:
            page.get_by_role("button", name="Download these rows").click()
        refused = list(csv.DictReader(Path(downloading.value.path()).read_text().splitlines()))
        take_screenshot(page, look, "import")
        # Not a visit: redirectors remember for 5 s that a code was free, and an import does not tell them.
        tried = httpx.get(f"{site.url}/api/v1/links/{code}", headers={"Authorization": f"Bearer {key}"})
        page.get_by_role("button", name="Import now").click()
        expect(page.get_by_text("The import is done.")).to_be_visible(timeout=TIMEOUT_MS)
        wait_for_answer(f"{site.url}/{code}", 302, target)
        page.get_by_role("button", name="Undo", exact=False).first.click()
        page.get_by_role("button", name="Undo the import").click()
        expect(page.get_by_text(re.compile("The import is undone"))).to_be_visible(timeout=TIMEOUT_MS)
        wait_for_answer(f"{site.url}/{code}", 410)

    assert tried.status_code == 404
    assert [(row["input"] != "", row["proposed_code"]) for row in refused] == [(True, "docs-2")]


def test_a_bookmark_opens_the_page_with_the_address(site: DashboardSite, browser: Browser) -> None:
    """The line of the document, pressed on any page, opens Shorten with that page's address filled in."""
    script = BOOKMARKLET.read_text().replace("https://go.example.com", site.url).removeprefix("javascript:")
    with open_window(browser, site.url) as page:
        sign_in(page, site.key("reader"))
        page.goto("/docs?a=1&b=%C3%A4")
        with page.expect_popup() as opening:
            page.evaluate(script)
        opened = opening.value
        wait_until_drawn(opened)
        expect(opened.get_by_label("Long address")).to_have_value(f"{site.url}/docs?a=1&b=%C3%A4", timeout=TIMEOUT_MS)
