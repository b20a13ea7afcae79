"""What users and visitors store, when it is made to run where it is shown: on no page of a real browser does it do anything."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from deploy.local.database import LOCAL_OWNER
from services.links.clicks.counts import EnrichedClick
from shared.api import Dimensions
from shared.postgres import Connection
from tests.dashboard.browser import (
    LOOKS,
    ONE_BY_ONE,
    TIMEOUT_MS,
    copyable,
    go_to,
    metric,
    needs_chromium,
    open_window,
    sign_in,
    tick_row,
    wait_until_drawn,
)
from tests.dashboard.hostile import HOSTILE
from tests.dashboard.site import FIREFOX, DashboardSite, follow

MARK = "window.marked=1"
MARKING = (
    f"<script>{MARK}</script>",
    f'<img src=x onerror="{MARK}">',
    f'"><svg onload="{MARK}">',
    f"[marked](javascript:{MARK})",
    f"<https://evil.example/> <a href='javascript:{MARK}'>marked</a>",
)
TEXTS = (*HOSTILE, *MARKING)
ALL = " ".join(sorted(TEXTS, key=lambda text: text.startswith("<")))
"""Where Markdown is read, a line that begins with HTML is nothing else to its end: Markdown first."""

LONGEST_TITLE, LONGEST_TAG = 512, 64

HARM = f"""() => [
    window.marked ? 'a script ran' : '',
    ...[...document.querySelectorAll('a')].map(each => each.href).filter(each => /javascript:|data:|evil/.test(each)),
    ...[...document.querySelectorAll('img')].map(each => each.src).filter(each => /\\/x$|evil/.test(each)),
    ...[...document.querySelectorAll('script')].map(each => each.text).filter(each => /{MARK}|alert\\(/.test(each)),
].filter(Boolean)"""
"""What is there if a text became more than a text."""

pytestmark = [needs_chromium, ONE_BY_ONE]


@pytest.fixture
def page(site: DashboardSite, browser: Browser) -> Iterator[Page]:
    """Of an admin, who sees what everybody stored."""
    with open_window(browser, site.url, LOOKS[0]) as page:
        sign_in(page, site.stack.api_key)
        yield page


@pytest.fixture(scope="module")
def short_url(site: DashboardSite) -> str:
    """The newest link, with hostile texts in all its fields; others have them too, one each."""
    fields = {
        "title": ALL[:LONGEST_TITLE],
        "tags": [each[:LONGEST_TAG] for each in TEXTS],
        "expired_url": f"https://www.example.com/?after={ALL}",
    }
    links: list[dict[str, object]] = [
        {"url": f"https://www.example.com/?q={each}#{each}", "title": each} for each in TEXTS
    ]
    site.create(site.stack.api_key, links)
    (link,) = site.create(site.stack.api_key, [{"url": f"https://www.example.com/#{ALL}", **fields}])
    answer = httpx.post(
        f"{site.url}/api/v1/keys",
        json={"owner": "mallory", "name": ALL[:LONGEST_TITLE], "scopes": ["links:read"]},
        headers={"Authorization": f"Bearer {site.stack.api_key}"},
    )
    assert answer.status_code == 201, answer.text
    short: str = link["short_url"]
    store_clicks(site, short)
    return short


def store_clicks(site: DashboardSite, short_url: str) -> None:
    """Click as a hostile visitor does, and store what no parser lets through, in case one ever does."""
    for text in TEXTS:
        follow(short_url, **{"User-Agent": f"{FIREFOX} {text}", "Referer": f"https://evil.example/{text}"})
        follow(short_url, **{"User-Agent": text, "Referer": text, "Accept-Language": text})

    async def read_id(conn: Connection) -> int:
        found: int = await conn.fetchval("SELECT id FROM links WHERE code = $1", short_url.rpartition("/")[2])
        return found

    link = site.query(read_id)
    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    clicks = [EnrichedClick(now, link, LOCAL_OWNER, text.encode(), False, Dimensions(*[text] * 7)) for text in TEXTS]
    site.store_clicks(clicks)


def test_links_page(page: Page, short_url: str) -> None:
    """Neither the table nor any dialog runs what is in titles, tags and targets."""
    go_to(page, "Links")
    expect(rows_of(page)).to_have_attribute("aria-rowcount", re.compile(r"^\d\d"), timeout=TIMEOUT_MS)
    check(page)
    page.get_by_label("Search", exact=True).fill(short_url.rpartition("/")[2])
    expect(rows_of(page)).to_have_attribute("aria-rowcount", "2", timeout=TIMEOUT_MS)
    tick_row(page, 0)
    check(page)
    page.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Title")).to_have_value(ALL[:LONGEST_TITLE], timeout=TIMEOUT_MS)
    check(page)
    close(dialog)
    page.get_by_role("button", name="Share").click()
    expect(copyable(dialog)).to_have_text(short_url, timeout=TIMEOUT_MS)
    check(page)
    close(dialog)
    page.get_by_role("button", name="Delete").click()
    expect(dialog).to_contain_text("Delete for good?", timeout=TIMEOUT_MS)
    check(page)


def test_create_many(page: Page, short_url: str) -> None:
    """What is understood, and rows that are refused with the reason, are shown as the text that they are."""
    go_to(page, "Links")
    page.get_by_role("tab", name="Create many").click()
    box = page.get_by_role("textbox", name="Addresses, one in each line, or CSV")
    quoted = ['"{}"'.format(text.replace('"', '""')) for text in TEXTS]
    box.fill(f"{quoted[0]},url\n")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("alert").first).to_contain_text("not known", timeout=TIMEOUT_MS)
    check(page)
    box.fill("url,title\n" + "".join(f"{text},{text}\n" for text in quoted))
    box.blur()
    expect(page.get_by_test_id("stDataFrame")).to_be_visible(timeout=TIMEOUT_MS)
    check(page)
    page.get_by_role("button", name="Create links").click()
    expect(page.get_by_role("alert").first).to_contain_text("failed", timeout=TIMEOUT_MS)
    check(page)


def test_shorten_page(page: Page, short_url: str) -> None:
    """What one types oneself, and the tags to choose from, are texts too."""
    for text in TEXTS:
        page.get_by_label("Long address").fill(text)
        page.get_by_role("button", name="Shorten").click()
        expect(page.get_by_role("alert").first).to_contain_text("The address", timeout=TIMEOUT_MS)
        check(page)
    page.get_by_label("Long address").fill(f"https://www.example.com/?{TEXTS[1]}#{TEXTS[0]}")
    page.get_by_text("Options").click()
    page.get_by_label("Code of your own").fill(MARKING[1])
    expect(page.get_by_text("This code must be")).to_be_visible(timeout=TIMEOUT_MS)
    page.get_by_label("Code of your own").fill("")
    page.get_by_label("Tags").click()
    expect(page.get_by_role("option").first).to_be_visible(timeout=TIMEOUT_MS)
    check(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Shorten").click()
    expect(page.locator(".st-key-shortened")).to_contain_text("leads to", timeout=TIMEOUT_MS)
    check(page)


def test_statistics_page(page: Page, short_url: str) -> None:
    """Referrers, user agents and languages are text in charts, in what they say under the mouse, and in the last clicks."""
    go_to(page, "Statistics")
    page.get_by_label("Link", exact=True).fill(short_url)
    page.keyboard.press("Enter")
    expect(metric(page, "Clicks")).to_have_text(str(3 * len(TEXTS)), timeout=TIMEOUT_MS)
    charts = page.get_by_test_id("stVegaLiteChart")
    expect(page.get_by_role("heading", name="Last clicks")).to_be_visible(timeout=TIMEOUT_MS)
    check(page)
    page.get_by_text("Live").click()
    wait_until_drawn(page)
    chart = charts.last
    chart.scroll_into_view_if_needed()
    size = chart.bounding_box()
    assert size is not None
    for row in range(5):
        chart.hover(position={"x": size["width"] / 2, "y": 18 + 26 * row})
        check(page)


def test_keys_page(page: Page, short_url: str) -> None:
    """The name of a key is a text, in the table and in the question before it is revoked."""
    go_to(page, "Keys")
    page.get_by_test_id("stDataFrame").locator(".dvn-scroller").click(position={"x": 15, "y": 52})
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("dialog")).to_contain_text("mallory", timeout=TIMEOUT_MS)
    check(page)


def rows_of(page: Page) -> Locator:
    """The table as screen readers have it; its heading counts as a row."""
    return page.get_by_test_id("data-grid-canvas").locator("table")


def close(dialog: Locator) -> None:
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0, timeout=TIMEOUT_MS)


def check(page: Page) -> None:
    wait_until_drawn(page)

    assert page.evaluate(HARM) == []
