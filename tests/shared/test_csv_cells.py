"""Cells of CSV: each comes back as it was, and none is a formula, whatever separates cells where it is opened."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.csv_cells import FORMULA_SIGNS, csv_line, guard, join_tags, split_tags, unguard

ODD_TEXT = st.text(alphabet=st.sampled_from("a,;|\\\"'\r\n\t =+-@＝＋－＠é😀"), max_size=12) | st.text(max_size=8)
TAGS = st.lists(ODD_TEXT.filter(str.strip), max_size=4)


@given(ODD_TEXT)
@example("''=1")
@example("a;'=1")
@example("\t\t'\t=")
def test_guard_is_undone(text: str) -> None:
    """Whatever a text begins with, the apostrophes that were put before it are told from its own."""
    assert unguard(guard(text)) == text


@given(ODD_TEXT, ODD_TEXT)
def test_no_two_texts_are_guarded_alike(one: str, other: str) -> None:
    """What two different texts become is different, too."""
    assert (guard(one) == guard(other)) == (one == other)


@pytest.mark.parametrize("text", ["'tis", "it's", "'", "", "a-b", "https://a.example/x=1;y=2", "a, 'b'"])
def test_harmless_apostrophes_stay(text: str) -> None:
    """A text of others that was never guarded loses nothing."""
    assert unguard(text) == text


@given(st.lists(ODD_TEXT, min_size=1, max_size=4))
@example(["x", "a;=1+1;b"])
@example(["x", "a\n=1+1\nb"])
@example(["x", 'a;"=1+1"'])
@example([" =1"])
def test_no_cell_runs_in_any_locale(texts: list[str]) -> None:
    """A spreadsheet that takes comma, semicolon or tab for the separator finds no cell that begins a formula."""
    line = csv_line(texts)
    for delimiter in ",;\t":
        for row in csv.reader(io.StringIO(line, newline=""), delimiter=delimiter):
            for cell in row:
                assert not cell.lstrip(' \t\r\n"').startswith(tuple(FORMULA_SIGNS)), (delimiter, cell)


@given(TAGS)
@example(["a,b"])
@example(["a;b"])
@example(["a|b", "c\\"])
@example(["\\"])
def test_tags_come_back(tags: list[str]) -> None:
    """Tags with any separator or backslash in them are read as they were joined."""
    assert split_tags(join_tags(tags)) == tags


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("a|b", ["a", "b"]),
        ("a,b;c", ["a", "b", "c"]),
        ("sale, 2024|x", ["sale, 2024", "x"]),
        ("a,b|", ["a,b"]),
        ("one two", ["one two"]),
        (",;", []),
        ("", []),
    ],
)
def test_tags_of_others_are_split(text: str, tags: list[str]) -> None:
    """Bars separate first; commas and semicolons do where there is no bar."""
    assert split_tags(text) == tags
