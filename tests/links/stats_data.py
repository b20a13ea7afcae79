"""Clicks whose every detail is known, and statistics of them as counting one by one gives them."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from services.links.clicks.batches import Store
from services.links.clicks.counts import EnrichedClick
from services.links.clicks.packing import pack_clicks
from services.links.clicks.rows import insert_clicks
from shared.api import UNKNOWN, Dimensions
from tests.conftest import Database
from tests.links.click_data import make_links

FIRST = datetime(2026, 10, 20, tzinfo=UTC)
DAYS = 10
"""The days around the end of summer time in Europe."""

LINKS = 3
"""`alice1` to `alice3`, of alice; bob has as many."""

COUNT = 900


@dataclass(frozen=True)
class Known:
    """A click; without a visitor nothing told who it was."""

    at: datetime
    link: str
    owner: str
    visitor: int | None
    is_bot: bool
    dimensions: Dimensions
    imported: bool = False


STORES: dict[str, tuple[Store, ...]] = {
    "rows": (insert_clicks,),
    "packed": (pack_clicks,),
    "both": (insert_clicks, pack_clicks, pack_clicks, insert_clicks),
}
"""Who stores which batch."""


async def store_clicks(database: Database, stores: Sequence[Store] = STORES["rows"]) -> list[Known]:
    """Make links and click them, always in the same way, some of it exactly on the edges of quarters, hours and days."""
    choose = random.Random(4)
    clicks = [_click(choose) for _ in range(COUNT)]
    conn = await asyncpg.connect(database.links_url)
    owners = [("alice", await make_links(conn, LINKS)), ("bob", await make_links(conn, LINKS, owner="bob"))]
    ids = {f"{owner}{number}": link for owner, links in owners for number, link in enumerate(links, 1)}
    enriched = [
        EnrichedClick(
            int(click.at.timestamp()) * 1_000_000,
            ids[click.link],
            click.owner,
            f"{click.at:%d} {click.visitor}".encode().ljust(16),
            click.is_bot,
            click.dimensions,
        )
        for click in clicks
    ]
    for number, store in enumerate(stores):
        async with conn.transaction():
            await store(conn, enriched[number :: len(stores)])
    await conn.close()
    return clicks


def unique_visitors(clicks: Sequence[Known]) -> int:
    """How many there were each day, added up; over the links of several owners once for each owner.

    Nothing tells that somebody came here and, as another shortener counted, there.
    """
    told = [click for click in clicks if click.visitor is not None]
    return len({(click.at.date(), click.owner, click.visitor, click.imported) for click in told})


def top_values(wanted: Sequence[Known], dimension: str, top: int) -> list[tuple[str, int]]:
    """The most frequent values among the clicks that are wanted, by frequency and then by name."""
    counter = Counter(getattr(click.dimensions, dimension) for click in wanted)
    if dimension == "variant":
        del counter[UNKNOWN]
    return sorted(counter.items(), key=lambda item: (-item[1], item[0].encode()))[:top]


def _click(choose: random.Random) -> Known:
    minutes = choose.randrange(DAYS * 24 * 60)
    if choose.random() < 0.2:
        minutes -= minutes % choose.choice([15, 60, 24 * 60])
    owner = choose.choice(["alice", "alice", "bob"])
    visitor = choose.randrange(12)
    return Known(
        at=FIRST + timedelta(minutes=minutes),
        link=f"{owner}{choose.randint(1, LINKS)}",
        owner=owner,
        visitor=visitor,
        is_bot=visitor % 4 == 0,
        dimensions=Dimensions(
            country=choose.choice(["DE", "DE", "FR", "unknown"]),
            browser=choose.choice(["Firefox", "Chrome", "Safari", "Edge", "curl"]),
            os=choose.choice(["Windows", "Linux", "Älteres"]),
            device=choose.choice(["desktop", "mobile"]),
            referrer=choose.choice(["direct", *(f"{letter}.example" for letter in "abcdefgh")]),
            language=choose.choice(["de", "en", "=cmd|'/C calc'!A0"]),
            variant=choose.choice([UNKNOWN, UNKNOWN, "rule 1", "Ünï / b"]),
        ),
    )
