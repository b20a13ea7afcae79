"""The page Links over the real write service."""

from collections.abc import Iterable

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from services.dashboard.pages.links import page as links_page
from services.links.clicks.enrichment import Enricher
from shared.client import Client
from tests.dashboard.hostile import HOSTILE
from tests.dashboard.stack import Stack, labelled, markdown_of, texts_of
from tests.links.click_data import GOOGLEBOT, click

TARGET = "https://www.example.com/"


def make(client: Client, *codes: str, **fields: object) -> None:
    for code in codes:
        client.create_link({"url": f"{TARGET}{code}", "code": code, **fields})


def table(page: AppTest) -> pd.DataFrame:
    return page.data_editor[0].value


def codes(page: AppTest) -> list[str]:
    return [str(url).rpartition("/")[2] for url in table(page)["Short link"]]


def edit(page: AppTest, rows: dict[int, dict[str, object]]) -> AppTest:
    """Edit cells of the table, as the browser tells of them."""
    key = page.data_editor[0].key
    assert key is not None
    page.session_state[key] = {"edited_rows": rows, "added_rows": [], "deleted_rows": []}
    return page.run()


def tick(page: AppTest, rows: Iterable[int]) -> AppTest:
    return edit(page, {row: {"Select": True} for row in rows})


def test_an_empty_list_says_what_to_do(stack: Stack) -> None:
    """Who has no links is told where they are made; who finds none is told that it is the filter."""
    page = stack.page(links_page).run()
    empty = texts_of(page)
    page.text_input[0].set_value("nothing")
    page.run()

    assert "Make the first one on the page Shorten" in empty
    assert "No link is like this" in texts_of(page)


def test_the_table_shows_the_links(stack: Stack, enricher: Enricher) -> None:
    """Each link has its row, with its clicks in all, those of humans, and by day."""
    with stack.client() as client:
        make(client, "one", title="First", tags=["x", "y"])
        make(client, "two", enabled=False)
    one = stack.link_id("one")
    stack.store_clicks([click(one), click(one), click(one, agent=GOOGLEBOT)], enricher)
    page = stack.page(links_page).run()
    shown = table(page)

    assert not page.exception
    assert codes(page) == ["two", "one"]
    assert shown["Title"].tolist() == ["", "First"]
    assert [list(tags) for tags in shown["Tags"]] == [[], ["x", "y"]]
    assert shown["State"].tolist() == ["disabled", "active"]
    assert shown["Clicks"].tolist() == [0, 3]
    assert shown["Humans"].tolist() == [0, 2]
    assert [int(days[-1]) for days in shown["Last 14 days"]] == [0, 3]
    assert {len(days) for days in shown["Last 14 days"]} == {14}


def test_links_are_searched_filtered_and_sorted(stack: Stack) -> None:
    """A word, a tag and a state limit the list; it can be in another order."""
    with stack.client() as client:
        make(client, "aaa", tags=["x"])
        make(client, "bbb", tags=["x"], enabled=False)
        make(client, "ccc")
    page = stack.page(links_page).run()
    labelled(page.selectbox, "Tag").set_value("x")
    tagged = codes(page.run())
    labelled(page.selectbox, "Sort").set_value("code")
    sorted_by_code = codes(page.run())
    labelled(page.selectbox, "State").set_value("disabled")
    disabled = codes(page.run())
    labelled(page.selectbox, "State").set_value(None)
    labelled(page.text_input, "Search").set_value("aa")
    found = codes(page.run())

    assert (tagged, sorted_by_code, disabled, found) == (["bbb", "aaa"], ["aaa", "bbb"], ["bbb"], ["aaa"])


def test_pages_lead_on_and_back(stack: Stack) -> None:
    """The list goes on page by page, and back to the page before."""
    with stack.client() as client:
        make(client, *(f"c{n:02}" for n in range(60)))
    page = stack.page(links_page).run()
    first = codes(page)
    labelled(page.button, "Next").click().run()
    second = codes(page)
    labelled(page.button, "Next").click().run()
    third = codes(page)
    at_end = labelled(page.button, "Next").disabled
    labelled(page.button, "Previous").click().run()

    assert first + second + third == [f"c{n:02}" for n in reversed(range(60))]
    assert at_end
    assert codes(page) == second
    assert "Page 2" in texts_of(page)


