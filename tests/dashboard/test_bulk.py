"""Many links at once, over the real write service: pasted, uploaded, in slices, and taken out again."""

import pytest
from streamlit.testing.v1 import AppTest

from services.dashboard.client import Client, Key
from services.dashboard.pages.bulk import Batch, show_bulk
from services.dashboard.pages.export import show_export
from services.dashboard.questions import ALL_LINKS
from services.dashboard.rows import SLICE_ROWS
from tests.dashboard.hostile import HOSTILE
from tests.dashboard.stack import Stack, labelled, markdown_of, texts_of

TARGET = "https://www.example.com/"


def show_many(client: Client, key: Key) -> None:
    show_bulk(client)


def show_exports(client: Client, key: Key) -> None:
    show_export(client, ALL_LINKS)


def paste(page: AppTest, text: str) -> AppTest:
    page.text_area[0].set_value(text)
    labelled(page.button, "Create links").click()
    return page.run()


def results(page: AppTest) -> dict[int, str]:
    shown = page.dataframe[0].value
    return dict(zip(shown["Row"].tolist(), shown["Result"].tolist(), strict=True))


def test_pasted_rows_become_links(stack: Stack) -> None:
    """Each row has its result, in words; what failed comes first and stops nothing."""
    page = paste(
        stack.page(show_many).run(),
        f"url,code,title\n{TARGET}a,one,First\njavascript:alert(1),,\n{TARGET}b,api,\n{TARGET}c,,\n",
    )
    with stack.client() as client:
        links = client.links().items
    shown = results(page)

    assert not page.exception
    assert {link.url for link in links} == {f"{TARGET}a", f"{TARGET}c"}
    assert list(shown) == [2, 3, 1, 4]
    assert shown[1] == shown[4] == "created"
    assert shown[2].startswith("url ")
    assert shown[3].startswith("code ")
    assert "2 links created." in texts_of(page)
    assert "2 rows failed" in texts_of(page)


def test_a_file_is_created_in_slices(stack: Stack) -> None:
    """More rows than a slice has are created, each once, and can be followed by more."""
    count = SLICE_ROWS + 20
    rows = "\n".join(f"{TARGET}{n}" for n in range(count))
    page = stack.page(show_many).run()
    page.file_uploader[0].set_value(("links.csv", rows.encode(), "text/csv"))
    labelled(page.button, "Create links").click().run()
    shown = results(page)
    labelled(page.button, "Create more").click().run()

    assert not page.exception
    assert sorted(shown) == list(range(1, count + 1))
    assert set(shown.values()) == {"created"}
    assert labelled(page.button, "Create links")


def test_a_batch_whose_answer_was_lost_goes_on(stack: Stack) -> None:
    """A slice that was created without the page's knowing is asked again under its own key: nothing is there twice."""
    rows = [{"url": f"{TARGET}{n}"} for n in range(3)]
    batch = Batch(rows)
    with stack.client() as client:
        lost = client.create_links(rows, f"{batch.name}-0")
        page = stack.page(show_many)
        page.session_state["bulk"] = batch
        page.run()
        links = client.links().items

    assert not page.exception
    assert results(page) == {1: "created", 2: "created", 3: "created"}
    assert {link.code for link in links} == {row.link.code for row in lost.results if row.link}
    assert len(links) == 3


def test_a_service_that_is_away_leaves_a_way_on(stack: Stack) -> None:
    """What is done is shown, the rest is not lost, and the page offers to go on."""
    rows = [{"url": f"{TARGET}{n}"} for n in range(3)]
    with Client("http://127.0.0.1:9", "none") as away:
        page = stack.page(lambda client, key: show_bulk(away))
        page.session_state["bulk"] = Batch(rows)
        page.run()

    assert not page.exception
    assert "cannot be reached" in texts_of(page)
    assert labelled(page.button, "Go on")
    assert page.session_state["bulk"].rows == rows


@pytest.mark.parametrize(
    ("name", "content"), [("latin.csv", b"\xff\xfe\xfa"), ("empty.csv", b""), ("broken.csv", b'"a')]
)
def test_a_file_that_is_no_list_is_told(stack: Stack, name: str, content: bytes) -> None:
    """Another encoding, nothing, or broken CSV is said in words, and nothing is created."""
    page = stack.page(show_many).run()
    page.file_uploader[0].set_value((name, content, "text/csv"))
    labelled(page.button, "Create links").click().run()

    assert not page.exception
    assert len(page.error) == 1


def test_an_export_has_all_links(stack: Stack) -> None:
    """The file is fetched in either format and offered for download."""
    with stack.client() as client:
        for n in range(3):
            client.create_link({"url": f"{TARGET}{n}"})
    page = stack.page(show_exports).run()
    offered = []
    for kind in ("CSV", "NDJSON"):
        labelled(page.segmented_control, "Format").set_value(kind)
        labelled(page.run().button, "Prepare the file").click().run()
        offered.append((page.download_button[0].label, page.session_state["export"][1].count(b"\n")))

    assert not page.exception
    assert "3 lines" in texts_of(page)
    assert offered == [("Download links.csv", 4), ("Download links.ndjson", 3)]


def test_an_export_is_created_again(stack: Stack) -> None:
    """What an export wrote is what Create many reads: another owner gets the same links, codes apart."""
    with stack.client("alice") as alice, stack.client("bob") as bob:
        made = alice.create_link({"url": TARGET, "title": "=1+1", "tags": ["a|b", "c\\d"], "status_code": 308})
        page = stack.page(show_exports).run()
        labelled(page.button, "Prepare the file").click().run()
        text = page.session_state["export"][1].decode().replace(f",{made.code},", ",,", 1)
        paste(stack.page(show_many, "bob").run(), text)
        (again,) = bob.links().items

    assert (again.url, again.title, again.tags, again.status_code) == (TARGET, "=1+1", ("a|b", "c\\d"), 308)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_pasted_is_never_markdown(stack: Stack, text: str) -> None:
    """A hostile target is a cell of the results, and a reason that repeats it is, too."""
    quoted = text.replace('"', '""')
    page = paste(stack.page(show_many).run(), f'url,title,tags\n"{quoted}","{quoted}",x\n')

    assert not page.exception
    assert len(results(page)) == 1
    assert text not in markdown_of(page)
