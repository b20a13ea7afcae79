"""The page Import, before a service that takes imports as the API says."""

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from services.dashboard.pages.imports import page as import_page
from shared.client import Client, Key
from tests.client.importer import Importer, importing
from tests.dashboard.hostile import HOSTILE
from tests.dashboard.stack import Stack, labelled, markdown_of, texts_of

FILE = b"keyword,url\nabc,https://www.example.com/\n"


@pytest.fixture
def importer() -> Iterator[Importer]:
    with importing(dry_run=True, format="yourls", rows_read=9, made=7, refused=1, visits=12) as running:
        yield running


@pytest.fixture
def page(shared_stack: Stack, importer: Importer) -> AppTest:
    """The page, with a client of the importing service."""
    client = shared_stack.closing.enter_context(Client(importer.server.url, "k"))

    def show(_: Client, key: Key) -> None:
        import_page(client, key)

    return shared_stack.page(show).run()


def look_at(page: AppTest, content: bytes = FILE, name: str = "yourls.csv") -> AppTest:
    page.file_uploader[0].set_value((name, content, "text/csv")).run()
    labelled(page.button, "Look at it").click()
    return page.run()


def metrics(page: AppTest) -> dict[str, str]:
    return {each.label: each.value for each in page.metric}


def test_a_file_is_looked_at_before_it_is_imported(page: AppTest, importer: Importer) -> None:
    """The first press creates nothing and shows what would be; the second imports the same file, which is not sent again."""
    page.text_area[0].set_value("old.example=sho.rt\n\nsho.rt")
    labelled(page.selectbox, "If a code is in use").set_value("keep_both")
    look_at(page)
    tried = metrics(page)
    labelled(page.button, "Import now").click().run()
    posts = [asked for asked in importer.server.asked if asked.method == "POST"]

    assert not page.exception
    assert posts[0].query["dry_run"] == ["true"]
    assert posts[0].query["domain"] == ["old.example=sho.rt", "sho.rt"]
    assert posts[0].query["on_conflict"] == ["keep_both"]
    assert posts[0].query["filename"] == ["yourls.csv"]
    assert tried == {"To make": "7", "There already": "0", "To replace": "0", "Refused": "1", "Visits": "12"}
    assert [asked.path.rpartition("/")[2] for asked in posts] == ["imports", "start"]
    assert "The import is done." in texts_of(page)
    assert "Made" in metrics(page)


def test_what_is_refused_is_shown_and_given(page: AppTest) -> None:
    """Each row with its reason and a proposed code, and all of them as a file."""
    look_at(page)
    (table,) = page.dataframe

    assert table.value.to_dict("records") == [
        {"row": "7", "input": "docs", "reason": "is a reserved word", "proposed_code": "docs-2"}
    ]
    assert [each.label for each in page.download_button] == ["Download these rows"]


def test_another_look_takes_the_place_of_the_first(page: AppTest, importer: Importer) -> None:
    """Options are changed with the file still there, and no trial is left behind."""
    look_at(page)
    labelled(page.selectbox, "If a code is in use").set_value("replace")
    labelled(page.button, "Look at it").click().run()

    assert not page.exception
    assert len(importer.files) == 1
    assert [asked.query["on_conflict"] for asked in importer.server.asked if asked.method == "POST"] == [
        ["skip"],
        ["replace"],
    ]


def test_an_import_is_undone_and_found_again(page: AppTest, importer: Importer) -> None:
    """An import of before is opened from the list, and undone."""
    look_at(page)
    labelled(page.button, "Import now").click().run()
    labelled(page.button, "Another file").click().run()
    labelled(page.button, "Open").click().run()
    labelled(page.button, "Undo the import").click().run()

    assert not page.exception
    assert list(importer.states.values()) == ["undone"]
    assert "is undone" in texts_of(page)


def test_an_import_under_way_is_watched(page: AppTest, importer: Importer) -> None:
    """The page says how far it is, and shows the result when it is over."""
    importer.results |= {"state": "importing", "rows_per_second": 2000.0, "seconds_left": 3.0}
    look_at(page)
    shown = texts_of(page)
    importer.results |= {"state": "done"}
    page.run()

    assert "9 rows read, 2,000 a second, 3 s left" in shown
    assert labelled(page.button, "Import now")


def test_a_refusal_stands_at_its_field(page: AppTest, importer: Importer) -> None:
    """What the API refuses of the options is said at their inputs, and the file stays."""
    importer.refuses = b'{"title": "Invalid input", "errors": [{"field": "zone", "reason": "is no time zone"}]}'
    look_at(page)

    assert "The time zone is no time zone" in texts_of(page)
    assert importer.files == {}


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_a_file_are_texts(page: AppTest, importer: Importer, text: str) -> None:
    """The name of a file and the reason of a failure are shown as they are."""
    importer.results |= {"state": "failed", "error": text, "filename": text}
    look_at(page)

    assert not page.exception
    assert text not in markdown_of(page)
