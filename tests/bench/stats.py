"""Statistics with very many clicks: fills a database of its own with them, and asks the write service questions.

How many clicks each link had on each day goes in through COPY; Postgres makes the clicks of it. They are left as the click
worker and the upkeep would have: as rows, by Postgres too, or packed (`packed_days.py`).
"""

import asyncio
import os
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path
from time import perf_counter

import asyncpg
import httpx

from deploy.local.database import prepare
from deploy.local.postgres import OWNER, ROLES, SUPERUSER, Postgres
from deploy.local.services import service
from deploy.local.supervisor import Supervisor
from services.links.clicks.upkeep import SORTED_AFTER_DAYS
from services.links.keys.rows import create_key
from tests.bench.packed_days import fill_day

SEED = 4
DAYS = 90
FILLED_AT_ONCE = 2
QUESTIONS = 100
ASKED_AT_ONCE = 2

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu")
RANGES_DAYS = (1, 7, 30, 90)

_TIMEOUT_S = 3600


@dataclass(frozen=True)
class Size:
    """How much there is; a tenth of the clicks are those of one link."""

    clicks: int
    links: int


FULL = Size(clicks=50_000_000, links=100_000)
QUICK = Size(clicks=500_000, links=10_000)


@dataclass(frozen=True)
class Answers:
    """How long the questions of one kind took, milliseconds."""

    name: str
    questions: int
    p50_ms: float
    p95_ms: float
    longest_ms: float


async def measure_statistics(folder: Path, size: Size, say: Callable[[str], None], *, packed: bool) -> list[Answers]:
    """Fill a database and ask: one link after the other, the link with a tenth of the clicks, all of them."""
    sockets = folder / "postgres-socket"
    sockets.mkdir()
    sockets.chmod(0o777)
    passwords = dict.fromkeys((SUPERUSER, OWNER, *ROLES), "benchmark")
    postgres = Postgres(folder / "postgres", sockets, passwords, durable=False, shared_buffers=_quarter_of_memory())
    supervisor = Supervisor(folder, say, lambda: None)
    try:
        postgres.init()
        await supervisor.start(postgres.program())
        await prepare(postgres)
        await _fill_clicks(postgres, size, say, packed=packed)
        socket = folder / "links.sock"
        await supervisor.start(
            service(
                "links",
                ["services.links"],
                f"unix:{socket}",
                LINKS_DATABASE_URL=postgres.url("tinyurl_links"),
                FASTAPI_SECRET_KEY="benchmark" * 4,
                PUBLIC_BASE_URL="http://127.0.0.1",
            )
        )
        return await _ask_all(postgres, socket, size, say)
    finally:
        await supervisor.stop()


async def _fill_clicks(postgres: Postgres, size: Size, say: Callable[[str], None], *, packed: bool) -> None:
    """Make links, their clicks on the last 90 days, and every count of them."""
    started = perf_counter()
    first = datetime.now(UTC).date() - timedelta(days=DAYS - 1)
    conn = await _connect(postgres)
    say(f"{size.clicks:,} clicks of {size.links:,} links: a plan")
    empty = await _database_bytes(conn)
    await conn.execute(_PLAN)
    await conn.execute(_LINKS, size.links)
    await conn.copy_records_to_table("plan", records=_plan(size), timeout=_TIMEOUT_S)
    await conn.execute("CREATE INDEX ON plan (day); CREATE INDEX ON plan (link_id); ANALYZE plan, links")
    planned = await _database_bytes(conn) - await conn.fetchval("SELECT pg_total_relation_size('plan')") - empty

    def tell(days: int) -> None:
        if days % 10 == 0:
            say(f"  {days} of {DAYS} days, {perf_counter() - started:.0f} s")

    dates = [first + timedelta(days=number) for number in range(DAYS)]
    if packed:
        await _fill_packed(postgres, dates, tell)
    else:
        await _fill_rows(postgres, conn, dates, tell)
    for statement in (*(() if packed else _INDEXES), *_FINISH):
        say(f"  {statement.split('(')[0].strip().lower()}, {perf_counter() - started:.0f} s")
        await conn.execute(statement)
    clicks = await conn.fetchval("SELECT sum(clicks) FROM links")
    added = await _database_bytes(conn) - planned - empty
    await conn.close()
    say(f"  {clicks:,} clicks filled in {perf_counter() - started:.0f} s, {added / clicks:.0f} bytes of disk each")


