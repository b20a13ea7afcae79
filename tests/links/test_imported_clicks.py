"""Imported clicks: beside own ones, every number is what counting one by one gives, and all of it can be taken away again."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.links.clicks.batches import Store
from services.links.clicks.packing import pack_clicks
from services.links.clicks.rows import insert_clicks
from services.links.packed.erasing import erase_some
from services.links.packed.merging import merge_some
from services.links.packed.moving import CountMover
from services.links.sources.found import FoundCounts
from shared.api import UNKNOWN, Dimensions
from shared.postgres import Connection
from tests.links.conftest import ClientOf
from tests.links.imported_data import TODAY, Moved, check_numbers, move_in
from tests.links.stats_data import DAYS, FIRST, Known
from tests.links.test_packed_merging import small_steps as small_steps  # noqa: PLC0414  # a fixture
from tests.links.test_stats import ask, check, questions, ranges

OLD = FIRST - timedelta(days=3000)

_names = st.sampled_from(["1", "2", "3"])
_seconds = st.integers(0, DAYS * 86_400 - 1).map(lambda seconds: FIRST + timedelta(seconds=seconds))
_dimensions = st.builds(
    Dimensions,
    *[st.sampled_from(["a", "b", "c"])] * (len(Dimensions._fields) - 1),
    st.sampled_from([UNKNOWN, "rule 1"]),
)


def _clicks(*, imported: bool) -> st.SearchStrategy[list[Known]]:
    # A visitor is always the same agent, so a bot or none.
    who = st.tuples(st.none(), st.booleans()) | st.integers(1, 5).map(lambda number: (number, number % 4 == 0))
    click = st.builds(
        lambda at, link, who, dimensions: Known(at, link, "", who[0], who[1], dimensions, imported),
        _seconds,
        _names,
        who,
        _dimensions,
    )
    return st.lists(click, max_size=12)


def _split(values: st.SearchStrategy[list[str]]) -> st.SearchStrategy[dict[str, int]]:
    return values.map(lambda some: {value: some.count(value) for value in dict.fromkeys(some)})


@st.composite
def _counts(draw: st.DrawFn) -> tuple[str, FoundCounts]:
    is_hour = draw(st.booleans())
    clicks = draw(st.integers(0, 6))
    since = FIRST + timedelta(days=draw(st.integers(0, DAYS - 1)), hours=draw(st.integers(0, 23)) if is_hour else 0)
    named = st.lists(st.sampled_from(["DE", "FR", UNKNOWN]), max_size=clicks)
    return draw(_names), FoundCounts(
        1,
        "",
        since,
        clicks,
        is_hour=is_hour,
        bots=draw(st.integers(0, clicks)),
        values={"country": draw(_split(named))},
    )


_totals = st.dictionaries(_names, st.tuples(st.integers(0, 20), st.none() | st.integers(0, 20)), max_size=3)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just(insert_clicks), _clicks(imported=False)),
        st.tuples(st.just(pack_clicks), _clicks(imported=False)),
        st.tuples(st.just("visits"), _clicks(imported=True)),
        st.tuples(st.sampled_from(["move", "merge"]), st.just([])),
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture
async def admin(client_with: ClientOf) -> httpx.AsyncClient:
    return await client_with("root", "admin")


async def take_steps(moved: Moved, steps: list[tuple[Store | str, list[Known]]]) -> None:
    for kind, clicks in steps:
        if kind == "visits":
            await moved.bring(visits=clicks)
        elif kind == "merge":
            await merge_some(moved.conn, TODAY)
        elif kind == "move":
            await CountMover().move_some(moved.conn)
        else:
            assert not isinstance(kind, str)
            await moved.click(clicks, kind)


async def check_answers(
    client: httpx.AsyncClient, moved: Moved, between: tuple[datetime, datetime], question: dict[str, Any]
) -> None:
    """Check the statistics of a link and of its owner, with imported clicks, without them, and of them alone."""
    for imported in ("include", "exclude", "only"):
        wanted = [each for each in moved.clicks if imported == "include" or each.imported == (imported == "only")]
        within = [each for each in wanted if between[0] <= each.at < between[1]]
        asked = {**question, "between": between, "imported": imported}
        of_link = await ask(client, moved.path("1", "stats"), **asked)
        check(of_link, [each for each in within if each.link == "1"], question)
        of_owner = await ask(client, "/api/v1/stats", owner=moved.owner, **asked)
        check(of_owner, within, question)
        left = 0 if imported == "exclude" else moved.left.get("1", 0)
        assert of_link["undated"]["humans"] + of_link["undated"]["bots"] == left
        left = 0 if imported == "exclude" else sum(moved.left.values())
        assert of_owner["undated"]["humans"] + of_owner["undated"]["bots"] == left


async def list_clicks(client: httpx.AsyncClient, moved: Moved, link: str, **params: Any) -> list[tuple[object, ...]]:
    """All raw clicks of a link, read in small pages: their times, and whether they are bots' and imported."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get(moved.path(link, "clicks"), params={"limit": 4, **params, **cursor})).json()
        items += page["items"]
        if page["next_cursor"] is None:
            return [(each["clicked_at"], each["is_bot"], each["imported"]) for each in items]
        cursor = {"cursor": page["next_cursor"]}


