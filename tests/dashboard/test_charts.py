"""Charts from counts: what they draw, and that a text in them stays a text."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.dashboard.pages.statistics.charts import clicks_over_time, top_values, value_name, world_map
from shared.api import Bots
from shared.client import Bucket, Dimension, OtherCount, ValueCount

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOTHING = OtherCount(0, 0, 0)
HOSTILE = ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "{{constructor}}"]


def rows(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The values that a chart draws; Altair keeps them beside it under a name."""
    found: list[dict[str, Any]] = spec["datasets"][spec["data"]["name"]]
    return found


@pytest.mark.parametrize(
    ("bots", "parts"), [("include", {"Humans", "Bots"}), ("exclude", {"Humans"}), ("only", {"Bots"})]
)
def test_a_series_has_a_bar_for_every_interval_and_part(bots: Bots, parts: set[str]) -> None:
    """Humans and bots are stacked, or one of them alone; the times are exact, the words in the viewer's zone."""
    series = [Bucket(NOON + timedelta(hours=n), 2 * n + 1, n, n + 1) for n in range(3)]
    chart = clicks_over_time(series, "hour", ZoneInfo("Asia/Tokyo"), bots, NOON + timedelta(hours=3))
    drawn = rows(chart.to_dict())

    assert {row["part"] for row in drawn} == parts
    assert sorted({row["start"] for row in drawn}) == [round(each.start.timestamp() * 1000) for each in series]
    assert drawn[0]["when"] == "Tue 24 Nov 2026, 21:00"
    assert all(row["start"] < row["end"] <= row["start"] + 3_600_000 for row in drawn)
    assert {row["clicks"] for row in drawn if row["part"] == "Bots"} <= {1, 2, 3}


def test_a_bar_is_as_wide_as_its_interval() -> None:
    """A day of 25 hours and a month of 31 days get bars of their own length, the last one ends with the range."""
    days = [datetime(2026, 10, day, tzinfo=ZoneInfo("Europe/Berlin")) for day in (24, 25, 26)]
    chart = clicks_over_time(
        [Bucket(day, 1, 1, 0) for day in days],
        "day",
        ZoneInfo("Europe/Berlin"),
        "exclude",
        days[2] + timedelta(hours=6),
    )
    widths = [(row["end"] - row["start"]) / 3_600_000 for row in rows(chart.to_dict())]

    assert widths == pytest.approx([24 * 0.85, 25 * 0.85, 6 * 0.85])


def test_an_empty_series_is_a_chart() -> None:
    """No interval at all is drawn as nothing, not as an error."""
    assert rows(clicks_over_time([], "day", UTC, "include", NOON).to_dict()) == []


def test_the_values_of_a_dimension_keep_their_order() -> None:
    """The first value is on top, all others are last, and countries have names."""
    dimension = Dimension(
        (ValueCount("DE", 9, 8, 1), ValueCount("ZZ", 5, 5, 0), ValueCount("unknown", 1, 0, 1)), OtherCount(3, 2, 1)
    )
    spec = top_values(dimension, "country", "exclude").to_dict()

    assert [(row["value"], row["clicks"]) for row in rows(spec)] == [
        ("Germany", 8),
        ("ZZ", 5),
        ("Unknown", 0),
        ("All others", 2),
    ]
    assert spec["encoding"]["y"]["sort"] == {"field": "rank", "order": "ascending"}


def test_a_map_has_the_countries_that_clicked() -> None:
    """Countries are joined to their shapes by code; where all are unknown there is no map."""
    dimension = Dimension((ValueCount("DE", 9, 8, 1), ValueCount("unknown", 4, 4, 0)), NOTHING)
    chart = world_map(dimension, "exclude")
    assert chart is not None
    spec = chart.to_dict()
    joined = spec["datasets"][spec["layer"][1]["transform"][0]["from"]["data"]["name"]]
    shapes = spec["datasets"][spec["data"]["name"]]["objects"]["countries"]["geometries"]

    assert joined == [{"id": "DE", "name": "Germany", "clicks": 8}]
    assert {"DE", "US", "XK"} < {shape.get("id") for shape in shapes}
    assert world_map(Dimension((ValueCount("unknown", 4, 4, 0),), NOTHING), "include") is None
    assert world_map(Dimension((ValueCount("DE", 1, 0, 1),), NOTHING), "exclude") is None


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_of_a_visitor_is_data_and_nothing_else(text: str) -> None:
    """A referrer is a value that is drawn; it is in no expression, no link, no image and no title of the chart."""
    spec = top_values(Dimension((ValueCount(text, 1, 1, 0),), NOTHING), "referrer", "include").to_dict()
    drawn = {row.pop("value") for row in rows(spec)}

    assert drawn == {value_name(text, "referrer")}
    assert text[:10] not in json.dumps(spec)
    assert not {"href", "url", "image"} & set(spec["encoding"])


def test_no_chart_asks_another_host() -> None:
    """All data is in the chart; the browser is given no address to fetch."""
    dimension = Dimension((ValueCount("DE", 9, 8, 1),), NOTHING)
    chart = world_map(dimension, "include")
    assert chart is not None
    text = json.dumps([chart.to_dict(), top_values(dimension, "country", "include").to_dict()])

    assert text.replace("https://vega.github.io/schema/", "").count("://") == 0
    assert '"url"' not in text