async def _fill_rows(
    postgres: Postgres, conn: "asyncpg.Connection[asyncpg.Record]", dates: Sequence[date], tell: Callable[[int], None]
) -> None:
    await conn.execute(_DROP_INDEXES)
    for day in dates:
        await conn.execute("SELECT create_click_partition($1)", day)
    days = iter(enumerate(dates))
    done = 0

    async def fill_days() -> None:
        nonlocal done
        worker = await _connect(postgres)
        for number, day in days:
            await _fill_day(worker, number, day)
            done += 1
            tell(done)
        await worker.close()

    await asyncio.gather(*(fill_days() for _ in range(FILLED_AT_ONCE)))


async def _fill_packed(postgres: Postgres, dates: Sequence[date], tell: Callable[[int], None]) -> None:
    url = postgres.url(SUPERUSER)
    with ProcessPoolExecutor(FILLED_AT_ONCE) as workers:
        filling = [
            asyncio.wrap_future(workers.submit(fill_day, url, f"{_TUPLES} FROM ({_made(number, day)}) AS made", day))
            for number, day in enumerate(dates)
        ]
        for done, each in enumerate(asyncio.as_completed(filling), 1):
            await each
            tell(done)


async def _fill_day(conn: "asyncpg.Connection[asyncpg.Record]", number: int, day: date) -> None:
    table = f"clicks_{day:%Y%m%d}"
    await conn.execute(f"{_CLICKS.replace('<table>', table)} FROM ({_made(number, day)}) AS made")
    # What the upkeep does with a day that is over; the last days are as they come, in no order.
    order = "" if number >= DAYS - SORTED_AFTER_DAYS else "ORDER BY link_id"
    for statement in _COUNTS:
        await conn.execute(statement.replace("<table>", table).replace("<day>", f"{day}").replace("<order>", order))


def _made(number: int, day: date) -> str:
    return _MADE.replace("<number>", str(number)).replace("<day>", f"{day}")


def _plan(size: Size) -> Iterator[tuple[int, int, int]]:
    """Link, day and clicks: popularity as Zipf has it, each link for some weeks, the first one always."""
    choose = random.Random(SEED)
    yield from ((1, day, size.clicks // 10 // DAYS) for day in range(DAYS))
    left = size.clicks - size.clicks // 10
    weights = [1 / (rank + 10) for rank in range(size.links - 1)]
    scale = left / sum(weights)
    for link, weight in enumerate(weights, 2):
        born, lives = choose.randrange(DAYS), choose.randint(3, 45)
        days = range(born, min(DAYS, born + lives))
        clicks, shares = round(weight * scale), [choose.random() for _ in days]
        edges = [round(clicks * each / sum(shares)) for each in accumulate(shares, initial=0.0)]
        for day, (since, until) in zip(days, pairwise(edges), strict=True):
            if until > since:
                yield link, day, until - since


async def _ask_all(postgres: Postgres, socket: Path, size: Size, say: Callable[[str], None]) -> list[Answers]:
    conn = await asyncpg.connect(postgres.url("tinyurl_links"), timeout=10)
    _, key = await create_key(conn, owner="bench", scopes=["stats:read"])
    await conn.close()
    choose = random.Random(SEED)
    kinds: Mapping[str, Callable[[], str]] = {
        "a link of many": lambda: f"links/s{choose.randint(2, size.links)}/stats",
        "a popular link": lambda: f"links/s{choose.randint(2, 100)}/stats",
        f"the link with {size.clicks // 10:,} clicks": lambda: "links/s1/stats",
        "all links of the owner": lambda: "stats",
    }
    answers = []
    async with httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=str(socket)),
        base_url="http://127.0.0.1/api/v1/",
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    ) as client:
        for name, path in kinds.items():
            say(f"  asking for {name}")
            asked = [(path(), _question(choose)) for _ in range(QUESTIONS)]
            answers.append(_summary(name, await _ask(client, asked)))
    return answers


