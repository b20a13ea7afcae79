"""How CSV, texts and times of other shorteners are read."""

import csv
import io
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.links.sources.found import Hints, Unusable, UnusableFile
from services.links.sources.reading.tables import Record, read_table, spell_heading
from services.links.sources.reading.texts import read_lines, read_texts
from services.links.sources.reading.times import read_time
from tests.links.source_samples import HeldFile

ALIASES = {"code": ("code", "shortcode"), "url": ("url",), "title": ("title",)}
NEEDS = [("code",), ("url",)]
TEXTS = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def rows_of(text: bytes | str) -> list[tuple[int, dict[str, str]]]:
    """The rows of a file, none of which may be unusable."""
    found = list(read_table(HeldFile(text), ALIASES, NEEDS))
    assert not [row for row in found if isinstance(row, Unusable)]
    return [(row.line, dict(row.cells)) for row in found if isinstance(row, Record)]


def error_of(text: bytes | str, encoding: str | None = None) -> str:
    """Why a file cannot be read."""
    with pytest.raises(UnusableFile) as caught:
        list(read_table(HeldFile(text, encoding=encoding), ALIASES, NEEDS))
    return str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiter_is_that_of_the_headings(delimiter: str, end: str) -> None:
    """The delimiter is told by the first line, whatever follows; line ends of each system end a row."""
    lines = [["code", "url", "title"], ["a", "https://e.com/?a;b|c", "x"], ["b", "https://e.com/", "y"]]
    text = end.join(delimiter.join(f'"{cell}"' for cell in line) for line in lines)

    assert rows_of(text) == [
        (2, {"code": "a", "url": "https://e.com/?a;b|c", "title": "x"}),
        (3, {"code": "b", "url": "https://e.com/", "title": "y"}),
    ]


def test_lines_are_those_of_the_file() -> None:
    """A row is named by the line in which it begins, and newlines in quotes belong to their cell."""
    text = 'code,url,title\n\na,https://e.com/,"two\r\nlines\n""quoted"""\n,,\nb,https://e.com/,\u2028x\x85\n'

    assert rows_of(text) == [
        (3, {"code": "a", "url": "https://e.com/", "title": 'two\r\nlines\n"quoted"'}),
        (7, {"code": "b", "url": "https://e.com/", "title": "\u2028x\x85".strip()}),
    ]


def test_headings_are_matched_loosely() -> None:
    """Case, blanks and signs of headings do not matter, nor empty columns; of repeated ones the first with a text counts."""
    text = "Short Code,URL,_Title_,title,,\na,https://e.com/,,T,,\nb,https://e.com/\n"

    assert rows_of(text) == [
        (2, {"code": "a", "url": "https://e.com/", "title": "T"}),
        (3, {"code": "b", "url": "https://e.com/", "title": ""}),
    ]
    assert spell_heading("Long-URL ") == spell_heading("long_url") == spell_heading("longUrl")


def test_excel_may_name_the_delimiter() -> None:
    """The line `sep=;` names the delimiter, and counts as a line."""
    assert rows_of("sep=;\r\ncode;url\r\na;https://e.com/,x\r\n") == [(3, {"code": "a", "url": "https://e.com/,x"})]


def test_guards_of_formulas_are_taken_off() -> None:
    """The quote that keeps a spreadsheet from computing a cell goes, and any other stays."""
    text = "code,url,title\na,https://e.com/,'=1+1\nb,https://e.com/,'tis\n"

    assert [cells["title"] for _, cells in rows_of(text)] == ["=1+1", "'tis"]


def test_missing_columns_are_told_with_those_seen() -> None:
    """A file without a column that it needs is refused, with its headings."""
    assert error_of("URL,Name\nhttps://e.com/,x\n") == "Line 1: no heading is a code. The headings are: URL, Name."
    assert error_of("") == "Line 1: no heading is a code. The headings are: none."


def test_rows_of_a_wrong_width_are_named() -> None:
    """A row with more cells than headings is unusable, and the next one follows."""
    found = list(read_table(HeldFile("code,url\na,https://e.com/,x\nb,https://e.com/\n"), ALIASES, NEEDS))

    assert found[0] == Unusable(2, "a,https://e.com/,x", "has 3 columns, and the headings 2")
    assert isinstance(found[1], Record)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('code,url\na,https://e.com/\nb,"https://e', "Line 3: a quote that opens in this row is not closed"),
        ("code,url,title\na,https://e.com/,x\nb,https", "Line 3: the file ends in the middle of a row."),
        ("code,url\na," + "x" * 17_000_000, "Line 2 has more than 16,777,216 characters."),
        ('code,url\na,"' + "x\n" * 5_000_000, "Line 2: a quote that opens in this row is not closed"),
        ("code,url\na,\0", "Line 2 has a NUL"),
    ],
)
def test_a_cut_or_endless_row_ends_the_file(text: str, error: str) -> None:
    """A file that is cut, a quote that nothing closes, and a line without an end are told with their line."""
    assert error_of(text).startswith(error)


