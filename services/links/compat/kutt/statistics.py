"""The statistics of a link as Kutt has them: four spans of time, each with its clicks by browser, system, country and referrer.

As at Kutt, known bots are not counted.
"""

from datetime import UTC, datetime, timedelta

from services.links.stats.forms import DimensionOut, StatsOut, StatsQuery
from services.links.stats.routes import count_clicks
from services.links.stats.scopes import StatsScope
from shared.postgres import Connection

NAMED = 50
"""How many values of each kind are named."""

_LOWER = ("browser", "os", "country")


async def count_spans(conn: Connection, link_id: int) -> dict[str, object]:
    """Count the clicks of the last 24 hours, 7 days, 30 days and 12 months; the interval that runs is the last one of each."""
    return {
        name: _span(await count_clicks(conn, StatsScope(link_id=link_id), query))
        for name, query in _questions(datetime.now(UTC)).items()
    }


def _questions(now: datetime) -> dict[str, StatsQuery]:
    hour = now.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    month = (
        day.replace(year=day.year - 1, month=day.month + 1, day=1) if day.month < 12 else day.replace(month=1, day=1)
    )
    spans = {
        "lastDay": ("hour", hour - timedelta(hours=23)),
        "lastWeek": ("day", day - timedelta(days=6)),
        "lastMonth": ("day", day - timedelta(days=29)),
        "lastYear": ("month", month),
    }
    return {
        name: StatsQuery.model_validate({"from": since, "interval": interval, "bots": "exclude", "top": NAMED})
        for name, (interval, since) in spans.items()
    }


def _span(counted: StatsOut) -> dict[str, object]:
    stats = {name: _values(name, counted.dimensions[name]) for name in (*_LOWER, "referrer")}
    return {"stats": stats, "views": [each.clicks for each in counted.series], "total": counted.totals.clicks}


def _values(dimension: str, counted: DimensionOut) -> list[dict[str, object]]:
    named = [(each.value.lower() if dimension in _LOWER else each.value, each.clicks) for each in counted.top]
    others = [("other", counted.other.clicks)] if counted.other.clicks else []
    return [{"name": name, "value": clicks} for name, clicks in (*named, *others)]
