"""Pasted texts and files, read as links to create."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dashboard.lists.encodings import RowsRefused
from services.dashboard.lists.parsing import SLICE_ROWS, parse_rows, results_csv, slices
from services.links.links.conditions import Rule, SplitTarget
from services.links.links.exports import BOM, COLUMNS, write_csv
from services.links.links.forms import LinkIn, LinkOut
from shared.api import MOST_CLICKS, MOST_PASSWORDS, MOST_ROWS
from shared.client import FieldProblem, RowProblem, RowResult

A, B = "https://a.example/", "https://b.example/"
TEXT = st.text(alphabet=st.sampled_from("a,;|\\\"'\r\n\t =+-@＝＋－＠é😀"), min_size=1, max_size=12) | st.text(
    st.characters(exclude_categories=["Cc", "Cs"]), min_size=1
)
SHOWN = TEXT.map(lambda text: text if text.strip() else "x" + text)
"""What the API stores has something to see in it."""
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
LINKS = st.builds(
    LinkOut,
    short_url=st.just("https://sho.rt/x"),
    code=st.from_regex(r"[0-9A-Za-z_-]{1,64}", fullmatch=True)
    | st.sampled_from(["mail+", "+a", "a.b/c", "~", "\u5171"]),
    domain=st.just("sho.rt"),
    url=TEXT.map(lambda text: f"https://a.example/{text.strip()}") | st.just(A + "x" * 8000),
    title=st.none() | SHOWN,
    tags=st.lists(SHOWN, max_size=3),
    status_code=st.sampled_from([301, 302, 307, 308]),
    cache_control=st.none() | st.integers(0, 1000),
    valid_from=st.none() | TIMES,
    expires_at=st.none() | TIMES,
    expired_url=st.none() | st.just(B),
    enabled=st.booleans(),
    forward_query=st.booleans(),
    forward_path=st.booleans(),
    crawlable=st.booleans(),
    preview=st.booleans(),
    notes=st.none() | st.lists(SHOWN, min_size=1, max_size=3).map("\n".join),
    rules=st.none()
    | st.lists(
        st.builds(
            lambda name, value: Rule.model_validate(
                {"name": f"n{name}"[:30], "if": {"query": [{"name": value}], "time": "09:00-17:00"}, "url": A}
            ),
            st.sampled_from(["", "=1", ";'+x", '"', "é"]),
            TEXT.filter(lambda text: "\0" not in text and len(text) < 250),
        ),
        min_size=1,
        max_size=2,
    ),
    split=st.none() | st.just([SplitTarget(name="=a; '-", url=A, weight=1), SplitTarget(name="b", url=B, weight=0)]),
    max_clicks=st.none() | st.integers(1, MOST_CLICKS),
    owner=TEXT,
    clicks=st.integers(0),
    version=st.integers(1),
    created_at=TIMES,
    updated_at=TIMES,
    visitor_query_wins=st.booleans(),
)
NOT_SETTABLE = set(COLUMNS) - set(LinkIn.model_fields)


def rows(content: str | bytes) -> list[dict[str, Any]]:
    return parse_rows(content).rows


def test_lines_are_addresses() -> None:
    """In a list without a first line of names, commas and semicolons belong to the addresses; empty lines do not count."""
    text = f"\ufeff {A}kraj,artykul,123 \n\n  \r\n{B};x;y\r{A}?a=1|2\n"
    understood = parse_rows(text)

    assert understood.rows == [{"url": f"{A}kraj,artykul,123"}, {"url": f"{B};x;y"}, {"url": f"{A}?a=1|2"}]
    assert understood.lines == [1, 4, 5]
    assert (understood.layout.delimiter, understood.layout.has_header) == ("", False)


@pytest.mark.parametrize("first", ["url", "Long URL", '"url"'])
def test_a_list_may_have_a_name(first: str) -> None:
    """One column needs no delimiter: what is in its lines is the address, quoted or not."""
    assert rows(f'{first}\n{A}x,y,1\n"{B}""a,b"\n') == [{"url": f"{A}x,y,1"}, {"url": f'{B}"a,b'}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_tables_are_recognised(delimiter: str, end: str, encoding: str) -> None:
    """Each delimiter, line ending and encoding gives the same links, with what is quoted whole."""
    title = f'Größe "{delimiter}"{end}und mehr'
    quoted = title.replace('"', '""')
    lines = [["Long URL", "title", "Back-half"], [A, f'"{quoted}"', "bee"], [f'"{B}{delimiter}x"', "", ""]]
    understood = parse_rows(end.join(map(delimiter.join, lines)).encode(encoding))

    assert understood.rows == [{"url": A, "title": title, "code": "bee"}, {"url": f"{B}{delimiter}x".strip()}]
    assert understood.lines == [2, 4]
    assert understood.layout.delimiter == delimiter


def test_a_first_line_names_the_columns() -> None:
    """Columns come in any order; numbers and truths have their types, what a link cannot be given is passed over."""
    text = f'Title,URL,clicks,status_code,enabled,tags\n"a, b",{A},99,308,FALSE,a\\|b|c\n,{B},,x,maybe,\n'

    assert rows(text) == [
        {"title": "a, b", "url": A, "status_code": 308, "enabled": False, "tags": ["a|b", "c"]},
        {"url": B, "status_code": "x", "enabled": "maybe"},
    ]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        # Shlink's web client, and what its importer reads
        (
            (
                '"createdAt","domain","shortCode","shortUrl","longUrl","title","tags","visits"\n'
                f'"2024-03-05T09:12:44+08:00","go.example.org","menu","https://go.example.org/menu","{A}","Menu","food|news",17'
            ),
            {"domain": "go.example.org", "code": "menu", "title": "Menu", "tags": ["food", "news"]},
        ),
        (
            f"Long URL;Short code;Domain;Title;Tags\n{A};promo-24;;Spring;a,b",
            {"code": "promo-24", "title": "Spring", "tags": ["a", "b"]},
        ),
        # YOURLS: the table, and its plugin
        (
            f"keyword,url,title,timestamp,ip,clicks\npromo,{A},It's on,2019-05-01 10:22:03,203.0.113.9,41",
            {"code": "promo", "title": "It's on"},
        ),
        (f"source,target,hits\r\n/promo/,{A},41\r\n", {"code": "promo"}),
        # Bitly, in both of its forms
        (
            (
                "Bitlink,Title,Long URL,Tags,Created,Total Clicks,Campaign,Archived\n"
                f'bit.ly/3AbCdEf,Sale,{A},"sale, 2024",2024-04-01T08:00:00+0000,128,,No'
            ),
            {"code": "3AbCdEf", "title": "Sale", "tags": ["sale", " 2024"]},
        ),
        (f"Link,Custom Link,Destination URL\nhttps://bit.ly/3xYz,https://bit.ly/spring,{A}", {"code": "spring"}),
        (f"Link,Custom Link,Destination URL\nhttps://bit.ly/3xYz,,{A}", {"code": "3xYz"}),
        (f"Short URL,Long URL\nhttps://sho.rt/menu/%E5%85%B1,{A}", {"code": "menu/\u5171"}),
        # Dub, Rebrandly, tiny.cc
        (
            f"Short link,Destination URL,Clicks,Created at\nhttps://dub.sh/start,{A},54,2024-05-06T07:08:09.000Z",
            {"code": "start"},
        ),
        (
            (
                "id,createdAt,shortUrl,domain,slashtag,destination\n"
                f"9c2f,2023-08-01T12:00:00.000Z,go.example.org/news,go.example.org,news,{A}"
            ),
            {"domain": "go.example.org", "code": "news"},
        ),
        (f'"url";"short_id";"note"\n"{A}";"abc";"=1"', {"code": "abc", "notes": "=1"}),
        # People's own
        (f"long_url,title\n{A},Hello", {"title": "Hello"}),
        (
            f"  EXPIRY-DATE ;Original_URL; Alias;\n2030-01-01T00:00:00Z;{A};x;",
            {"expires_at": "2030-01-01T00:00:00Z", "code": "x"},
        ),
        (f"sep=;\r\nurl;code\r\n{A};x", {"code": "x"}),
        (f"link,valid_until\n{A},2030-01-01T00:00:00Z", {"expires_at": "2030-01-01T00:00:00Z"}),
    ],
)
def test_names_of_others_are_known(text: str, row: dict[str, Any]) -> None:
    """Exports of other shorteners and people's own names are read as the fields that they mean."""
    assert rows(text) == [{"url": A, **row}]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no address"),
        ("\n \n", "no address"),
        ("url,title\n", "no row after it"),
        (f"url,colour\n{A},red\n", "not known: colour.*Known are url, code"),
        (f"url,,title\n{A},,x\n", r"not known: \(empty\)"),
        (f"url,title,Title\n{A},x,y\n", "Several columns are title: title, Title"),
        (f"url,title,name\n{A},x,y\n", "Several columns are title: title, name"),
        ("code,title\nx,y\n", "No column has the addresses"),
        (f"{A},own,A title,x\n", "Line 1 .*url,code,title,tags"),
        (f"{A}\n{A}\tcode\n", "Line 2 "),
        (f"{A},{B}\n", "Line 1 has more than one address"),
        (f'"{A}","code"\n', "Line 1 "),
        (f"{A}\n{B},\n", "Line 2 "),
        (f"{A};;First\n", "Line 1 "),
        (f"code,{A}\n", "no address, and names no column .*code.*Accepted is"),
        (f"Homepage\n{A}\n", "names no column that is known: Homepage"),
        ("a.example/x\n", "begins with http"),
        ('"a\nb', "line 1 is no CSV"),
        (f'url,title\n{A},ok\n\n{A},"two\nlines"x\n', "line 4 is no CSV"),
        (f"url,title\n{A},x\0\n", r"Line 2 .*U\+0000"),
        (f"sep=#\nurl#title\n{A}#x\n", "separates"),
        (f"url,code\n{A}\n", "No row is a link. Line 2 has 1 cell, and the first line 2"),
    ],
)
def test_what_cannot_be_told_is_refused(text: str, reason: str) -> None:
    """Nothing is guessed: the reason names the line or the columns, and what would be taken."""
    with pytest.raises(RowsRefused, match=f"(?s){reason}"):
        parse_rows(text)


