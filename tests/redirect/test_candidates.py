"""What a path may ask for: at most two codes, in their order."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.redirect.domains.decisions import UNDECIDED, Domain
from services.redirect.lookup.candidates import MOST_CANDIDATES, Asked, candidates

TAILED = Domain(has_tail_codes=True)
FOLDING = Domain(has_folding_codes=True)
SEGMENTED = Domain(multi_segment=True)
ALL = Domain(multi_segment=True, has_tail_codes=True, has_folding_codes=True)

# Each candidate as a text: `>` before a preview, `~` before a folded code, and behind a blank the path that is passed on.
TABLE: list[tuple[str, Domain, list[str]]] = [
    ("abc", UNDECIDED, ["abc"]),
    ("ABC", UNDECIDED, ["ABC"]),
    ("share", UNDECIDED, ["share"]),
    ("abc.", UNDECIDED, ["abc"]),
    ("abc+", UNDECIDED, [">abc"]),
    ("abc+.", UNDECIDED, [">abc"]),
    ("abc.+", UNDECIDED, []),
    ("abc++", UNDECIDED, []),
    ("a.b", UNDECIDED, ["a.b"]),
    ("\u5171", UNDECIDED, ["\u5171"]),
    ("e\u0301", UNDECIDED, ["\u00e9"]),
    ("\u2764\ufe0f", UNDECIDED, ["\u2764"]),
    ("\u2764\ufe0f+", UNDECIDED, [">\u2764"]),
    ("abc/", UNDECIDED, ["abc"]),
    ("abc/)", UNDECIDED, ["abc /)"]),
    ("abc/x/y.", UNDECIDED, ["abc /x/y."]),
    ("\u5171/x", UNDECIDED, ["\u5171 /x"]),
    ("abc./x", UNDECIDED, []),
    ("a%2Fb/c", UNDECIDED, []),
    ("docs.", UNDECIDED, []),
    ("docs/x", ALL, []),
    ("..", ALL, []),
    ("a/../b", ALL, ["a /../b"]),
    # The exact code wins over what a sentence leaves behind it, and over the plus of a preview.
    ("abc", TAILED, ["abc"]),
    ("mail+", TAILED, ["mail+", ">mail"]),
    ("mail++", TAILED, ["mail++", ">mail+"]),
    ("mail+,", TAILED, ["mail+", ">mail"]),
    ("mail+.", TAILED, ["mail+.", "mail+"]),
    ("abc.", TAILED, ["abc.", "abc"]),
    ("abc..", TAILED, ["abc..", "abc"]),
    ("abc.,", TAILED, ["abc.", "abc"]),
    ("abc,.", TAILED, ["abc"]),
    ("abc.+", TAILED, ["abc.+", ">abc."]),
    ("abc./x", TAILED, ["abc. /x"]),
    ("~", TAILED, ["~"]),
    # In any case, for the links that say so.
    ("abc", FOLDING, ["abc"]),
    ("aBc", FOLDING, ["aBc", "~abc"]),
    ("ABC,", FOLDING, ["ABC", "~abc"]),
    ("ABC+", FOLDING, [">ABC", ">~abc"]),
    ("ABC/x", FOLDING, ["ABC /x", "~abc /x"]),
    ("\u00c4\u00df", FOLDING, ["\u00c4\u00df", "~\u00e4ss"]),
    ("\u0390" + "\u0323" * 30, FOLDING, ["\u0390" + "\u0323" * 30]),
    # A code with slashes, or the first segment and what it passes on.
    ("a/b", SEGMENTED, ["a/b", "a /b"]),
    ("a%2Fb", SEGMENTED, ["a/b"]),
    ("a/b/", SEGMENTED, ["a/b", "a /b/"]),
    ("a/b.", SEGMENTED, ["a/b", "a /b."]),
    ("a/b+", SEGMENTED, [">a/b", "a /b+"]),
    ("a//b", SEGMENTED, ["a //b"]),
    ("a/b/c/d/e/f", SEGMENTED, ["a /b/c/d/e/f"]),
    ("a/", SEGMENTED, ["a"]),
    # What cannot be all three.
    ("a/b.", ALL, ["a/b.", "a/b"]),
    ("A/b", ALL, ["A/b", "~a/b"]),
    ("A.", ALL, ["A.", "A"]),
]


@pytest.mark.parametrize(("path", "domain", "expected"), TABLE)
def test_candidates(path: str, domain: Domain, expected: list[str]) -> None:
    """A path asks for the exact code first, and then for one other thing that it may mean there."""
    found = candidates(f"/{quote(path, safe='%/+~)')}".encode(), domain)

    assert [_show(asked) for asked in found] == expected


@pytest.mark.parametrize("domain", [UNDECIDED, ALL])
@pytest.mark.parametrize("more", ["caf%E9", quote("\u044f" * 1200), quote("e" + "\u0301" * 40)])
def test_any_path_is_passed_on(more: str, domain: Domain) -> None:
    """What follows a code may be in another encoding, or longer than a code: the link decides about it."""
    assert candidates(f"/abc/{more}".encode(), domain) == [Asked("abc", f"/{more}".encode())]


@given(
    st.lists(st.sampled_from([*"aB.+~/,%", "%2F", "%2e", "\u00c9", "e\u0301", "\ufe0f", " "]), max_size=12).map(
        "".join
    ),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_no_path_asks_for_more_than_two_codes(path: str, segments: bool, tails: bool, folding: bool) -> None:
    """Whatever is asked, there are at most two codes, all different, and each in the spelling in which it is stored."""
    domain = Domain(multi_segment=segments, has_tail_codes=tails, has_folding_codes=folding)
    found = candidates(b"/" + quote(path, safe="%/+~").encode(), domain)

    assert len({asked.code for asked in found}) == len(found) <= MOST_CANDIDATES
    assert all(segments or "/" not in asked.code for asked in found)
    assert [asked.code for asked in found] == [asked.code for asked in candidates(b"/" + path.encode(), domain)]


def _show(asked: Asked) -> str:
    rest = f" {asked.rest.decode()}" if asked.rest else ""
    return f"{'>' if asked.is_preview else ''}{'~' if asked.is_folded else ''}{asked.code}{rest}"