def test_cells_are_edited_in_place(stack: Stack) -> None:
    """What is typed into the table is stored at once: target, title, tags and whether the link works."""
    with stack.client() as client:
        make(client, "one", title="Old")
        page = edit(
            stack.page(links_page).run(),
            {0: {"Target": "https://new.example/", "Title": None, "Tags": ["t"], "On": False}},
        )
        link = client.link("one", "sho.rt")

    assert not page.exception
    assert (link.url, link.title, link.tags, link.enabled) == ("https://new.example/", None, ("t",), False)
    assert "1 link changed." in texts_of(page)
    assert table(page)["Target"].tolist() == ["https://new.example/"]


def test_an_edit_that_is_refused_is_told_and_not_shown(stack: Stack) -> None:
    """A target that the API refuses is named with its reason; the table shows what is stored."""
    with stack.client() as client:
        make(client, "one", "two")
    page = edit(stack.page(links_page).run(), {0: {"Target": "javascript:alert(1)"}, 1: {"Title": "fine"}})

    assert not page.exception
    assert len(page.error) == 1
    assert "two" in page.error[0].value
    assert table(page)["Target"].tolist() == [f"{TARGET}two", f"{TARGET}one"]
    assert table(page)["Title"].tolist() == ["", "fine"]


def test_an_edit_of_an_older_version_is_told(stack: Stack) -> None:
    """Who edits what somebody else changed meanwhile overwrites nothing, and sees the newest version."""
    with stack.client() as client:
        make(client, "one")
        page = stack.page(links_page).run()
        client.edit_link(client.link("one", "sho.rt"), {"title": "theirs"})
        edit(page, {0: {"Title": "mine"}})
        link = client.link("one", "sho.rt")

    assert link.title == "theirs"
    assert "changed by somebody else meanwhile" in page.error[0].value
    assert table(page)["Title"].tolist() == ["theirs"]


def test_ticks_stay_with_their_links(stack: Stack) -> None:
    """A link that appears above a ticked one does not take its tick over."""
    with stack.client() as client:
        make(client, "one", "two")
        page = tick(stack.page(links_page).run(), [0])
        make(client, "three")
        page.run()
        ticked = dict(zip(codes(page), table(page)["Select"], strict=True))
        labelled(page.button, "Disable").click().run()
        off = [link.code for link in client.links().items if not link.enabled]

    assert ticked == {"three": False, "two": True, "one": False}
    assert off == ["two"]


def test_ticked_links_are_switched_off_and_on(stack: Stack) -> None:
    """Several links are switched with one press."""
    with stack.client() as client:
        make(client, "one", "two", "three")
        page = tick(stack.page(links_page).run(), [0, 2])
        labelled(page.button, "Disable").click().run()
        off = {link.code: link.enabled for link in client.links().items}
        page = tick(page, [0])
        labelled(page.button, "Enable").click().run()
        on = {link.code: link.enabled for link in client.links().items}

    assert off == {"one": False, "two": True, "three": False}
    assert on == {"one": False, "two": True, "three": True}


def test_a_deletion_is_confirmed(stack: Stack) -> None:
    """The first press names the links and deletes nothing; the second one deletes them."""
    with stack.client() as client:
        make(client, "one", "two")
        page = tick(stack.page(links_page).run(), [0])
        labelled(page.button, "Delete").click().run()
        asked, before = texts_of(page), len(client.links().items)
        labelled(page.button, "Delete 1 link").click().run()
        left = [link.code for link in client.links().items]

    assert "sho.rt/two" in asked
    assert before == 2
    assert left == ["one"]
    assert "1 link deleted." in texts_of(page)


def test_the_editor_changes_all_fields(stack: Stack) -> None:
    """The editor stores what was changed in it, and says what is wrong beside the field."""
    with stack.client() as client:
        make(client, "one", title="Old")
        page = tick(stack.page(links_page).run(), [0])
        labelled(page.button, "Edit").click().run()
        labelled(page.text_input, "Leads to").set_value("nothing")
        labelled(page.button, "Save").click().run()
        refused = [error.value for error in page.error]
        labelled(page.text_input, "Leads to").set_value("https://new.example/")
        labelled(page.text_input, "Title").set_value("New")
        labelled(page.selectbox, "Kind of redirect").set_value(307)
        labelled(page.number_input, "Most visitors").set_value(7)
        labelled(page.button, "Save").click().run()
        link = client.link("one", "sho.rt")

    assert not page.exception
    assert len(refused) == 1
    assert refused[0].startswith("The address ")
    assert (link.url, link.title, link.status_code) == ("https://new.example/", "New", 307)
    assert (link.max_clicks, link.clicks_left) == (7, 7)


