"""The codes of short links."""

import re

import pytest

from shared.codes import CODE_PATTERN, RESERVED, generate_code, is_code, is_reserved


def test_generated_codes_are_codes_and_differ() -> None:
    """Generated codes have 7 base-62 characters, all of which occur, and do not repeat."""
    codes = [generate_code() for _ in range(5000)]

    assert all(re.fullmatch(r"[0-9A-Za-z]{7}", code) for code in codes)
    assert len(set(codes)) == len(codes)
    assert all(len({code[place] for code in codes}) == 62 for place in range(7))


@pytest.mark.parametrize("text", ["a", "A-b_9", "x" * 64])
def test_codes(text: str) -> None:
    """Letters, digits, minus and underscore, 1 to 64 of them."""
    assert is_code(text)


@pytest.mark.parametrize("text", ["", "x" * 65, "a/b", "ä", "a b", "a\n", "a.b", "%61", "a;b"])
def test_what_is_no_code(text: str) -> None:
    """Everything else is no code."""
    assert not is_code(text)


def test_reserved_words_are_reserved_in_any_case() -> None:
    """Nobody gets a code that reads like a part of the site."""
    assert all(is_reserved(word) and is_reserved(word.upper()) for word in RESERVED)
    assert not is_reserved("apis")
    assert re.compile(CODE_PATTERN).fullmatch("api")
