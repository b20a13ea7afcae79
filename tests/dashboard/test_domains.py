"""The page Domains over the real write service."""

from streamlit.testing.v1 import AppTest

from services.dashboard.pages.domains import page as domains_page
from tests.dashboard.hostile import HOSTILE, SCRIPT
from tests.dashboard.stack import Stack, labelled, texts_of


def opened(stack: Stack) -> AppTest:
    return stack.page(domains_page, "root", "admin").run()


def test_decisions_are_saved_and_shown(stack: Stack) -> None:
    """What is saved is what the page begins with next time; an emptied field takes the decision away."""
    page = opened(stack)
    labelled(page.text_input, "Where unknown codes lead").set_value("https://www.example.com/?code={code}")
    labelled(page.text_input, "Title of the error pages").set_value("Example")
    labelled(page.button, "Save").click().run()
    with stack.client("root", "admin") as client:
        first = client.domain("sho.rt")
        labelled(page.text_input, "Title of the error pages").set_value("")
        labelled(page.button, "Save").click().run()
        second = client.domain("sho.rt")

    assert not page.exception
    assert (first.not_found_url, first.page_title, first.version) == (
        "https://www.example.com/?code={code}",
        "Example",
        1,
    )
    assert (second.not_found_url, second.page_title) == (first.not_found_url, None)
    assert "within a second" in texts_of(page)
    assert labelled(opened(stack).text_input, "Where unknown codes lead").value == first.not_found_url


def test_domains_are_apart(stack: Stack) -> None:
    """Each domain of the site has a form of its own."""
    page = opened(stack)
    labelled(page.selectbox, "Domain").set_value("go.example.org").run()
    labelled(page.text_input, "Where the domain itself leads").set_value("https://www.example.com/")
    labelled(page.button, "Save").click().run()
    labelled(page.selectbox, "Domain").set_value("sho.rt").run()

    assert labelled(page.text_input, "Where the domain itself leads").value == ""
    with stack.client("root", "admin") as client:
        assert client.domain("go.example.org").root_url == "https://www.example.com/"


def test_slashes_in_codes_are_switched_on_and_off(stack: Stack) -> None:
    """The page says whether codes of a domain may have slashes, and the next link may have one."""
    page = opened(stack)
    with stack.client("root", "admin") as client:
        for is_on in (True, False):
            labelled(page.checkbox, "Codes may have slashes in them").set_value(is_on)
            labelled(page.button, "Save").click().run()
            assert client.domain("sho.rt").multi_segment is is_on
            assert client.availability("menu/today", "sho.rt").available is is_on

    assert not page.exception


def test_refusal_stands_at_its_field(stack: Stack) -> None:
    """What the API refuses is said once, below its field, and what was typed stays."""
    page = opened(stack)
    labelled(page.text_input, "Where unknown codes lead").set_value("https://{code}.example.com/")
    labelled(page.button, "Save").click().run()
    (error,) = page.error

    assert "in its path or its query" in error.value
    assert labelled(page.text_input, "Where unknown codes lead").value == "https://{code}.example.com/"


def test_file_is_stored_and_taken_away(stack: Stack) -> None:
    """A file is saved, read again, refused if it is no JSON, and taken away by emptying it."""
    page = opened(stack)
    labelled(page.selectbox, "File").set_value("assetlinks.json").run()
    labelled(page.text_area, "Content").set_value("[1]")
    labelled(page.button, "Save file").click().run()
    with stack.client("root", "admin") as client:
        assert client.domain_file(client.domain("sho.rt"), "assetlinks.json") == "[1]"
        labelled(page.text_area, "Content").set_value("[")
        labelled(page.button, "Save file").click().run()
        assert "must be JSON" in page.error[0].value
        labelled(page.text_area, "Content").set_value("")
        labelled(page.button, "Save file").click().run()
        assert client.domain("sho.rt").files == ()

    assert not page.exception


def test_texts_of_others_are_texts(stack: Stack) -> None:
    """What another admin decided is in inputs, where nothing is read as Markdown."""
    title = " ".join(HOSTILE)
    with stack.client("root", "admin") as client:
        client.edit_domain(client.domain("sho.rt"), {"page_title": title})
    page = opened(stack)

    assert not page.exception
    assert labelled(page.text_input, "Title of the error pages").value == title
    assert SCRIPT not in texts_of(page)
