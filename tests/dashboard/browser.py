"""A real browser, Debian's Chromium, which notices everything that is wrong on a page, at two sizes and in two schemes."""

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    Request,
    expect,
    sync_playwright,
)

from services.dashboard.pages.links.table import ROW_PX, SELECT_PX

CHROMIUM = Path(os.environ.get("CHROMIUM") or "/usr/bin/chromium")
NEEDED = "BROWSER_TESTS_NEEDED"

TIMEOUT_MS = 20_000
"""Of everything that is waited for: a page of Streamlit takes two seconds on a quiet machine."""

PHONE_WIDTH_PX = 390
PHONE_AGENT = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"
)
"""Streamlit knows a phone by it, and closes the navigation after a page was chosen."""

SCREENSHOTS = Path(os.environ.get("SCREENSHOTS_DIR") or Path(__file__).parent / "screenshots")

ANIMATIONS_END = """() => Promise.allSettled(
    document.getAnimations()
        .filter(each => each.effect.getComputedTiming().endTime !== Infinity)
        .map(each => each.finished)
)"""

needs_chromium = pytest.mark.skipif(
    not CHROMIUM.exists() and not os.environ.get(NEEDED), reason=f"there is no {CHROMIUM}"
)

ONE_BY_ONE = pytest.mark.xdist_group(name="network")
"""Nor beside deliveries: Chromium drops what it is at (ERR_NETWORK_CHANGED) when a container's interface comes or goes."""


@dataclass(frozen=True)
class Look:
    """How a page is looked at."""

    device: str
    width: int
    height: int
    scheme: str

    def __str__(self) -> str:
        return f"{self.device}-{self.scheme}"


LOOKS = [
    Look(*size, scheme)
    for size in (("desktop", 1280, 800), ("phone", PHONE_WIDTH_PX, 844))
    for scheme in ("light", "dark")
]


@contextmanager
def running_browser(*options: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *options])
        yield browser
        browser.close()


@contextmanager
def open_window(
    browser: Browser, site_url: str, look: Look = LOOKS[0], *, leads_to: str = "", tolerated: str = "(?!)"
) -> Iterator[Page]:
    """Open a browser that nobody is signed in with; at the end nothing may have gone wrong in it.

    What is wrong: an error in the console other than those that are tolerated (an expression), an exception, a dialog that a
    script opened, and a request to another host than the one that a link leads to.
    """
    is_phone = look.device == "phone"
    context = browser.new_context(
        user_agent=PHONE_AGENT if is_phone else None,
        viewport={"width": look.width, "height": look.height},
        color_scheme="dark" if look.scheme == "dark" else "light",
        has_touch=is_phone,
        is_mobile=is_phone,
        locale="en-GB",
        timezone_id="Europe/Berlin",
        base_url=site_url,
    )
    context.set_default_timeout(TIMEOUT_MS)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site_url)
    wrong = _watch(context, {urlsplit(site_url).netloc, leads_to}, tolerated)
    try:
        yield context.new_page()
    except Exception as error:
        error.add_note(f"What was wrong in the browser: {wrong}")
        raise
    finally:
        context.close()

    assert not wrong, wrong


def _watch(context: BrowserContext, hosts: Collection[str], tolerated: str) -> list[str]:
    """Write down what goes wrong."""
    wrong: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error" and not re.search(tolerated, f"{message.text} {message.location}"):
            wrong.append(f"console: {message.text} {message.location}")

    def on_request(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in {"data", "blob"} and address.netloc not in hosts:
            wrong.append(f"request to another host: {request.url}")

    def on_dialog(dialog: Dialog) -> None:
        wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    context.on("console", on_console)
    context.on("request", on_request)
    context.on("dialog", on_dialog)
    context.on("weberror", lambda error: wrong.append(f"exception: {error.error}"))
    return wrong


def sign_in(page: Page, key: str, path: str = "/") -> None:
    """Sign in with the form."""
    page.goto(path)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    wait_until_drawn(page)


def go_to(page: Page, title: str) -> None:
    """Open a page from the navigation, which a phone hides."""
    link = page.get_by_test_id("stSidebarNavLink").filter(has_text=re.compile(f"{title}$"))
    if has_phone_width(page):
        page.get_by_test_id("stExpandSidebarButton").click()
    link.click()
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible(timeout=TIMEOUT_MS)
    wait_until_drawn(page)


def wait_until_drawn(page: Page) -> None:
    """Wait until the script of a page has run, and what it sent is on the screen."""
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=TIMEOUT_MS)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=TIMEOUT_MS)


def tick_row(page: Page, row: int) -> None:
    """Tick a row of the table of links, which is drawn on a canvas."""
    wait_until_drawn(page)
    table = page.get_by_test_id("stDataFrame").locator(".dvn-scroller")
    table.click(position={"x": SELECT_PX // 2, "y": ROW_PX * (row + 1) + ROW_PX // 2})
    expect(page.get_by_text(re.compile(r"\d+ links? ticked"))).to_be_visible(timeout=TIMEOUT_MS)
    wait_until_drawn(page)


def copyable(place: Page | Locator) -> Locator:
    """The short link, or the key, that is shown to be copied."""
    return place.get_by_test_id("stCode").first


def copy(place: Page | Locator) -> None:
    """Press the button beside it."""
    copyable(place).get_by_role("button").click()


def metric(page: Page, label: str) -> Locator:
    """The number below a label."""
    return page.get_by_test_id("stMetric").filter(has_text=label).get_by_test_id("stMetricValue")


def take_screenshot(page: Page, look: Look, name: str) -> Path:
    """Draw all of a page, also what one has to scroll to, into the folder of the screenshots."""
    page.evaluate("document.fonts.ready")
    page.evaluate(ANIMATIONS_END)
    main = page.get_by_test_id("stMain")
    height = 0
    if main.count():
        wait_until_drawn(page)
        height = main.evaluate("main => main.scrollHeight")
    page.set_viewport_size({"width": look.width, "height": max(look.height, height)})
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}-{look}.png"
    page.screenshot(path=path, animations="disabled", caret="hide")
    page.set_viewport_size({"width": look.width, "height": look.height})
    return path


def has_phone_width(page: Page) -> bool:
    size = page.viewport_size
    return size is not None and size["width"] <= PHONE_WIDTH_PX