def test_too_many_rows_are_refused() -> None:
    """The reason says how many there are."""
    assert len(rows(f"{A}\n" * MOST_ROWS)) == MOST_ROWS
    with pytest.raises(RowsRefused, match="10,001 rows; 10,000"):
        parse_rows(f"{A}\n" * (MOST_ROWS + 1))


def test_rows_of_another_length_are_left_out_by_name() -> None:
    """A row with a cell too many or too few is named by its line in the file; empty cells at its end are none."""
    text = f'url,code,title\n{A},a,"two\nlines"\n{A},b\n\n{A},c,x,y\n,d,x\n{B},e,x,,\nnone,f,\n'
    understood = parse_rows(text)

    assert [row["code"] for row in understood.rows] == ["a", "e", "f"]
    assert understood.lines == [2, 8, 9]
    assert understood.left_out == [
        "Line 4 has 2 cells, and the first line 3.",
        "Line 6 has 4 cells, and the first line 3.",
        "Line 7 has no address.",
    ]
    assert understood.doubts == ["Line 9 has an address that does not begin with http:// or https://."]


def test_what_an_export_made_inert_is_as_before() -> None:
    """The apostrophe before a formula is the export's; any other is the text's own."""
    text = f"url,title\n{A},'=1+1\n{A},'tis\n{A},''tis\n"

    assert [row["title"] for row in rows(text)] == ["=1+1", "'tis", "'tis"]