def _question(choose: random.Random) -> dict[str, str]:
    """A range that ends at any moment of the last days, in any zone, by a fitting interval."""
    days = choose.choice(RANGES_DAYS)
    latest = datetime.now(UTC) - timedelta(minutes=choose.choice([0, 0, choose.randrange(48 * 60)]))
    return {
        "from": (latest - timedelta(days=days)).isoformat(),
        "to": latest.isoformat(),
        "interval": "hour" if days == 1 else choose.choice(["day", "week"]),
        "time_zone": choose.choice(ZONES),
        "bots": choose.choice(["include", "exclude"]),
    }


async def _ask(client: httpx.AsyncClient, asked: Sequence[tuple[str, dict[str, str]]]) -> list[float]:
    waiting, took = iter(asked), []

    async def ask_some() -> None:
        for path, question in waiting:
            started = perf_counter()
            response = await client.get(path, params=question)
            took.append((perf_counter() - started) * 1e3)
            response.raise_for_status()

    await asyncio.gather(*(ask_some() for _ in range(ASKED_AT_ONCE)))
    return took


def _summary(name: str, took: Sequence[float]) -> Answers:
    return Answers(name, len(took), statistics.median(took), statistics.quantiles(took, n=20)[-1], max(took))


def _quarter_of_memory() -> str:
    """What PostgreSQL's manual advises for `shared_buffers`."""
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 4 // 2**20}MB"


async def _database_bytes(conn: "asyncpg.Connection[asyncpg.Record]") -> int:
    size: int = await conn.fetchval("SELECT pg_database_size(current_database())")
    return size


async def _connect(postgres: Postgres) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(
        postgres.url(SUPERUSER),
        timeout=10,
        command_timeout=_TIMEOUT_S,
        server_settings={"work_mem": "1GB", "maintenance_work_mem": "2GB", "timezone": "UTC", "jit": "off"},
    )


_PLAN = "CREATE UNLOGGED TABLE plan (link_id bigint, day integer, clicks integer)"

_DROP_INDEXES = """
    ALTER TABLE click_totals_by_link DROP CONSTRAINT click_totals_by_link_pkey;
    ALTER TABLE click_dimensions_by_link DROP CONSTRAINT click_dimensions_by_link_pkey;
    ALTER TABLE click_uniques_by_link DROP CONSTRAINT click_uniques_by_link_pkey;
    DROP INDEX clicks_by_link, clicks_by_time, click_dimensions_by_link_day, click_totals_by_link_slot;
"""

_LINKS = """
    INSERT INTO links (id, domain, code, owner, url) OVERRIDING SYSTEM VALUE
    SELECT n, '127.0.0.1', 's' || n, 'bench', 'https://www.example.com/' || n FROM generate_series(1, $1::bigint) AS n
"""

# The third power of an even distribution makes a few values frequent and many rare.
_MADE = """
    SELECT clicked_at, link_id, visitor, is_bot,
           'C' || floor(60 * power(a, 3)) AS country, 'Browser ' || floor(12 * power(b, 3)) AS browser,
           'System ' || floor(8 * power(b, 3)) AS os,
           (ARRAY['mobile', 'desktop', 'tablet'])[1 + floor(3 * power(c, 3))] AS device,
           'site-' || floor(400 * power(d, 3)) || '.example' AS referrer, 'l' || floor(25 * power(a, 3)) AS language
    FROM (
        SELECT link_id, timestamptz '<day> 00:00Z' + random() * interval '1 day' AS clicked_at,
               random() AS a, random() AS b, random() AS c, random() AS d, random() < 0.1 AS is_bot,
               int8send((random() * (10 + clicks))::bigint) || '\\x0000000000000000'::bytea AS visitor
        FROM plan CROSS JOIN LATERAL generate_series(1, clicks) WHERE day = <number>
        ORDER BY clicked_at) AS chances
"""

