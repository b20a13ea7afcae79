"""The counts of a batch, beside the same counts made click by click."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.links.clicks.counts import DAY_S, SECOND_US, SLOT_S, Columns, DimensionCounts, EnrichedClick, count_clicks
from shared.api import UNKNOWN, Dimensions

# Few values of each kind, so that many clicks share a row, on both sides of a slot's and of a day's border.
_times = st.builds(
    lambda day, slot, off: day * DAY_S * SECOND_US + slot * SLOT_S * SECOND_US + off,
    st.integers(-1, 1),
    st.integers(0, 1),
    st.sampled_from([-1, 0, 1]),
)
_words = st.sampled_from(["", "a", "b", "unknown"])
_clicks = st.builds(
    EnrichedClick,
    _times,
    st.integers(1, 3),
    st.sampled_from(["alice", "bob"]),
    st.sampled_from([b"1" * 16, b"2" * 16]),
    st.booleans(),
    st.builds(Dimensions, *[_words] * len(Dimensions._fields)),
)


def rows_of(columns: Columns) -> list[tuple[object, ...]]:
    return list(zip(*columns, strict=True))


def dimension_rows(counts: DimensionCounts) -> list[tuple[object, ...]]:
    """Rows with their kind spelled out: whose, day, dimension, value, is_bot, clicks."""
    kinds = rows_of(counts.kinds)

    assert kinds == sorted(set(kinds))
    return [(who, *kinds[number - 1], clicks) for who, number, clicks in rows_of(counts.rows)]  # type: ignore[operator]


def check(rows: Sequence[tuple[object, ...]], expected: Counter[tuple[object, ...]]) -> None:
    """Check that rows are these counts, each key once."""
    assert len(rows) == len(expected)
    assert {row[:-1]: row[-1] for row in rows} == expected


@given(clicks=st.lists(_clicks, min_size=1, max_size=40))
def test_counts_are_those_of_each_click_by_itself(clicks: list[EnrichedClick]) -> None:
    """Whatever is clicked, totals, dimensions, visitors and links are what adding up click by click makes of it."""
    counts = count_clicks(clicks)

    check(rows_of(counts.links), Counter((click.link_id,) for click in clicks))
    for whose, totals, dimensions, visitors in (
        ("link_id", counts.totals_by_link, counts.dimensions_by_link, counts.visitors_by_link),
        ("owner", counts.totals_by_owner, counts.dimensions_by_owner, counts.visitors_by_owner),
    ):
        slots: Counter[tuple[object, ...]] = Counter()
        kinds: Counter[tuple[object, ...]] = Counter()
        seen: dict[bool, list[tuple[object, ...]]] = {}
        for click in clicks:
            who = getattr(click, whose)
            slot = click.time_us // SECOND_US // SLOT_S * SLOT_S
            day = click.time_us // SECOND_US // DAY_S
            slots[who, slot, click.is_bot] += 1
            for name, value in click.dimensions._asdict().items():
                if (name, value) == ("variant", UNKNOWN):
                    continue
                kinds[who, day, name, value, click.is_bot] += 1
            seen.setdefault(click.is_bot, []).append((day, who, click.visitor))
        check(rows_of(totals), slots)
        check(dimension_rows(dimensions), kinds)
        assert rows_of(totals) == sorted(rows_of(totals))
        assert {is_bot: rows_of(columns) for is_bot, columns in visitors.items()} == seen
