"""A file that someone uploads in the dashboard goes through nginx, which passes it on as it comes."""

import json
from pathlib import Path

from playwright.sync_api import expect

from tests.dashboard.browser import (
    ONE_BY_ONE,
    TIMEOUT_MS,
    go_to,
    needs_chromium,
    open_window,
    running_browser,
    sign_in,
    wait_until_drawn,
)
from tests.dashboard.site import running_site
from tests.local.test_up import wait_for

pytestmark = [needs_chromium, ONE_BY_ONE]


def test_upload(tmp_path: Path) -> None:
    """A CSV file of 4 MB arrives."""
    file = tmp_path / "links.csv"
    file.write_text("url,title\nhttps://www.example.com/," + "x" * 4_000_000 + "\n")
    log = tmp_path / "site" / "logs" / "access.log"

    def statuses() -> list[int]:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return [line["status"] for line in lines if line["method"] == "PUT" and "upload_file" in line["path"]]

    with running_site(tmp_path / "site") as site, running_browser() as browser, open_window(browser, site.url) as page:
        sign_in(page, site.key("alice"))
        go_to(page, "Links")
        page.get_by_role("tab", name="Create many").click()
        page.locator("input[type=file]").set_input_files(file)
        expect(page.get_by_role("button", name="Remove links.csv")).to_be_visible(timeout=TIMEOUT_MS)
        wait_until_drawn(page)
        wait_for(lambda: bool(statuses()))

        assert statuses() == [204]