_CLICKS = """
    INSERT INTO <table> (id, clicked_at, link_id, owner, visitor, is_bot, country, browser, os, device, referrer, language)
    OVERRIDING SYSTEM VALUE
    SELECT nextval(pg_get_serial_sequence('clicks', 'id')), clicked_at, link_id, 'bench', visitor, is_bot,
           country, browser, os, device, referrer, language
"""

_TUPLES = """
    SELECT (extract(epoch FROM clicked_at) * 1000000)::bigint, link_id, 'bench', visitor, is_bot,
           country, browser, os, device, referrer, language
"""

_COUNTS = (
    """
    INSERT INTO click_totals_by_link
    SELECT link_id, date_bin('15 minutes', clicked_at, '2000-01-01 00:00Z'), is_bot, count(*) FROM <table>
    GROUP BY 1, 2, 3 <order>
    """,
    """
    INSERT INTO click_totals_by_owner
    SELECT owner, date_bin('15 minutes', clicked_at, '2000-01-01 00:00Z'), is_bot, count(*) FROM <table> GROUP BY 1, 2, 3
    """,
    """
    INSERT INTO click_dimensions_by_link
    SELECT link_id, '<day>', dimension, value, is_bot, count(*) FROM <table> CROSS JOIN LATERAL (
        VALUES ('country', country), ('browser', browser), ('os', os), ('device', device), ('referrer', referrer),
               ('language', language)) AS each (dimension, value)
    GROUP BY link_id, dimension, value, is_bot <order>
    """,
    """
    INSERT INTO click_dimensions_by_owner
    SELECT owner, '<day>', dimension, value, is_bot, count(*) FROM <table> CROSS JOIN LATERAL (
        VALUES ('country', country), ('browser', browser), ('os', os), ('device', device), ('referrer', referrer),
               ('language', language)) AS each (dimension, value)
    GROUP BY owner, dimension, value, is_bot
    """,
    """
    INSERT INTO click_uniques_by_link
    SELECT link_id, '<day>', is_bot, count(*) FROM (SELECT DISTINCT link_id, is_bot, visitor FROM <table>) AS seen
    GROUP BY link_id, is_bot
    """,
    """
    INSERT INTO click_uniques_by_owner
    SELECT owner, '<day>', is_bot, count(*) FROM (SELECT DISTINCT owner, is_bot, visitor FROM <table>) AS seen
    GROUP BY owner, is_bot
    """,
)

_BRIN = "USING brin ({}) WITH (pages_per_range = 32, autosummarize = on)"

_INDEXES = (
    "CREATE INDEX clicks_by_link ON clicks (link_id, clicked_at, id)",
    f"CREATE INDEX clicks_by_time ON clicks {_BRIN.format('clicked_at')}",
    f"CREATE INDEX click_totals_by_link_slot ON click_totals_by_link {_BRIN.format('slot')}",
    f"CREATE INDEX click_dimensions_by_link_day ON click_dimensions_by_link {_BRIN.format('day')}",
    "ALTER TABLE click_totals_by_link ADD PRIMARY KEY (link_id, slot, is_bot)",
    "ALTER TABLE click_uniques_by_link ADD PRIMARY KEY (link_id, day, is_bot)",
    "ALTER TABLE click_dimensions_by_link ADD PRIMARY KEY (link_id, day, dimension, value, is_bot)",
)

_FINISH = (
    "UPDATE links SET clicks = (SELECT coalesce(sum(plan.clicks), 0) FROM plan WHERE link_id = links.id)",
    "DROP TABLE plan",
    "VACUUM (ANALYZE)",
)
