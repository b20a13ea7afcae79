"""Adds up the clicks of one batch for the tables of counts, in the order of the tables' keys.

The order is the same in every transaction. So two batches at once wait for each other in turn, and never in a circle.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import NamedTuple

from shared.api import UNKNOWN, VARIANT, Dimensions

SECOND_US = 1_000_000
SLOT_S = 900
DAY_S = 86_400


class EnrichedClick(NamedTuple):
    """A click as it is stored.

    Attributes:
        time_us: Microseconds since 1970. Slot, day and column all come from it.
        visitor: Tells the visitors of a day apart; None if that day's key is gone.
    """

    time_us: int
    link_id: int
    owner: str
    visitor: bytes | None
    is_bot: bool
    dimensions: Dimensions


Columns = tuple[Sequence[object], ...]
"""The columns of some rows, as arrays for `unnest`."""


@dataclass(frozen=True, slots=True)
class DimensionCounts:
    """The number of clicks of each kind. A kind is a day, a dimension, a value and whether a bot clicked.

    An array costs by the element, and most rows are of a few kinds. So a row names its kind by number.

    Attributes:
        kinds: day (days since 1970), dimension, value, is_bot; sorted.
        rows: link or owner, number of the kind (from 1), clicks; in no order.
    """

    kinds: Columns
    rows: Columns


@dataclass(frozen=True, slots=True)
class Counts:
    """The columns of each table of counts: key columns first, then the number of clicks.

    Attributes:
        totals_by_link: link, slot (Unix seconds), is_bot, clicks; sorted; `totals_by_owner` the same.
        visitors_by_link: For bots and for people: day, link, visitor of every click that has a visitor; `visitors_by_owner` the
            same.
        links: link, clicks; sorted.
        humans: The clicks of the same links that no bot made.
    """

    totals_by_link: Columns
    totals_by_owner: Columns
    dimensions_by_link: DimensionCounts
    dimensions_by_owner: DimensionCounts
    visitors_by_link: dict[bool, Columns]
    visitors_by_owner: dict[bool, Columns]
    links: Columns
    humans: Sequence[int]


def count_clicks(clicks: Sequence[EnrichedClick]) -> Counts:
    """Add up some clicks, at least one."""
    times, links, owners, visitors, bots, dimensions = zip(*clicks, strict=True)
    slots = [time // (SLOT_S * SECOND_US) * SLOT_S for time in times]
    days = [slot // DAY_S for slot in slots]
    values = list(zip(Dimensions._fields, zip(*dimensions, strict=True), strict=True))
    if set(values[-1][1]) == {UNKNOWN}:
        # No click of the batch has a variant.
        values.pop()
    linked = _columns(Counter((link,) for link in links))
    of_bots = Counter(compress(links, bots))
    return Counts(
        totals_by_link=_columns(Counter(zip(links, slots, bots, strict=True))),
        totals_by_owner=_columns(Counter(zip(owners, slots, bots, strict=True))),
        dimensions_by_link=_count_dimensions(links, days, values, bots),
        dimensions_by_owner=_count_dimensions(owners, days, values, bots),
        visitors_by_link=_by_bot(days, links, visitors, bots),
        visitors_by_owner=_by_bot(days, owners, visitors, bots),
        links=linked,
        humans=[n - of_bots[link] for link, n in zip(*linked, strict=True)],
    )


def _columns(counter: Counter[tuple[object, ...]]) -> Columns:
    keys = sorted(counter)
    return (*zip(*keys, strict=True), [counter[key] for key in keys])


def _count_dimensions(
    whose: Sequence[object], days: Sequence[int], values: Iterable[tuple[str, Sequence[str]]], bots: Sequence[bool]
) -> DimensionCounts:
    counters = [(name, Counter(zip(whose, days, column, bots, strict=True))) for name, column in values]
    for name, counter in counters:
        if name == VARIANT:
            for key in [key for key in counter if key[2] == UNKNOWN]:
                del counter[key]
    kinds = sorted({(day, name, value, is_bot) for name, counter in counters for _, day, value, is_bot in counter})
    numbers = {kind: number for number, kind in enumerate(kinds, 1)}
    rows = [
        (who, numbers[day, name, value, is_bot], n)
        for name, counter in counters
        for (who, day, value, is_bot), n in counter.items()
    ]
    return DimensionCounts(tuple(zip(*kinds, strict=True)), tuple(zip(*rows, strict=True)))


def _by_bot(
    days: Sequence[int], whose: Sequence[object], visitors: Sequence[bytes | None], bots: Sequence[bool]
) -> dict[bool, Columns]:
    found: dict[bool, Columns] = {}
    for is_bot in (False, True):
        chosen = [each is is_bot and visitor is not None for each, visitor in zip(bots, visitors, strict=True)]
        if any(chosen):
            found[is_bot] = tuple(list(compress(column, chosen)) for column in (days, whose, visitors))
    return found
