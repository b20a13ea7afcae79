"""The choice of a media type: RFC 9110's rules, and no header that breaks it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.links.web.errors import NotAcceptable
from services.links.web.media import choose_media_type

OFFERED = ["application/json", "text/csv"]

CHOICES = [
    (None, "application/json"),
    ("", "application/json"),
    ("  ", "application/json"),
    ("*/*", "application/json"),
    ("text/csv", "text/csv"),
    ("TEXT/CSV", "text/csv"),
    ("text/*", "text/csv"),
    ("text/html, text/csv;q=0.1", "text/csv"),
    ("text/csv, application/json", "application/json"),
    ("text/csv;q=0.9, application/json;q=0.8", "text/csv"),
    ("text/csv;q=0.9,application/json;q=0.901", "application/json"),
    ("text/csv ; Q=1.000 , */* ;q=0.5", "text/csv"),
    ("*/*;q=0.1, application/json;q=0", "text/csv"),
    ("text/*;q=0, */*", "application/json"),
    ("text/*;q=0.2, text/csv;q=0.9, application/*;q=0.5", "text/csv"),
    ("text/csv;q=0.1, text/csv;q=0.7, application/json;q=0.5", "text/csv"),
    ("text/csv;charset=utf-8;header=present;q=0.7, application/json;q=0.5", "text/csv"),
    ('text/csv;x="a,b;q=0";q=0.7', "text/csv"),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
    ("nonsense, , ;q=1, text/csv", "text/csv"),
    ("application/json;q=2, text/csv;q=0.001", "text/csv"),
    (", ,text/csv", "text/csv"),
    ('text/csv;q=0.7, text/html;x="never, application/json', "text/csv"),
]


@pytest.mark.parametrize(("accept", "expected"), CHOICES)
def test_best_type_is_chosen(accept: str | None, expected: str) -> None:
    """The most specific range gives the weight; the greatest weight wins, and among equals the server's order."""
    assert choose_media_type(accept, OFFERED) == expected


@pytest.mark.parametrize(
    "accept",
    ["image/png", "text/html", "*/*;q=0", "text/csv;q=0.0", "text/csv;q=1.5", "text/csv;q=", "*/csv", "text", "\x00"],
)
def test_nothing_acceptable_is_an_error(accept: str) -> None:
    """Who takes none of the types is told which there are."""
    with pytest.raises(NotAcceptable, match=r"application/json or text/csv"):
        choose_media_type(accept, OFFERED)


@given(st.text(alphabet=st.sampled_from('text/csv*;q=01.,"\\ \té\x00'), max_size=60) | st.text(max_size=60))
def test_no_header_breaks_it(accept: str) -> None:
    """Whatever the header is, a type is chosen or the error is that there is none."""
    try:
        chosen = choose_media_type(accept, OFFERED)
    except NotAcceptable:
        return

    assert chosen in OFFERED
