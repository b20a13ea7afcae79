"""Statistics: how often links were followed, when, by whom; from the counts, so that no number of clicks makes it slow.

The routes resolve what was asked (`intervals.py`), read the counts in one snapshot (`rows.py`) and answer as JSON or CSV
(`forms.py`).
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import Caller, MayReadStats
from services.links.links.checks import check_owner, check_seen, link_key
from services.links.links.rows import select_link, select_link_ids
from services.links.packed.days import EVERYTHING, IMPORTED, OWN
from services.links.packed.imported import select_undated, select_undated_of_owners
from services.links.site import Site
from services.links.state import state_of
from services.links.stats.coverage import find_coverage
from services.links.stats.forms import (
    CSV_HEADER,
    LinkStatsQuery,
    OwnerStatsQuery,
    RecentCounts,
    RecentOut,
    RecentQuery,
    StatsOut,
    StatsQuery,
    count_out,
    csv_rows,
    dimensions_out,
    series_out,
    totals_out,
)
from services.links.stats.intervals import (
    DAY,
    MOST_INTERVALS,
    SLOT,
    TooManyIntervals,
    ceil_time,
    floor_time,
    interval_starts,
    start_of_day,
)
from services.links.stats.packed import add_counts, select_packed, select_packed_totals
from services.links.stats.rows import select_dimensions, select_totals, select_totals_of_links, select_visitors
from services.links.stats.scopes import NOBODY, Count, Period, StatsScope
from services.links.web.errors import FieldError, InvalidInput, NotFound, refuse_costly
from services.links.web.media import choose_media_type
from shared.api import Imported
from shared.csv_cells import csv_lines
from shared.postgres import Connection, connection
from shared.records import LinkKey

router = APIRouter(prefix="/api/v1", tags=["statistics"], route_class=ApiRoute)

DEFAULT_DAYS = 30

JSON_OR_CSV = ("application/json", "text/csv")
KINDS: dict[Imported, tuple[int, ...]] = {"include": EVERYTHING, "exclude": (OWN,), "only": (IMPORTED,)}
CSV_TOO: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


@router.get("/links/{code}/stats", response_model=StatsOut, responses=CSV_TOO, summary="Statistics of a link")
async def get_link_stats(
    request: Request, code: str, query: Annotated[LinkStatsQuery, Query()], caller: MayReadStats
) -> Response:
    """Count a link's clicks: in all, over time, and by country, browser, system, device, referrer, language
    and variant: the rule or the target of a split that visitors got.

    With `Accept: text/csv` the same numbers are rows; a dimension's row without a value is all others.
    """
    site = state_of(request).site
    media_type = choose_media_type(request.headers.get("accept"), JSON_OR_CSV)
    period, starts = _resolve(query)
    async with snapshot(request, caller) as conn:
        link = check_seen(await select_link(conn, link_key(code, query.domain, site)), caller)
        stats = await _count(conn, StatsScope(link_id=link.id), query, period, starts)
    return _answer(stats, media_type)


@router.get("/stats", response_model=StatsOut, responses=CSV_TOO, summary="Statistics of all your links")
async def get_stats(request: Request, query: Annotated[OwnerStatsQuery, Query()], caller: MayReadStats) -> Response:
    """Count the clicks of all your links, deleted ones included, as for one link; a key with the scope `admin`: of all."""
    owner = check_owner(query.owner, caller)
    media_type = choose_media_type(request.headers.get("accept"), JSON_OR_CSV)
    period, starts = _resolve(query)
    async with snapshot(request, caller) as conn:
        stats = await _count(conn, StatsScope(owner=owner), query, period, starts)
    return _answer(stats, media_type)


@router.get("/stats/recent", summary="Clicks by day of many links")
async def get_recent(request: Request, query: Annotated[RecentQuery, Query()], caller: MayReadStats) -> RecentOut:
    """Count the clicks of up to 100 links on each of the last days, for a list of them."""
    site = state_of(request).site
    zone = ZoneInfo(query.time_zone)
    today = datetime.now(zone).date()
    days = [today - timedelta(days=ago) for ago in range(query.days - 1, -1, -1)]
    starts = [start_of_day(day, zone) for day in days]
    period = Period(starts[0], start_of_day(today + DAY, zone))
    async with snapshot(request, caller) as conn:
        owner = None if caller.is_admin else caller.owner
        links = await select_link_ids(conn, _link_keys(query.link, site), owner=owner)
        counts = await select_totals_of_links(conn, list(links), period, starts)
        packed = await select_packed_totals(conn, list(links), period, starts)
    return RecentOut(
        days=[day.isoformat() for day in days],
        items=[
            RecentCounts(
                domain=domain,
                code=code,
                clicks=[of_link.get(number, Count()).of(query.bots) for number in range(query.days)],
            )
            for link_id, (domain, code) in links.items()
            for of_link in (add_counts(counts[link_id], packed[link_id]),)
        ],
    )


@asynccontextmanager
async def snapshot(request: Request, caller: Caller) -> AsyncIterator[Connection]:
    """Lend a connection on which all statements see the same clicks, of a pool that leaves the others to the links."""
    state = state_of(request)
    async with (
        state.shares.statistics.turn(caller.owner),
        connection(state.stats_pool) as conn,
        conn.transaction(isolation="repeatable_read", readonly=True),
    ):
        with refuse_costly():
            yield conn


async def count_clicks(conn: Connection, whose: StatsScope, query: StatsQuery) -> StatsOut:
    """Count what a question asks for, on a connection of `snapshot`."""
    return await _count(conn, whose, query, *_resolve(query))


def _resolve(query: StatsQuery) -> tuple[Period, list[datetime]]:
    """The range that is counted, in quarters of an hour, and when its intervals begin."""
    zone = ZoneInfo(query.time_zone)
    until = ceil_time(query.until or datetime.now(UTC), SLOT)
    if query.since is None:
        last_day = (until - SLOT).astimezone(zone).date()
        since = start_of_day(last_day - timedelta(days=DEFAULT_DAYS - 1), zone)
    else:
        since = floor_time(query.since, SLOT)
    if since >= until:
        raise InvalidInput(FieldError("from", "must lie before `to`, or before now if that is left out"))
    try:
        return Period(since, until), interval_starts(since, until, query.interval, zone)
    except TooManyIntervals:
        reason = f"makes more than {MOST_INTERVALS:,} of this range; ask for longer ones"
        raise InvalidInput(FieldError("interval", reason)) from None


async def _count(
    conn: Connection, whose: StatsScope, query: StatsQuery, period: Period, starts: list[datetime]
) -> StatsOut:
    kinds = KINDS[query.imported]
    packed = await select_packed(conn, whose, period, kinds)
    undated = await _count_undated(conn, whose) if IMPORTED in kinds else Count()
    # The tables of rows have own clicks alone.
    whose = whose if OWN in kinds else NOBODY
    counts = add_counts(await select_totals(conn, whose, period, starts), packed.totals(period, starts))
    imported = packed.imported(period, starts)
    coverage = await find_coverage(conn, whose, period, packed)
    visitors = coverage.visitors + await select_visitors(conn, whose, coverage.days) + packed.visitors(coverage.days)
    values = coverage.values
    values.update(packed.values(coverage.days))
    dimensions = await select_dimensions(
        conn,
        whose,
        coverage.days,
        coverage.parts,
        ((*kind, clicks) for kind, clicks in values.items()),
        top=query.top,
        bots=query.bots,
    )
    zone = ZoneInfo(query.time_zone)
    return StatsOut(
        since=period.since.astimezone(zone),
        until=period.until.astimezone(zone),
        interval=query.interval,
        time_zone=query.time_zone,
        bots=query.bots,
        totals=totals_out(sum(counts.values(), Count()), sum(imported.values(), Count()), visitors, query.bots),
        series=series_out([each.astimezone(zone) for each in starts], counts, imported, query.bots),
        dimensions=dimensions_out(dimensions, query.bots),
        dimensions_from=coverage.period.since.astimezone(zone),
        dimensions_to=coverage.period.until.astimezone(zone),
        undated=count_out(undated, query.bots),
    )


async def _count_undated(conn: Connection, whose: StatsScope) -> Count:
    if whose.link_id is None:
        return Count(*await select_undated_of_owners(conn, whose.owner))
    return Count(*(await select_undated(conn, [whose.link_id]))[whose.link_id])


def _answer(stats: StatsOut, media_type: str) -> Response:
    if media_type == "text/csv":
        return Response("".join(csv_lines(CSV_HEADER, csv_rows(stats))), media_type=media_type, headers=_VARY)
    return Response(stats.model_dump_json(by_alias=True), media_type=media_type, headers=_VARY)


def _link_keys(texts: Iterable[str], site: Site) -> list[LinkKey]:
    """What the texts name; one that cannot name a link names none."""
    keys = []
    for text in texts:
        domain, slash, code = text.partition("/")
        domain, code = (domain, code) if slash else ("", text)
        with suppress(NotFound):
            keys.append(link_key(code, domain, site))
    return keys


_VARY = {"Vary": "Accept"}
