"""CSV: what is written is read back alike, and no cell is a formula."""

import csv
import io
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.links.csv_text import csv_lines

ODD_TEXT = st.text(alphabet=st.sampled_from("a,;\"'\r\n\t =+-@＝é😀"), max_size=8) | st.text(max_size=8)


def read(lines: list[str]) -> list[list[str]]:
    return list(csv.reader(io.StringIO("".join(lines), newline=""), strict=True))


def test_lines_are_those_of_rfc_4180() -> None:
    """Every line ends with CRLF, and a cell with a comma, quote or line break is quoted."""
    lines = list(csv_lines(["a", "b"], [["x,y", 'say "hi"'], ["two\r\nlines", "plain"]]))

    assert lines == ["a,b\r\n", '"x,y","say ""hi"""\r\n', '"two\r\nlines",plain\r\n']


def test_values_have_one_spelling() -> None:
    """Nothing is an empty cell, bools are JSON's, times are RFC 3339, and a negative number stays one."""
    row = [None, True, False, -5, 1.5, datetime(2026, 11, 24, 12, tzinfo=UTC)]
    local = datetime(2026, 11, 24, 12, 0, 0, 5, tzinfo=ZoneInfo("Europe/Berlin"))
    _, line, other = csv_lines(["x"] * 6, [row, [local]])

    assert line == ",true,false,-5,1.5,2026-11-24T12:00:00Z\r\n"
    assert other == "2026-11-24T12:00:00.000005+01:00\r\n"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠x", '=HYPERLINK("x")']
)
def test_formula_is_defused(text: str) -> None:
    """A text that a spreadsheet would run begins with an apostrophe, whichever column it is in."""
    _, row = read(list(csv_lines(["a", "b"], [[text, text]])))

    assert row == [f"'{text}", f"'{text}"]


@given(st.lists(st.tuples(ODD_TEXT, ODD_TEXT), max_size=5))
def test_tables_come_back(rows: list[tuple[str, str]]) -> None:
    """Whatever the texts are, a reader finds as many rows and the same texts, but for the apostrophes."""
    header, *found = read(list(csv_lines(["a", "b"], rows)))

    assert header == ["a", "b"]
    assert len(found) == len(rows)
    for row, sent in zip(found, rows, strict=True):
        for cell, text in zip(row, sent, strict=True):
            assert cell in (text, f"'{text}")
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))
