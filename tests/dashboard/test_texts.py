"""Texts of users, made harmless for places that read Markdown."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dashboard.texts import format_count, format_instant, is_web_address, plain, shorten

JOINER = "\N{WORD JOINER}"


@given(st.text(alphabet=st.one_of(st.sampled_from("[]()!*_`$:<>@#-\\|~=&.\n"), st.characters()), max_size=100))
def test_a_plain_text_has_no_markdown(text: str) -> None:
    """Every character that could mean something is escaped, and nothing else is changed that one can see."""
    made = plain(text)
    read = re.sub(r"\\(.)", r"\1", made)

    assert not re.search(r"[!-/:-@\[-`{-~]", re.sub(r"\\.", "", made))
    assert read.replace(JOINER, "") == shorten(text, 200)


@pytest.mark.parametrize(
    "text",
    [
        ":material/home:",
        ":streamlit:",
        ":smile:",
        "https://evil.example/",
        "www.evil.example",
        "a@evil.example",
        " -> ",
        ":red[x]",
    ],
)
def test_what_streamlit_looks_for_after_parsing_is_broken_up(text: str) -> None:
    """Icons, emoji, arrows and addresses are found in the text that the escapes leave: none is left in one piece."""
    parsed = re.sub(r"\\(.)", r"\1", plain(text))

    assert not re.search(r":[\w+-]+:|(?::material[_/])|https?://|www(?=\.)|[-.\w+]+@|->|:\w+\[", parsed)


def test_a_text_that_hides_or_turns_is_shown_without_that() -> None:
    """Bidirectional overrides, zero widths and line breaks become spaces; a long text is cut."""
    assert shorten("a\u202eb\u200bc\nd", 100) == "a b c d"
    assert shorten("x" * 11, 10) == "x" * 9 + "…"
    assert shorten("x" * 10, 10) == "x" * 10


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم",
        "क्\u200dष",
        "👩\u200d👩\u200d👧",
        "🏳\ufe0f\u200d🌈 🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        "Donau\u00addampf",
        "ភាសា\u200bខ្មែរ",
        "Tiếng Việt",
    ],
)
def test_spelling_is_shown(text: str) -> None:
    """What the API takes in a title or tag is shown as it is: joiners, flags, and the blanks of scripts that show none."""
    assert shorten(text, 100) == text
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://a.example/", True),
        ("http://a.example/", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("//a.example/", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_only_web_addresses_become_links(text: str, expected: bool) -> None:
    """Nothing but http and https is ever a link."""
    assert is_web_address(text) is expected


def test_times_and_counts_are_told_as_people_say_them() -> None:
    """Times are in the viewer's zone, a single thing has no plural."""
    assert format_instant(datetime(2026, 11, 24, 23, 30, tzinfo=UTC), ZoneInfo("Europe/Berlin")) == "25 Nov 2026, 00:30"
    assert format_instant(None, UTC) == ""
    assert [format_count(n, "link") for n in (0, 1, 2000)] == ["0 links", "1 link", "2,000 links"]
