"""Accept-Language and the lookup of RFC 4647: its own examples, weights, and whatever else is sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.languages import Accepted, look_up, read_accepted

_subtags = st.text("abcdeABCDE0123", min_size=1, max_size=8)
_first = st.text("abcxABC", min_size=1, max_size=3)
_tags = st.builds(lambda first, rest: "-".join([first, *rest]), _first, st.lists(_subtags, max_size=4))
_weights = st.sampled_from(["", ";q=0", ";q=0.5", "; q=0.25", ";Q=1.000", ";q=0.000"])


@pytest.mark.parametrize(
    ("header", "tags", "expected"),
    [
        # RFC 4647, section 3.4: the fallback of a range.
        ("zh-Hant-CN-x-private1-private2", {"zh-hant-cn-x-private1-private2"}, "zh-hant-cn-x-private1-private2"),
        ("zh-Hant-CN-x-private1-private2", {"zh-hant-cn-x-private1"}, "zh-hant-cn-x-private1"),
        ("zh-Hant-CN-x-private1-private2", {"zh-hant-cn-x"}, None),
        ("zh-Hant-CN-x-private1-private2", {"zh-hant-cn", "zh"}, "zh-hant-cn"),
        ("zh-Hant-CN-x-private1-private2", {"zh-hant", "zh"}, "zh-hant"),
        ("zh-Hant-CN-x-private1-private2", {"zh"}, "zh"),
        # Section 3.4.1: the whole of one range goes before the next one.
        ("fr-FR, zh-Hant", {"fr", "zh-hant"}, "fr"),
        ("fr-FR, zh-Hant", {"zh", "ja-jp"}, "zh"),
        ("fr-FR, zh-Hant", {"ja-jp"}, None),
        # Section 3.4: a range is no prefix of the tag that it finds, and `*` alone finds none.
        ("de", {"de-ch"}, None),
        ("de-ch", {"de-de"}, None),
        ("*", {"de"}, None),
        ("*, de", {"de", "en"}, "de"),
        # RFC 9110, section 12.5.4, and 12.4.2 for the weights.
        ("da, en-gb;q=0.8, en;q=0.7", {"en", "en-gb"}, "en-gb"),
        ("de;q=0.5, fr;q=0.9", {"de", "fr"}, "fr"),
        ("de;q=0.5, fr;q=0.5", {"de", "fr"}, "de"),
        ("de;q=0, fr;q=0.1", {"de", "fr"}, "fr"),
        ("de-CH, de;q=0", {"de"}, None),
        ("DE-de", {"de"}, "de"),
        ("a-0-0", {"a"}, None),
        ("", {"de"}, None),
        ("de;q=2, fr;level=1, es;q=0.1234, it", {"de", "fr", "es", "it"}, "it"),
        (", ".join(["xx"] * 20 + ["de"]), {"de"}, None),
    ],
)  # fmt: skip
def test_lookup(header: str, tags: set[str], expected: str | None) -> None:
    """The best tag is that of the heaviest range that has one, shortened from its end."""
    assert look_up(read_accepted(header), tags) == expected


def test_header_is_read_in_order_of_weight() -> None:
    """Ranges of one weight keep their order; those of weight 0 are not wanted."""
    assert read_accepted(" fr ; q=0.5,DE-ch , en;q=0.5,es;q=0,,*;q=0.1") == Accepted(
        ("de-ch", "fr", "en"), frozenset({"es"})
    )


@given(
    ranges=st.lists(st.tuples(_tags, _weights), max_size=6),
    tags=st.sets(_tags.map(str.lower), max_size=6),
)
def test_lookup_is_the_model(ranges: list[tuple[str, str]], tags: set[str]) -> None:
    """Whatever is accepted, the tag is the one that a search over all shortened ranges finds first."""
    header = ", ".join(name + weight for name, weight in ranges)
    weighed = [(float(weight.lower().partition("q=")[2] or 1), name.lower()) for name, weight in ranges]
    refused = {name for weight, name in weighed if weight == 0}
    candidates = []
    for weight, name in weighed:
        subtags = name.split("-")
        shortened = [subtags[:length] for length in range(len(subtags), 0, -1)]
        # A shortened range never ends with a single character, which begins what was cut off.
        kept = [each for each in shortened if each == subtags or len(each[-1]) > 1]
        candidates.append((weight, ["-".join(each) for each in kept]))
    heaviest_first = [names for weight, names in sorted(candidates, key=lambda each: -each[0]) if weight]
    expected = next((name for names in heaviest_first for name in names if name in tags and name not in refused), None)

    assert look_up(read_accepted(header), tags) == expected


@given(header=st.text(max_size=600))
def test_any_header_is_read(header: str) -> None:
    """Whatever a visitor sends is read, and no more of it than is bounded."""
    assert len(read_accepted(header).wanted) <= 20
