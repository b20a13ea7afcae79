"""Pasted lines and CSV, read as links to create."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dashboard.results import BatchRow, FieldProblem, RowProblem
from services.dashboard.rows import MOST_ROWS, SLICE_ROWS, RowsRefused, parse_rows, results_csv, slices


def test_lines_are_addresses() -> None:
    """A pasted list needs no header; empty lines and what is around an address do not count."""
    assert parse_rows("\ufeff https://a.example/ \n\n  \r\nhttps://b.example/,own,A title,x|y\n") == [
        {"url": "https://a.example/"},
        {"url": "https://b.example/", "code": "own", "title": "A title", "tags": ["x", "y"]},
    ]


def test_a_first_line_names_the_columns() -> None:
    """Columns come in any order; numbers and truths have their types, what is unknown is passed over."""
    text = 'Title,URL,clicks,status_code,enabled,tags\n"a, b",https://a.example/,99,308,FALSE,a\\|b|c\n,https://b.example/,,x,maybe,\n'

    assert parse_rows(text) == [
        {"title": "a, b", "url": "https://a.example/", "status_code": 308, "enabled": False, "tags": ["a|b", "c"]},
        {"url": "https://b.example/", "status_code": "x", "enabled": "maybe"},
    ]


def test_what_an_export_made_inert_is_as_before() -> None:
    """The apostrophe before a formula is the export's; any other is the text's own."""
    assert [row["title"] for row in parse_rows("url,title\na,'=1+1\nb,'tis\n")] == ["=1+1", "'tis"]


@pytest.mark.parametrize("text", ["", "\n \n", "url,title\n", '"a\nb', "x\n" * (MOST_ROWS + 1)])
def test_what_is_no_list_of_links_is_refused(text: str) -> None:
    """Nothing, broken quotes and too many rows are told before anything is created."""
    with pytest.raises(RowsRefused):
        parse_rows(text)


@given(st.lists(st.integers(0, 3000), max_size=60), st.integers(0, 70))
def test_slices_have_every_row_once(lengths: list[int], start: int) -> None:
    """However long the rows are, the slices go through all that are left, in order, within their size."""
    rows = [{"url": "x" * (length * 100), "n": index} for index, length in enumerate(lengths)]
    cut = list(slices(rows, start))

    assert [row["n"] for _, taken in cut for row in taken] == list(range(start, len(rows)))
    assert all(taken[0]["n"] == first and len(taken) <= SLICE_ROWS for first, taken in cut)


def test_results_are_no_formulas() -> None:
    """A target that a spreadsheet would calculate is a text in the results."""
    results = [BatchRow(0, 422, None, RowProblem("Invalid input", "", (FieldProblem("url", "must be http or https"),)))]
    written = list(csv.reader(io.StringIO(results_csv([{"url": "=cmd|' /C calc'!A1"}], results))))

    assert written[1] == ["1", "'=cmd|' /C calc'!A1", "", "url must be http or https"]