def test_a_long_field_is_one_unusable_row() -> None:
    """A field of 10 MB on one line is named, and the rows after it are read."""
    text = f'code,url\na,"{"x" * 10_000_000}"\nb,https://e.com/\n'
    found = list(read_table(HeldFile(text), ALIASES, NEEDS))

    assert isinstance(found[0], Unusable)
    assert (found[0].line, found[0].reason) == (2, "has a field of more than 131,072 characters")
    assert len(found[0].text) < 300
    assert isinstance(found[1], Record)


def test_wrong_bytes_are_told_with_their_line() -> None:
    """A byte that is no UTF-8 is named by its line; where the client says Windows-1252, it is read so."""
    text = "code,url,title\na,https://e.com/,x\nb,https://e.com/,Café\n".encode("cp1252")

    assert error_of(text) == (
        "Line 3 has bytes that are no UTF-8. If it is from an old Windows program, say encoding=windows-1252."
    )
    found = list(read_table(HeldFile(text, encoding="windows-1252"), ALIASES, NEEDS))
    assert isinstance(found[1], Record)
    assert found[1].cells["title"] == "Café"
    assert error_of(text, "rot13").startswith("rot13 is no encoding")
    assert "compressed" in error_of(b"\x1f\x8b\x08\0\0\0\0\0")


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=20), st.sampled_from(",;\t"), st.integers(1, 9))
def test_what_csv_writes_is_read(rows: list[tuple[str, str]], delimiter: str, block: int) -> None:
    """Whatever Python's csv writes is read back, in blocks of any size."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([["code", "url"], *rows])
    found = read_table(HeldFile(out.getvalue(), block=block), ALIASES, NEEDS, guarded=False)

    assert [list(row.cells.values()) for row in found if isinstance(row, Record)] == [
        stripped for row in rows if any(stripped := [cell.strip() for cell in row])
    ]


@given(TEXTS, st.integers(1, 9))
def test_lines_are_the_text(text: str, block: int) -> None:
    """Lines put together are the text, in blocks of any size and in both encodings."""
    assert "".join(read_lines(HeldFile(text, block=block))) == text.removeprefix("\ufeff")
    assert "".join(read_texts(HeldFile(text.encode("utf-16"), block=block))) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-03-05T09:12:44+08:00", datetime(2024, 3, 5, 1, 12, 44, tzinfo=UTC)),
        ("2024-04-01T08:00:00+0000", datetime(2024, 4, 1, 8, tzinfo=UTC)),
        ("2024-05-06T07:08:09.123Z", datetime(2024, 5, 6, 7, 8, 9, 123000, tzinfo=UTC)),
        ("2022-05-31T13:04:44.741457796-07:00", datetime(2022, 5, 31, 20, 4, 44, 741457, tzinfo=UTC)),
        ("2023-01-02 03:04:05+00", datetime(2023, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2019-05-01 10:22:03", datetime(2019, 5, 1, 8, 22, 3, tzinfo=UTC)),
        ("2019-05-01 10:22", datetime(2019, 5, 1, 8, 22, tzinfo=UTC)),
        ("2024-01-02", datetime(2024, 1, 1, 22, tzinfo=UTC)),
        ("2024-01-02 03:04:05 UTC", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1700000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("1700000000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("1700000000000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("20240305091244", datetime(2024, 3, 5, 7, 12, 44, tzinfo=UTC)),
        ("12/31/2024", datetime(2024, 12, 30, 22, tzinfo=UTC)),
        ("12/31/24 5:04 PM", datetime(2024, 12, 31, 15, 4, tzinfo=UTC)),
        ("12/31/24 12:04 am", datetime(2024, 12, 30, 22, 4, tzinfo=UTC)),
        ("31.12.24", datetime(2024, 12, 30, 22, tzinfo=UTC)),
        ("3.4.2024 10:00", datetime(2024, 4, 3, 8, tzinfo=UTC)),
        ("Apr 1, 2024", datetime(2024, 3, 31, 22, tzinfo=UTC)),
        ("5-Mar-2024 10:00:00", datetime(2024, 3, 5, 8, tzinfo=UTC)),
        ("Mon, 01 Jan 2024 00:00:00 GMT", datetime(2024, 1, 1, tzinfo=UTC)),
        ("NULL", None),
        ("", None),
        ("0", None),
        ("0000-00-00 00:00:00", None),
    ],
)
def test_times_of_all_forms(text: str, expected: datetime | None) -> None:
    """A time is read in each form that files have; without an offset it is of the zone of the client."""
    assert read_time(text, Hints(timezone(timedelta(hours=2)))) == expected


def test_day_and_month_are_not_guessed() -> None:
    """`3/4/2024` is refused, unless the client says which is the day."""
    with pytest.raises(ValueError, match="day_first"):
        read_time("3/4/2024", Hints(UTC))

    assert read_time("3/4/2024", Hints(UTC, day_first=True)) == datetime(2024, 4, 3, tzinfo=UTC)
    assert read_time("3/4/24", Hints(UTC, day_first=False)) == datetime(2024, 3, 4, tzinfo=UTC)


@pytest.mark.parametrize("text", ["x", "2024-13-01", "31/31/2024", "9" * 30, "1/1", "2024-W01-1x", "nan", "-" * 50])
def test_what_is_no_time_is_refused(text: str) -> None:
    """A text that is no time is named."""
    with pytest.raises(ValueError, match="is no time"):
        read_time(text, Hints(UTC))
