"""Clicks as the redirect service hands them over, links for them, and what is in the tables afterwards."""

from collections.abc import Sequence
from datetime import UTC, datetime
from time import time
from uuid import uuid4

import asyncpg

from services.links.clicks.batches import Store, take_batch
from services.links.clicks.enrichment import Enricher
from services.links.clicks.pipe import TakenBatch
from services.links.clicks.rows import insert_clicks
from shared.clicks import Click, ClickParts
from shared.journal import pack_record
from shared.postgres import Connection

CHROME = (
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)
IPHONE = (
    b"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    b"Version/17.4 Mobile/15E148 Safari/604.1"
)
GOOGLEBOT = b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

FIRST_OFFSET = 16
DAY_S = 86_400
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()

COUNTS = (
    "click_totals_by_link",
    "click_totals_by_owner",
    "click_dimensions_by_link",
    "click_dimensions_by_owner",
    "click_uniques_by_link",
    "click_uniques_by_owner",
)


def click(
    link_id: int,
    *,
    at: float | None = None,
    address: bytes | None = b"203.0.113.7",
    agent: bytes | None = CHROME,
    referrer: bytes | None = None,
    language: bytes | None = None,
    variant: bytes | None = None,
) -> Click:
    parts = ClickParts(address=address, agent=agent, referrer=referrer, language=language, variant=variant)
    return time() if at is None else at, link_id, parts


def records(*ticks: Sequence[Click]) -> bytes:
    """The bytes of a journal after its header."""
    return b"".join(pack_record(tick) for tick in ticks)


async def make_links(conn: Connection, count: int, owner: str = "alice") -> list[int]:
    rows = await conn.fetch(
        """
        INSERT INTO links (domain, code, owner, url)
        SELECT 'sho.rt', $1 || n, $1, 'https://www.example.com/' FROM generate_series(1, $2) AS n RETURNING id
        """,
        owner,
        count,
    )
    return [row["id"] for row in rows]


async def take(conn: Connection, enricher: Enricher, *ticks: list[Click], store: Store = insert_clicks) -> TakenBatch:
    """Take clicks as one batch of a new segment."""
    return await take_batch(conn, enricher, uuid4(), FIRST_OFFSET, records(*ticks), store=store)


async def check_sums(conn: Connection) -> int:
    """Check that for each link and day, and for each owner and day, every count adds up to the raw clicks.

    Returns:
        How many raw clicks there are.
    """
    for whose, counts in (("link_id", "by_link"), ("owner", "by_owner")):
        raw = await _pairs(
            conn,
            f"SELECT {whose}, (clicked_at AT TIME ZONE 'UTC')::date, is_bot, count(*) FROM clicks GROUP BY 1, 2, 3",
        )
        totals = f"SELECT {whose}, (slot AT TIME ZONE 'UTC')::date, is_bot, sum(clicks) FROM click_totals_{counts}"
        assert await _pairs(conn, totals + " GROUP BY 1, 2, 3") == raw
        for dimension in ("country", "browser", "os", "device", "referrer", "language"):
            sums = f"SELECT {whose}, day, is_bot, sum(clicks) FROM click_dimensions_{counts} WHERE dimension = $1"
            assert await _pairs(conn, sums + " GROUP BY 1, 2, 3", dimension) == raw, dimension
            by_value = (
                f"SELECT {whose}, (clicked_at AT TIME ZONE 'UTC')::date, is_bot, {dimension}, count(*) FROM clicks"
            )
            kept = f"SELECT {whose}, day, is_bot, value, clicks FROM click_dimensions_{counts} WHERE dimension = $1"
            assert await _pairs(conn, kept, dimension) == await _pairs(conn, by_value + " GROUP BY 1, 2, 3, 4")
        by_variant = f"SELECT {whose}, (clicked_at AT TIME ZONE 'UTC')::date, is_bot, variant, count(*) FROM clicks"
        kept = f"SELECT {whose}, day, is_bot, value, clicks FROM click_dimensions_{counts} WHERE dimension = 'variant'"
        assert await _pairs(conn, kept) == await _pairs(
            conn, by_variant + " WHERE variant IS NOT NULL GROUP BY 1, 2, 3, 4"
        )
        visitors = f"""
            SELECT {whose}, (clicked_at AT TIME ZONE 'UTC')::date, is_bot, count(DISTINCT visitor) FROM clicks
            WHERE visitor IS NOT NULL GROUP BY 1, 2, 3
        """
        assert await _pairs(conn, f"SELECT {whose}, day, is_bot, visitors FROM click_uniques_{counts}") == await _pairs(
            conn, visitors
        )
    by_slot = "SELECT link_id, date_bin('15 minutes', clicked_at, '2000-01-01 00:00Z'), is_bot, count(*) FROM clicks"
    kept = "SELECT link_id, slot, is_bot, clicks FROM click_totals_by_link"
    assert await _pairs(conn, kept) == await _pairs(conn, by_slot + " GROUP BY 1, 2, 3")
    in_lists = await _pairs(conn, "SELECT id, clicks FROM links WHERE clicks > 0")
    assert in_lists == await _pairs(conn, "SELECT link_id, count(*) FROM clicks GROUP BY 1")
    total: int = await conn.fetchval("SELECT count(*) FROM clicks")
    return total


async def _pairs(conn: Connection, query: str, *arguments: object) -> dict[tuple[object, ...], int]:
    rows: list[asyncpg.Record] = await conn.fetch(query, *arguments)
    return {tuple(row)[:-1]: int(row[-1]) for row in rows}
