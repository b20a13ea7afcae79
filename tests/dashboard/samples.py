"""Links and clicks as a small team has them after a month, for pictures: always the same, up to now."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from services.links.clicks.counts import EnrichedClick
from shared.api import Dimensions
from shared.postgres import Connection
from tests.dashboard.site import DashboardSite

KEYS = (("team", "Newsletter", ("links:read", "links:write")), ("press", "Wall screen", ("stats:read",)))

DAYS = 30
VISITORS = 60
COUNT = 1_400

LINKS: Sequence[tuple[str, str, str, Sequence[str], int]] = (
    ("spring", "https://www.example.com/sale/spring?utm_source=newsletter", "Spring sale", ("newsletter",), 9),
    ("handbook", "https://docs.example.com/handbook/", "Team handbook", ("docs", "team"), 5),
    ("talk", "https://video.example.org/watch/deploying-without-downtime", "Talk: no downtime", ("events",), 7),
    ("menu", "https://www.example.net/lunch", "Lunch menu", ("poster", "team"), 3),
    ("jobs", "https://www.example.com/careers", "Open positions", ("poster",), 4),
    ("feedback", "https://forms.example.org/feedback-2026", "Feedback form", ("newsletter", "events"), 2),
    ("wifi", "https://www.example.net/guests", "Wi-Fi for guests", ("poster",), 2),
    ("status", "https://status.example.com/", "Status page", ("docs",), 1),
)
"""Code, target, title, tags, and how much it is followed, relative to the others."""

COUNTRIES = {"DE": 34, "US": 22, "FR": 11, "GB": 9, "IN": 7, "BR": 5, "JP": 4, "PL": 3, "AU": 2, "ZA": 1, "unknown": 2}
BROWSERS = {"Chrome": 40, "Safari": 26, "Firefox": 19, "Edge": 9, "Samsung Internet": 3}
SYSTEMS = {"desktop": {"Windows": 5, "Mac OS X": 3, "Linux": 2}, "mobile": {"iOS": 4, "Android": 6}}
REFERRERS = {
    "unknown": 30,
    "news.example.org": 18,
    "social.example.net": 15,
    "search.example.com": 12,
    "chat.example.io": 6,
}
LANGUAGES = {"de": 35, "en": 40, "fr": 11, "pt": 5, "ja": 4}


def store_samples(site: DashboardSite) -> None:
    """Make the links and some keys, and store a month of clicks."""
    for owner, name, scopes in KEYS:
        site.key(owner, *scopes, name=name)
    links: list[dict[str, object]] = [
        {"code": code, "url": url, "title": title, "tags": tags} for code, url, title, tags, _ in LINKS
    ]
    made = site.create(site.stack.api_key, links)
    owner = made[0]["owner"]

    async def read_ids(conn: Connection) -> dict[str, int]:
        return {row["code"]: row["id"] for row in await conn.fetch("SELECT code, id FROM links")}

    ids = site.query(read_ids)
    choose = random.Random(7)
    now = datetime.now(UTC)
    site.store_clicks([_click(choose, now, ids, owner) for _ in range(COUNT)])


def _click(choose: random.Random, now: datetime, ids: dict[str, int], owner: str) -> EnrichedClick:
    # More from day to day, and less on weekends.
    at = now - timedelta(days=DAYS * (1 - choose.random() ** 0.7))
    if at.weekday() > 4 and choose.random() < 0.6:
        at = min(at + timedelta(days=2), now)
    device = _one_of(choose, {"desktop": 6, "mobile": 5})
    visitor = choose.randrange(VISITORS)
    return EnrichedClick(
        time_us=int(at.timestamp() * 1_000_000),
        link_id=ids[_one_of(choose, {code: weight for code, _, _, _, weight in LINKS})],
        owner=owner,
        visitor=f"{at:%d} {visitor}".encode(),
        is_bot=visitor % 9 == 0,
        dimensions=Dimensions(
            country=_one_of(choose, COUNTRIES),
            browser=_one_of(choose, BROWSERS),
            os=_one_of(choose, SYSTEMS[device]),
            device=device,
            referrer=_one_of(choose, REFERRERS),
            language=_one_of(choose, LANGUAGES),
        ),
    )


def _one_of(choose: random.Random, weights: dict[str, int]) -> str:
    return choose.choices(list(weights), list(weights.values()))[0]
