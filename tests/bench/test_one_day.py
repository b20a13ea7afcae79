"""What `tinyurl bench --one-day` says of a click is true of every click of the last tenth."""

import tempfile
from pathlib import Path

from tests.bench.one_day import Cost, Kind, Size, make_clicks, measure_one_day, show_costs

CLICKS = 3_000


async def test_every_click_of_each_day_is_stored_and_has_its_cost() -> None:
    """Each of three days has all its clicks in its links; what the last tenth cost is above nothing."""
    with tempfile.TemporaryDirectory(prefix="tinyurl-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        costs = await measure_one_day(Path(name), Size(clicks=CLICKS, visitors=500), links=50)

    assert [each.stored for each in costs] == [CLICKS] * 3
    assert [each.deadlocks for each in costs] == [0] * 3
    assert all(min(each.worker_us, each.postgres_us, each.wal_bytes, each.dead_bytes) > 0 for each in costs)


def test_parts_of_a_day_are_other_clicks_of_the_same_day() -> None:
    """Two workers make each click of a part once, in the order of time, and none of the next day."""
    kind = Kind("two links", links=2, owners=1, visitors=100)
    one, other = (list(make_clicks(kind, range(number, CLICKS, 2), CLICKS)) for number in range(2))
    times = [click.time_us for pair in zip(one, other, strict=True) for click in pair]

    assert times == sorted(set(times))
    assert len(times) == CLICKS
    assert len({time // 86_400_000_000 for time in times}) == 1
    assert {click.link_id for click in one} == {1, 2}


def test_costs_are_compared_with_the_first_line() -> None:
    """CPU, WAL and dead bytes of a line are shown as times those of the first one."""
    shown = show_costs([Cost("zipf", 10, 2.0, 6.0, 100, 10, 0), Cost("one link", 10, 4.0, 8.0, 50, 30, 1)])

    assert shown.splitlines()[2].split() == [
        *("one", "link", "4.0", "8.0", "1.50", "50", "0.50", "30", "3.00", "1"),
        *("10", "clicks"),
    ]
