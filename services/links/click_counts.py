"""Clicks of one batch, added up: what goes into the tables of counts, in the order of their keys.

One order in every transaction, so that two batches at once wait for each other in turn and never in a circle.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.links.enrichment import Dimensions

SECOND_US = 1_000_000
SLOT_S = 900
DAY_S = 86_400


class EnrichedClick(NamedTuple):
    """A click as it is stored; `time_us` is microseconds since 1970, from which slot, day and column all come."""

    time_us: int
    link_id: int
    owner: str
    visitor: bytes
    is_bot: bool
    dimensions: Dimensions


Columns = tuple[Sequence[object], ...]
"""The columns of some rows, as arrays for `unnest`."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Each the columns of its table, without its name: key columns first, then the number.

    Attributes:
        totals_by_link: link, slot (Unix seconds), is_bot, clicks; `totals_by_owner` the same.
        dimensions_by_link: link, day (days since 1970), dimension, value, is_bot, clicks; `dimensions_by_owner` the same.
        visitors_by_link: By is_bot: day, link, visitor; `visitors_by_owner` the same.
        links: link, clicks.
    """

    totals_by_link: Columns
    totals_by_owner: Columns
    dimensions_by_link: Columns
    dimensions_by_owner: Columns
    visitors_by_link: dict[bool, Columns]
    visitors_by_owner: dict[bool, Columns]
    links: Columns


def count_clicks(clicks: Sequence[EnrichedClick]) -> Counts:
    """Add up some clicks, at least one."""
    times, links, owners, visitors, bots, dimensions = zip(*clicks, strict=True)
    slots = [time // (SLOT_S * SECOND_US) * SLOT_S for time in times]
    days = [slot // DAY_S for slot in slots]
    values = list(zip(Dimensions._fields, zip(*dimensions, strict=True), strict=True))
    return Counts(
        totals_by_link=_columns(Counter(zip(links, slots, bots, strict=True))),
        totals_by_owner=_columns(Counter(zip(owners, slots, bots, strict=True))),
        dimensions_by_link=_dimension_columns(links, days, values, bots),
        dimensions_by_owner=_dimension_columns(owners, days, values, bots),
        visitors_by_link=_by_bot(zip(days, links, visitors, bots, strict=True)),
        visitors_by_owner=_by_bot(zip(days, owners, visitors, bots, strict=True)),
        links=_columns(Counter((link,) for link in links)),
    )


def _columns(counter: Counter[tuple[object, ...]]) -> Columns:
    keys = sorted(counter)
    return (*zip(*keys, strict=True), [counter[key] for key in keys])


def _dimension_columns(
    whose: Sequence[object], days: Sequence[int], values: Iterable[tuple[str, Sequence[str]]], bots: Sequence[bool]
) -> Columns:
    rows = []
    for name, column in values:
        counter = Counter(zip(whose, days, column, bots, strict=True))
        rows += [(who, day, name, value, is_bot, n) for (who, day, value, is_bot), n in counter.items()]
    rows.sort()
    return tuple(zip(*rows, strict=True))


def _by_bot(rows: Iterable[tuple[object, ...]]) -> dict[bool, Columns]:
    seen = set(rows)
    found: dict[bool, Columns] = {}
    for is_bot in (False, True):
        keys = sorted(row[:3] for row in seen if row[3] is is_bot)
        if keys:
            found[is_bot] = tuple(zip(*keys, strict=True))
    return found