def test_the_editor_sets_and_removes_a_password(stack: Stack) -> None:
    """A password that is typed is set and never shown again; what is left empty changes nothing; a tick removes it."""
    with stack.client() as client:
        make(client, "one")
        has_password = []
        for change in ("set", "title", "remove"):
            page = tick(stack.page(links_page).run(), [0])
            labelled(page.button, "Edit").click().run()
            if change == "set":
                assert (
                    labelled(page.text_input, "Password").proto.type
                    == labelled(page.text_input, "Password").proto.PASSWORD
                )
                labelled(page.text_input, "Password").set_value("s3cret")
            elif change == "title":
                assert labelled(page.text_input, "New password").value == ""
                labelled(page.text_input, "Title").set_value("New")
            else:
                labelled(page.checkbox, "Remove the password").check()
            labelled(page.button, "Save").click().run()
            assert not page.exception
            assert "1 link changed." in texts_of(page)
            has_password.append(client.link("one", "sho.rt").has_password)

    assert has_password == [True, True, False]


def test_the_editor_shows_what_somebody_else_stored(stack: Stack) -> None:
    """A conflict changes nothing, tells what is stored now, and can load it."""
    with stack.client() as client:
        make(client, "one")
        page = tick(stack.page(links_page).run(), [0])
        labelled(page.button, "Edit").click().run()
        client.edit_link(client.link("one", "sho.rt"), {"title": "theirs"})
        labelled(page.text_input, "Title").set_value("mine")
        labelled(page.button, "Save").click().run()
        told, stored = texts_of(page), client.link("one", "sho.rt").title
        labelled(page.button, "Load their version").click().run()

    assert not page.exception
    assert "Somebody else changed this link" in told
    assert "title: theirs" in told
    assert stored == "theirs"
    assert labelled(page.text_input, "Title").value == "theirs"


def test_a_link_is_shared_as_text_and_as_a_code(stack: Stack) -> None:
    """One ticked link can be copied and downloaded as a QR code."""
    with stack.client() as client:
        make(client, "one")
    page = tick(stack.page(links_page).run(), [0])
    labelled(page.button, "Share").click().run()

    assert not page.exception
    assert [each.value for each in page.code] == ["https://sho.rt/one"]
    assert [each.label for each in page.download_button] == ["SVG", "PNG"]


def test_a_key_that_only_reads_gets_a_table_that_only_shows(stack: Stack) -> None:
    """Without `links:write` nothing can be edited, and without `stats:read` there are no counts by day."""
    with stack.client() as client:
        make(client, "one")
        page = edit(stack.page(links_page, "alice", "links:read").run(), {0: {"Title": "mine", "Select": True}})
        link = client.link("one", "sho.rt")

    assert not page.exception
    assert link.title is None
    assert "Last 14 days" not in table(page).columns
    assert not {"Edit", "Delete", "Enable", "Disable", "Statistics"} & {button.label for button in page.button}


def test_an_admin_sees_everyones_links(stack: Stack) -> None:
    """The column Owner is an admin's, and the list can be one owner's."""
    with stack.client("alice") as alice, stack.client("bob") as bob:
        make(alice, "one")
        make(bob, "two")
    page = stack.page(links_page, "root", "admin").run()
    owners = table(page)["Owner"].tolist()
    labelled(page.text_input, "Owner").set_value("bob")

    assert owners == ["bob", "alice"]
    assert codes(page.run()) == ["two"]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_user_stored_is_never_markdown(stack: Stack, text: str) -> None:
    """Titles, tags and targets are cells of text, and are escaped wherever a message or a dialog names them."""
    with stack.client() as client:
        make(client, "one", title=text, tags=[text], expired_url=f"{TARGET}?{text}")
    page = tick(stack.page(links_page).run(), [0])
    seen = [markdown_of(page)]
    labelled(page.button, "Edit").click().run()
    seen.append(markdown_of(page))
    page = tick(page.run(), [0])
    labelled(page.button, "Delete").click().run()
    seen.append(markdown_of(page))
    edit(page, {0: {"Target": text}})
    seen.append(markdown_of(page))

    assert not page.exception
    assert table(page)["Title"].tolist() == [text]
    assert not any(text in each for each in seen)
