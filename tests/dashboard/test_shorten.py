"""The page Shorten over the real write service."""

from datetime import UTC, datetime

import pytest
from streamlit.testing.v1 import AppTest

from services.dashboard.pages.shorten import page as shorten_page
from tests.dashboard.hostile import HOSTILE
from tests.dashboard.stack import Stack, labelled, markdown_of, texts_of

EXPIRY = datetime(2030, 1, 2, 3, 45, tzinfo=UTC)
TARGET = "https://www.example.com/a?b=c"


def shorten(page: AppTest, url: str = TARGET) -> AppTest:
    labelled(page.text_input, "Long address").set_value(url)
    labelled(page.button, "Shorten").click()
    return page.run()


def test_a_pasted_address_becomes_a_short_link(stack: Stack) -> None:
    """The short link is there to copy, to open and as a QR code, and the input is free for the next one."""
    page = shorten(stack.page(shorten_page).run())
    with stack.client() as client:
        (link,) = client.links().items

    assert not page.exception
    assert [each.value for each in page.code] == [link.short_url]
    assert link.url == TARGET
    assert page.link_button[0].url == link.short_url
    assert [each.label for each in page.download_button] == ["SVG", "PNG"]
    assert labelled(page.text_input, "Long address").value == ""


def test_a_bookmark_fills_in_the_address(stack: Stack) -> None:
    """The address that a bookmark hands over is in the form, and nothing is created before somebody presses."""
    page = stack.page(shorten_page)
    page.query_params["url"] = TARGET
    page.run()
    with stack.client() as client:
        before = client.links().items
        labelled(page.button, "Shorten").click().run()
        (link,) = client.links().items

    assert before == ()
    assert link.url == TARGET
    assert labelled(page.text_input, "Long address").value == ""


def test_the_options_are_stored(stack: Stack) -> None:
    """Every option arrives in the link: code, domain, title, tags, expiry, its target, status, query and password."""
    page = stack.page(shorten_page).run()
    labelled(page.selectbox, "Domain").set_value("go.example.org")
    labelled(page.text_input, "Code of your own").set_value("mine")
    labelled(page.text_input, "Title").set_value("A title")
    labelled(page.multiselect, "Tags").set_value(["new", "newer"])
    page.datetime_input[0].set_value(EXPIRY.replace(tzinfo=None))
    labelled(page.text_input, "Where it leads after that").set_value("https://www.example.com/gone")
    labelled(page.selectbox, "Kind of redirect").set_value(307)
    labelled(page.text_input, "Password").set_value("s3cret")
    for switch in page.checkbox:
        switch.set_value(not switch.value)
    labelled(page.text_area, "Notes").set_value("Two\nlines")
    shorten(page.run())
    with stack.client() as client:
        link = client.link("mine", "go.example.org")

    assert (link.title, link.tags, link.status_code, link.notes) == ("A title", ("new", "newer"), 307, "Two\nlines")
    assert (link.forward_query, link.forward_path, link.crawlable, link.preview) == (True, True, True, False)
    assert link.visitor_query_wins
    assert link.has_password
    assert link.expires_at == EXPIRY
    assert link.expired_url == "https://www.example.com/gone"


@pytest.mark.parametrize("url", ["", "javascript:alert(1)", "nothing", "https://sho.rt/loop"])
def test_a_wrong_address_is_told_below_it(stack: Stack, url: str) -> None:
    """What the API has against the address is right there, and the input is kept."""
    page = shorten(stack.page(shorten_page).run(), url)

    assert not page.exception
    assert len(page.error) == 1
    assert page.error[0].value.startswith("The address ")
    assert labelled(page.text_input, "Long address").value == url


def test_an_error_of_an_option_opens_the_options(stack: Stack) -> None:
    """A reason that is about a folded field unfolds it."""
    page = stack.page(shorten_page).run()
    labelled(page.text_input, "Where it leads after that").set_value("ftp://x")
    shorten(page.run())

    assert not page.exception
    assert [each.value.split()[0:2] for each in page.error] == [["This", "address"]]
    assert page.expander[0].proto.expanded


@pytest.mark.parametrize(
    ("code", "told"),
    [("free", "This code is free."), ("used", "is taken"), ("api", "is a reserved word"), ("a b", "must be letters")],
)
def test_a_code_tells_whether_it_can_be_had(stack: Stack, code: str, told: str) -> None:
    """While a code is typed the page says whether it is free, and why not."""
    with stack.client() as client:
        client.create_link({"url": TARGET, "code": "used"})
    page = stack.page(shorten_page).run()
    labelled(page.text_input, "Code of your own").set_value(code)
    page.run()

    assert told in texts_of(page)


def test_a_code_that_was_taken_meanwhile_is_told_beside_it(stack: Stack) -> None:
    """The answer 409 is about the code."""
    page = stack.page(shorten_page).run()
    labelled(page.text_input, "Code of your own").set_value("mine")
    page.run()
    with stack.client() as client:
        client.create_link({"url": TARGET, "code": "mine"})
    shorten(page)

    assert [each.value for each in page.error] == [
        "The code is taken\N{WORD JOINER}\\, or was\N{WORD JOINER}\\: a code is never given out twice"
    ]


def test_a_key_that_only_writes_shortens(stack: Stack) -> None:
    """`links:write` alone is enough, for a drawn code and for one's own; there is no QR code then."""
    page = stack.page(shorten_page, "alice", "links:write").run()
    labelled(page.text_input, "Code of your own").set_value("mine")
    told = texts_of(page.run())
    shorten(page)

    assert not page.exception
    assert not page.error
    assert "This code is free." in told
    assert [each.value for each in page.code] == ["https://sho.rt/mine"]
    assert not page.download_button


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_typed_is_never_markdown(stack: Stack, text: str) -> None:
    """Hostile texts in every field are stored as they are, and no place that reads Markdown gets them unescaped."""
    page = stack.page(shorten_page).run()
    labelled(page.text_input, "Title").set_value(text)
    labelled(page.multiselect, "Tags").set_value([text])
    shorten(page.run(), f"https://www.example.com/?{text}")
    page.run()
    with stack.client() as client:
        (link,) = client.links().items

    assert not page.exception
    assert (link.title, link.tags) == (text, (text,))
    assert text not in markdown_of(page)