def raw_clicks(clicks: list[Known]) -> list[tuple[object, ...]]:
    return [(f"{each.at:%Y-%m-%dT%H:%M:%SZ}", each.is_bot, each.imported) for each in clicks]


@given(totals=_totals, steps=_steps, between=ranges, question=questions, undone=st.sets(_names))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("small_steps")
async def test_statistics_are_own_and_imported_clicks(  # noqa: PLR0917  # drawn
    admin: httpx.AsyncClient,
    links: Connection,
    totals: dict[str, tuple[int, int | None]],
    steps: list[tuple[Store | str, list[Known]]],
    between: tuple[datetime, datetime],
    question: dict[str, Any],
    undone: set[str],
) -> None:
    """However own clicks and visits alternate, both are counted and told apart, and listed; undone, only own ones are left."""
    moved = await move_in(links)
    await moved.bring(totals)
    await take_steps(moved, steps)

    await check_answers(admin, moved, between, question)
    await check_numbers(moved)
    for imported in ("include", "exclude", "only"):
        wanted = [each for each in moved.clicks if imported == "include" or each.imported == (imported == "only")]
        listed = await list_clicks(admin, moved, "1", imported=imported)
        assert sorted(listed) == sorted(raw_clicks([each for each in wanted if each.link == "1"]))
        assert listed == sorted(listed, key=lambda item: str(item[0]), reverse=True)

    await moved.take_back(undone)
    while await erase_some(links):
        pass
    await check_numbers(moved)
    for link in moved.links:
        assert sorted(await list_clicks(admin, moved, link)) == sorted(
            raw_clicks([each for each in moved.clicks if each.link == link])
        )
    if undone >= {each.link for each in moved.clicks if each.imported} | {name for name, n in moved.left.items() if n}:
        await moved.take_back(moved.links)
        await check_answers(admin, moved, between, question)


@given(
    totals=_totals,
    counts=st.lists(_counts(), min_size=1, max_size=8),
    visits=_clicks(imported=True),
    own=_clicks(imported=False),
    days=st.tuples(st.integers(0, DAYS - 1), st.integers(1, DAYS)),
    question=questions,
    undone=st.sets(_names),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_counts_and_old_visits_are_counted_by_day(  # noqa: PLR0917  # drawn
    admin: httpx.AsyncClient,
    links: Connection,
    totals: dict[str, tuple[int, int | None]],
    counts: list[tuple[str, FoundCounts]],
    visits: list[Known],
    own: list[Known],
    days: tuple[int, int],
    question: dict[str, Any],
    undone: set[str],
) -> None:
    """Hourly and daily counts are clicks of their hours and days; of days past the retention no raw click is stored."""
    moved = await move_in(links)
    moved.kept_days = 4
    await moved.bring(totals, visits[:5], counts[:3])
    await moved.click(own, pack_clicks)
    await moved.bring(None, visits[5:], counts[3:])
    since = FIRST + timedelta(days=days[0])
    between = since, since + timedelta(days=days[1])
    kept = TODAY - timedelta(days=4)

    await check_answers(admin, moved, between, question | {"time_zone": "UTC"})
    await check_numbers(moved)
    listed = await list_clicks(admin, moved, "1", imported="only")
    raw = [each for each in moved.clicks if each.imported and each.link == "1" and each.at.date() >= kept]
    counted = [each for each in raw if each.visitor is None]
    assert len(raw) - len(counted) <= len(listed) <= len(raw)

    await moved.take_back(undone)
    await check_numbers(moved)
    if undone == set(moved.links):
        await check_answers(admin, moved, between, question | {"time_zone": "UTC"})