def test_passwords_are_not_lost_on_the_way() -> None:
    """A password is taken as it is; an exported link that had one is left out until the list has a new one for it."""
    understood = parse_rows(f'url,has_password,password\n{A},true,\n{A},true," s3cret "\n{B},false,\n{B},,new\n')

    assert understood.rows == [{"url": A, "password": " s3cret "}, {"url": B}, {"url": B, "password": "new"}]
    assert understood.left_out == [
        "Line 2 is of a link with a password, which no export has: add it in a column password."
    ]


def test_a_slice_has_no_more_passwords_than_a_batch_takes() -> None:
    """Links with a password are sent in smaller slices, because each is hashed."""
    given = [{"url": A, **({"password": "x"} if n % 2 else {})} for n in range(300)]
    sizes = [sum("password" in row for row in taken) for _, taken in slices(given)]

    assert (max(sizes), sum(sizes)) == (MOST_PASSWORDS, 150)


@given(st.lists(LINKS, min_size=1, max_size=4), st.sampled_from(["", BOM]))
def test_import_is_the_inverse_of_export(links: list[LinkOut], mark: str) -> None:
    """Whatever the fields of links are, the file of an export is read as the same fields."""
    written = mark + ",".join(COLUMNS) + "\r\n" + write_csv(links)
    sent = [
        {
            name: value
            for name, value in link.model_dump(mode="json").items()
            if name not in NOT_SETTABLE and value not in (None, [])
        }
        for link in links
    ]

    assert rows(written.encode()) == sent
    assert rows(written) == sent


@given(st.lists(st.integers(0, 3000), max_size=60), st.integers(0, 70))
def test_slices_have_every_row_once(lengths: list[int], start: int) -> None:
    """However long the rows are, the slices go through all that are left, in order, within their size."""
    given = [{"url": "x" * (length * 100), "n": index} for index, length in enumerate(lengths)]
    cut = list(slices(given, start))

    assert [row["n"] for _, taken in cut for row in taken] == list(range(start, len(given)))
    assert all(taken[0]["n"] == first and len(taken) <= SLICE_ROWS for first, taken in cut)


def test_results_are_no_formulas() -> None:
    """A target that a spreadsheet would calculate is a text in the results."""
    results = [
        RowResult(0, 422, None, RowProblem("Invalid input", "", (FieldProblem("url", "must be http or https"),)))
    ]
    written = list(csv.reader(io.StringIO(results_csv([{"url": "=cmd|' /C calc'!A1"}], [7], results))))

    assert written[1] == ["7", "'=cmd|' /C calc'!A1", "", "url must be http or https"]
