"""The codes of short links."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.codes import (
    CODE_PATTERN,
    LONGEST_CODE,
    OWN_PATHS,
    RESERVED,
    fold_code,
    generate_code,
    is_code,
    is_own_path,
    is_reserved,
    spell_code,
    stem_of,
)


def test_generated_codes_are_codes_and_differ() -> None:
    """Generated codes have 7 base-62 characters, all of which occur, and do not repeat."""
    codes = [generate_code() for _ in range(5000)]

    assert all(re.fullmatch(r"[0-9A-Za-z]{7}", code) for code in codes)
    assert len(set(codes)) == len(codes)
    assert all(len({code[place] for code in codes}) == 62 for place in range(7))


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "A-b_9",
        "x" * 64,
        "x" * 255,
        "a.b",
        "mail+",
        "c++",
        "~",
        "...",
        "\u5171",
        "\u00e4",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0915\u094d\u200d\u0937",
        "\u0661\u0662\u0663",
        "\u2764",
        "\U0001f469\u200d\U0001f680",
        "\U0001f1e8\U0001f1ed",
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        "1\u20e3",
        "a/b/c/d/e",
        "x/.b",
    ],
)
def test_codes(text: str) -> None:
    """A code has 1 to 255 letters, digits and marks of any script, emoji and `-_.~+`, in up to five segments."""
    assert is_code(text)
    assert spell_code(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "1 to 255 characters"),
        ("x" * 256, "1 to 255 characters"),
        ("\u5171" * 256, "1 to 255 characters"),
        ("a b", "no ' '"),
        ("a\n", "U+000A"),
        ("a\0", "U+0000"),
        ("%61", "no '%'"),
        ("a;b", "no ';'"),
        ("a\ud800", "U+D800"),
        ("a\u200b", "U+200B"),
        ("a\u202eb", "U+202E"),
        ("\u0645\u200c", "U+200C"),
        ("a\u200db", "U+200D"),
        ("\u3164", "no"),
        ("a\u2800", "no '\u2800'"),
        ("a\U000e0061", "U+E0061"),
        ("\U0001f3f4\u00e4\U000e0067", "U+E0067"),
        ("a\u3002", "no '\u3002'"),
        ("a" + "\u0301" * 31, "combining marks"),
        ("a\u0301" * 1000, "1 to 255 characters"),
        ("a/b/c/d/e/f", "segments"),
        ("/a", "empty segment"),
        ("a/", "empty segment"),
        ("a//b", "empty segment"),
        (".", "segment . or .."),
        ("a/../b", "segment . or .."),
        ("a/.", "segment . or .."),
    ],
)
def test_what_is_no_code(text: str, reason: str) -> None:
    """Everything else is no code, and the reason says why."""
    assert not is_code(text)
    with pytest.raises(ValueError, match=re.escape(reason)):
        spell_code(text)


@pytest.mark.parametrize(
    "sent",
    [
        "\u00e9t\u00e9",
        "e\u0301te\u0301",
        "\u2764\ufe0f",
        "\u2764",
        "\u2764\ufe0f\u200d\U0001f525",
        "1\ufe0f\u20e3",
        "\u845b\U000e0100",
    ],
)
def test_spellings_of_a_code_are_one(sent: str) -> None:
    """NFD and variation selectors make no other code."""
    code = spell_code(sent)

    assert is_code(code)
    assert not {"\ufe0f", "\U000e0100"} & set(code)
    assert code == spell_code(unicodedata.normalize("NFD", sent)) == spell_code(sent + "\ufe0f")


@given(st.text(max_size=300))
def test_a_code_is_spelled_once(text: str) -> None:
    """A spelled code stays as it is, and its folded form is one for all ways to write it."""
    try:
        code = spell_code(text)
    except ValueError:
        return
    folded = fold_code(code)

    assert is_code(code)
    assert is_code(folded) or len(folded) > LONGEST_CODE
    assert fold_code(folded) == folded


def test_stems() -> None:
    """A stem is what the codes that could be taken for each other have in common."""
    codes = ["a", "a.", "a+", "a~+", "a/b", "a./b.", "a.b.", "\u00e4+", "++"]

    assert [stem_of(code) for code in codes] == ["a", "a", "a", "a", "a", "a", "a.b", "\u00e4", ""]


def test_reserved_words_are_reserved_in_any_case() -> None:
    """Nobody gets a code that reads like a part of the site, with or without marks and further segments."""
    for word in RESERVED:
        assert all(map(is_reserved, (word, word.upper(), word + ".", word + "+", word + "/a")))
    assert not any(map(is_reserved, ("apis", "a/api", "restful", "robots")))
    assert re.compile(CODE_PATTERN).fullmatch("api")


def test_what_was_reserved_later_is_no_path_of_the_site() -> None:
    """Links had `share` and `rest` before these were reserved: they are looked up."""
    assert OWN_PATHS < RESERVED
    assert all(map(is_own_path, (*OWN_PATHS, "DOCS", "docs.", "api/v1")))
    assert not any(map(is_own_path, RESERVED - OWN_PATHS))
