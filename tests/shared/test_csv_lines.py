"""CSV: what is written is read back alike, and no cell is a formula."""

import csv
import io
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.csv_cells import csv_lines, unguard

ODD_TEXT = st.text(alphabet=st.sampled_from("a,;\"'\r\n\t =+-@＝é😀"), max_size=8) | st.text(max_size=8)


def read(lines: list[str]) -> list[list[str]]:
    return list(csv.reader(io.StringIO("".join(lines), newline=""), strict=True))


def test_lines_are_those_of_rfc_4180() -> None:
    """Every line ends with CRLF, every text is quoted, and a quote in it is doubled."""
    lines = list(csv_lines(["a", "b"], [["x,y", 'say "hi"'], ["two\r\nlines", "plain"]]))

    assert lines == ["a,b\r\n", '"x,y","say ""hi"""\r\n', '"two\r\nlines","plain"\r\n']


def test_values_have_one_spelling() -> None:
    """Null is nothing and no text is two quotes, bools are JSON's, times are RFC 3339, and a negative number stays one."""
    row = [None, "", True, False, -5, 1.5, datetime(2026, 11, 24, 12, tzinfo=UTC)]
    local = datetime(2026, 11, 24, 12, 0, 0, 5, tzinfo=ZoneInfo("Europe/Berlin"))
    _, line, other = csv_lines(["x"] * 7, [row, [local]])

    assert line == ',"",true,false,-5,1.5,2026-11-24T12:00:00Z\r\n'
    assert other == "2026-11-24T12:00:00.000005+01:00\r\n"


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t1",
        "\r1",
        "\n1",
        '"=1',
        "＝1",
        "＋1",
        "－1",
        "＠x",
        '=HYPERLINK("x")',
        " =1",
        "'=1",
    ],
)
def test_formula_is_defused(text: str) -> None:
    """A text that a spreadsheet would run begins with an apostrophe, whichever column it is in."""
    _, row = read(list(csv_lines(["a", "b"], [[text, text]])))

    assert row == [f"'{text}", f"'{text}"]


@given(st.lists(st.tuples(ODD_TEXT, ODD_TEXT), max_size=5))
def test_tables_come_back(rows: list[tuple[str, str]]) -> None:
    """Whatever the texts are, a reader finds as many rows, and the same texts without their apostrophes."""
    header, *found = read(list(csv_lines(["a", "b"], rows)))

    assert header == ["a", "b"]
    assert [tuple(map(unguard, row)) for row in found] == rows
