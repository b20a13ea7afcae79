"""How many values of a dimension a packed day names: exactly so many, of people and of bots each, whoever adds to it."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.links.clicks.batches import Store
from services.links.clicks.counts import EnrichedClick
from services.links.clicks.enrichment import Enricher
from services.links.clicks.packing import pack_clicks
from services.links.clicks.rows import insert_clicks
from services.links.packed.days import DAY_US, FEW_CLICKS, MOST_VALUES_OF_LINK, MOST_VALUES_OF_OWNER, OTHER, DayCounts
from services.links.packed.erasing import erase_some, insert_erasure
from services.links.packed.moving import CountMover
from shared.api import Dimensions
from shared.clicks import Click
from shared.postgres import Connection
from tests.links.click_data import GOOGLEBOT, IPHONE, NOON, click, make_links, take
from tests.links.packed_data import select_counts, select_raw

LINKS = MOST_VALUES_OF_OWNER // MOST_VALUES_OF_LINK
"""So many links fill an owner's day when each fills its own."""

AGENTS = (IPHONE, GOOGLEBOT)


def clicks_of(ids: Sequence[int], numbers: range) -> list[Click]:
    """A click of a person and one of a bot for each number, from a site of its own for each link."""
    return [
        click(link, at=NOON, agent=agent, referrer=b"https://site-%d-of-%d.example/" % (number, link))
        for link in ids
        for number in numbers
        for agent in AGENTS
    ]


async def move_all(conn: Connection) -> None:
    mover = CountMover()
    while await mover.move_some(conn):
        pass


async def referrers(conn: Connection) -> dict[tuple[object, bool], tuple[int, int]]:
    """How many values each packed day names, and the clicks of others, by whose it is and whether bots clicked."""
    found = {}
    for row in await conn.fetch("SELECT link_id, owner, counts FROM click_days"):
        for is_bot in (False, True):
            values = DayCounts(row["counts"]).values("referrer", is_bot)
            found[row["link_id"] or row["owner"], is_bot] = (len(values.keys() - {OTHER}), values.get(OTHER, 0))
    return found


@pytest.mark.parametrize("first", [insert_clicks, pack_clicks], ids=["moved", "packed"])
@pytest.mark.parametrize("second", [insert_clicks, pack_clicks], ids=["moved", "packed"])
async def test_a_day_names_exactly_as_many_values_as_it_may(
    links: Connection, enricher: Enricher, first: Store, second: Store
) -> None:
    """The last value that there is room for has a name; the next one, in another batch, counts with the others."""
    ids = await make_links(links, LINKS)
    kinds = [(whose, is_bot) for whose in (*ids, "alice") for is_bot in (False, True)]
    await take(links, enricher, clicks_of(ids, range(MOST_VALUES_OF_LINK)), store=first)
    await move_all(links)
    at_the_bound = await referrers(links)
    # One value that has a name, and one that has none.
    await take(links, enricher, clicks_of(ids, range(MOST_VALUES_OF_LINK - 1, MOST_VALUES_OF_LINK + 1)), store=second)
    await move_all(links)
    past_it = await referrers(links)
    counts = await select_counts(links)

    named = {whose: MOST_VALUES_OF_OWNER if whose == "alice" else MOST_VALUES_OF_LINK for whose, _ in kinds}
    assert at_the_bound == {(whose, is_bot): (named[whose], 0) for whose, is_bot in kinds}
    assert past_it == {(whose, is_bot): (named[whose], LINKS if whose == "alice" else 1) for whose, is_bot in kinds}
    of_referrers = Counter[object]()
    for (whose, _, dimension, _, is_bot), clicks in counts.values.items():
        of_referrers[whose, is_bot] += clicks if dimension == "referrer" else 0
    each = MOST_VALUES_OF_LINK + 2
    assert of_referrers == {(whose, is_bot): each * (LINKS if whose == "alice" else 1) for whose, is_bot in kinds}


@given(
    values=st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=4 * FEW_CLICKS),
    sizes=st.lists(st.integers(1, 2 * FEW_CLICKS), min_size=1),
)
def test_values_have_names_in_the_order_in_which_they_come(values: list[tuple[int, bool]], sizes: list[int]) -> None:
    """However clicks are split into batches, the first values of people and of bots have names; all others count together."""
    most, counts, left = 4, DayCounts(), [_click(f"{number}", is_bot) for number, is_bot in values]
    for size in sizes * len(left):
        if left:
            counts.add_clicks(left[:size], most)
            left = left[size:]

    for is_bot in (False, True):
        mine = [f"{number}" for number, kind in values if kind is is_bot]
        named = list(dict.fromkeys(mine))[:most]
        for name in Dimensions._fields:
            assert counts.values(name, is_bot) == Counter(each if each in named else OTHER for each in mine)


@given(
    clicks=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3), st.booleans()), min_size=10, max_size=60),
    order=st.permutations([1, 2, 3]),
)
def test_links_are_taken_out_of_an_owners_full_day_one_by_one(
    clicks: list[tuple[int, int, bool]], order: list[int]
) -> None:
    """In whatever order, also if clicks come between, no count of a value is below zero, and in the end there is none."""
    most, day, of_links = 4, DayCounts(), {link: DayCounts() for link in order}

    def add(is_late: bool) -> None:
        for number, link, late in clicks:
            if late is is_late and link in of_links:
                for counts, bound in ((day, most), (of_links[link], len(clicks))):
                    counts.add_clicks([_click(f"{number}", is_bot=False)], bound)

    add(is_late=False)
    for link in order:
        day.subtract(of_links.pop(link), most)
        assert all(count > 0 for name in Dimensions._fields for count in day.values(name, is_bot=False).values())
        add(is_late=True)

    assert day.clicks(is_bot=False) == 0
    assert not any(day.values(name, is_bot=False) for name in Dimensions._fields)


async def test_erased_values_without_names_leave_the_owner_none(
    links: Connection, enricher: Enricher, store: Store
) -> None:
    """A link's day may have no names for values that its owner's has: once erased, none of them is left there."""
    gone, other = await make_links(links, 2)
    for numbers in (range(MOST_VALUES_OF_LINK), range(MOST_VALUES_OF_LINK - 20, MOST_VALUES_OF_LINK + 50)):
        await take(links, enricher, clicks_of([gone, other], numbers), store=store)
        await move_all(links)
    await insert_erasure(links, gone, "alice")
    while await erase_some(links):
        pass
    left = (await select_counts(links)).values
    raw = await select_raw(links)

    assert {each.link_id for each in raw} == {other}
    of_owner = {
        (value, is_bot): clicks
        for (whose, _, dimension, value, is_bot), clicks in left.items()
        if (whose, dimension) == ("alice", "referrer") and clicks
    }
    assert of_owner == Counter((each.dimensions.referrer, each.is_bot) for each in raw)


def _click(value: str, is_bot: bool) -> EnrichedClick:
    return EnrichedClick(20_000 * DAY_US, 1, "alice", None, is_bot, Dimensions(*[value] * len(Dimensions._fields)))
