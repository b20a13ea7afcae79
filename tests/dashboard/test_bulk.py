"""Many links at once, over the real write service: pasted, uploaded, in slices, and taken out again."""

import re
from collections.abc import Iterable

import pytest
from streamlit.testing.v1 import AppTest

from services.dashboard.lists.parsing import SLICE_ROWS
from services.dashboard.pages.links.bulk import BulkCreation, show_bulk
from services.dashboard.pages.links.export import show_export
from shared.client import ALL_LINKS, Client, Key, Link
from tests.dashboard.hostile import HOSTILE
from tests.dashboard.stack import Stack, labelled, markdown_of, texts_of

TARGET = "https://www.example.com/"


def show_many(client: Client, key: Key) -> None:
    show_bulk(client)


def show_exports(client: Client, key: Key) -> None:
    show_export(client, ALL_LINKS)


def paste(page: AppTest, text: str) -> AppTest:
    """Paste a text, and confirm what is shown of it."""
    page.text_area[0].set_value(text).run()
    labelled(page.button, "Create links").click()
    return page.run()


def upload(page: AppTest, content: bytes, name: str = "links.csv") -> AppTest:
    page.file_uploader[0].set_value((name, content, "text/csv"))
    return page.run()


def results(page: AppTest) -> dict[int, str]:
    shown = page.dataframe[0].value
    return dict(zip(shown["Line"].tolist(), shown["Result"].tolist(), strict=True))


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
    assert list(shown) == [3, 4, 2, 5], "the numbers of the lines"
    assert shown[2] == shown[5] == "created"
    assert shown[3].startswith("url ")
    assert shown[4].startswith("code ")
    assert "2 links created." in texts_of(page)
    assert "2 rows failed" in texts_of(page)


def test_a_file_is_created_in_slices(stack: Stack) -> None:
    """More rows than a slice has are created, each once, and can be followed by more."""
    count = SLICE_ROWS + 20
    rows = "\n".join(f"{TARGET}{n}" for n in range(count))
    page = upload(stack.page(show_many).run(), rows.encode())
    labelled(page.button, "Create links").click().run()
    shown = results(page)
    labelled(page.button, "Create more").click().run()

    assert not page.exception
    assert sorted(shown) == list(range(1, count + 1))
    assert set(shown.values()) == {"created"}
    assert [button.label for button in page.button] == ["Preview"]


def test_nothing_is_created_before_it_was_shown(stack: Stack) -> None:
    """The form, encoding, columns, rows and problems are shown first; a press that meant another text creates nothing."""
    page = stack.page(show_many).run()
    table = f"Long URL;Title;Clicks;Tags\n{TARGET}a;Größe;7;x,y\n{TARGET}b;one;too;many;cells\nexample.com;;;\n"
    page.text_area[0].set_value(f"{TARGET}old").run()
    button = labelled(page.button, "Create links")
    page.text_area[0].set_value("")
    page.file_uploader[0].set_value(("links.csv", table.encode("cp1252"), "text/csv"))
    button.click().run()
    with stack.client() as client:
        before = client.links().items
    shown = texts_of(page)
    first = page.dataframe[0].value
    labelled(page.button, "Create links").click().run()
    with stack.client() as client:
        (link,) = client.links().items

    assert not page.exception
    assert before == ()
    for each in ("separated by semicolons", "2 links", "was read as Windows", "1 row left out", "Line 3", "Line 4"):
        assert each in shown.replace("\\", "").replace("\N{WORD JOINER}", "")
    assert "Columns: Long URL = url, Title = title, Clicks (not used), Tags = tags" in shown
    assert first.to_dict("records")[0] == {"line": 2, "url": f"{TARGET}a", "title": "Größe", "tags": "x | y"}
    assert (link.url, link.title, link.tags) == (f"{TARGET}a", "Größe", ("x", "y"))


def test_a_file_beside_a_text_is_a_question(stack: Stack) -> None:
    """Which of the two is meant is not guessed."""
    page = stack.page(show_many).run()
    page.text_area[0].set_value(f"{TARGET}a")
    upload(page, f"{TARGET}b".encode())

    assert "both a file and a pasted text" in page.error[0].value
    assert len(page.button) == 0


def test_a_batch_whose_answer_was_lost_goes_on(stack: Stack) -> None:
    """A slice that was created without the page's knowing is asked again under its own key: nothing is there twice."""
    rows = [{"url": f"{TARGET}{n}"} for n in range(3)]
    batch = BulkCreation(rows, [1, 2, 3])
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
        page.session_state["bulk"] = BulkCreation(rows, [1, 2, 3])
        page.run()

    assert not page.exception
    assert "cannot be reached" in texts_of(page)
    assert labelled(page.button, "Go on")
    assert page.session_state["bulk"].rows == rows


@pytest.mark.parametrize("content", [b"\xff\xfe\xfa", b"", b'"a', b"PK\x03\x04\x00", b"url,colour\nx,y\n"])
def test_a_file_that_is_no_list_is_told(stack: Stack, content: bytes) -> None:
    """Another kind of file, nothing, or broken CSV is said in words, and there is nothing to create."""
    page = upload(stack.page(show_many).run(), content)

    assert not page.exception
    assert len(page.error) == 1
    assert len(page.button) == 0


def test_an_export_has_all_links(stack: Stack) -> None:
    """The file is fetched in each format and offered for download; for Excel it begins with a byte order mark."""
    with stack.client() as client:
        for n in range(3):
            client.create_link({"url": f"{TARGET}{n}"})
    page = stack.page(show_exports).run()
    offered = []
    for kind in ("CSV", "CSV for Excel", "NDJSON"):
        labelled(page.segmented_control, "Format").set_value(kind)
        labelled(page.run().button, "Prepare the file").click().run()
        content = page.session_state["export"][1]
        offered.append((page.download_button[0].label, content.count(b"\n"), content.startswith(b"\xef\xbb\xbf")))

    assert not page.exception
    assert "3 lines" in texts_of(page)
    assert offered == [
        ("Download links.csv", 4, False),
        ("Download links.csv", 4, True),
        ("Download links.ndjson", 3, False),
    ]


@pytest.mark.parametrize("kind", ["CSV", "CSV for Excel"])
def test_an_export_is_created_again(stack: Stack, kind: str) -> None:
    """What an export wrote is what Create many reads: another owner gets the same links, codes apart."""
    titles = [*(f"{sign}1+1" for sign in "=+-@＝＋－＠'"), "''", "'=1", "'tis", 'a;=1+1;"b"', "x, y", None]
    fields = [
        {"url": f"{TARGET}{n};'-a,=b", "title": title, "tags": tags, "status_code": 308}
        for n, title in enumerate(titles)
        for tags in ([], ["a,b"], ["a|b", "c\\d"], ["x;=1", "'-", "\\"])
    ]
    with stack.client("alice") as alice, stack.client("bob") as bob:
        made = [
            row.link for row in alice.create_links([each | {"code": f"-{n}"} for n, each in enumerate(fields)]).results
        ]
        page = stack.page(show_exports).run()
        labelled(page.segmented_control, "Format").set_value(kind)
        labelled(page.run().button, "Prepare the file").click().run()
        content = re.sub(rb'"\'-[0-9]+"', b"", page.session_state["export"][1])
        again = upload(stack.page(show_many, "bob").run(), content)
        labelled(again.button, "Create links").click().run()
        found = [*bob.links(limit=100).items]

    def texts(links: Iterable[Link | None]) -> set[object]:
        return {(link.url, link.title, link.tags, link.status_code) for link in links if link is not None}

    assert len(texts(made)) == len(fields)
    assert texts(found) == texts(made)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_pasted_is_never_markdown(stack: Stack, text: str) -> None:
    """A hostile target is a cell of the results, and a reason that repeats it is, too."""
    quoted = text.replace('"', '""')
    page = paste(stack.page(show_many).run(), f'url,title,tags\n"{quoted}","{quoted}",x\n')

    assert not page.exception
    assert len(results(page)) == 1
    assert text not in markdown_of(page)
