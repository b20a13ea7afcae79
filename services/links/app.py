"""The write service: owns every write of a link and of a key, and never touches the cache.

nginx sends it `/api/`, `/docs` and `/openapi.json`; what it writes reaches the redirectors through the change feed.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from http import HTTPStatus
from importlib.metadata import version

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from services.links import health
from services.links.archive import routes as archive_routes
from services.links.claims import routes as claim_routes
from services.links.claims.claimer import CLAIMING, Claimer
from services.links.clicks import routes as click_routes
from services.links.clicks.queue import CLICK_TIMES, WORKER, ClickQueue, ClickTimes
from services.links.clicks.routes import InternalTokens
from services.links.codes.segments import SegmentMiddleware
from services.links.compat import FOREIGN_ROUTERS
from services.links.decisions import routes as decision_routes
from services.links.domains import routes as domain_routes
from services.links.imports import routes as import_routes
from services.links.imports.routes import UploadGate
from services.links.imports.starter import ImportStarter
from services.links.keys import routes as key_routes
from services.links.keys.authentication import Keyring
from services.links.keys.direct_routes import DirectRoutes
from services.links.links import availability, batch, exports
from services.links.links import routes as link_routes
from services.links.links.batch import BatchGate
from services.links.links.creation import Creator
from services.links.links.exports import ExportGate
from services.links.metrics import Metrics, MetricsMiddleware
from services.links.qr import routes as qr_routes
from services.links.site import Site
from services.links.state import STATE, LinksState
from services.links.stats import clicks, erasures
from services.links.stats import routes as stats_routes
from services.links.tags import routes as tag_routes
from services.links.unlocks import routes as unlock_routes
from services.links.unlocks.unlocking import Unlocker
from services.links.upkeep import (
    FREQUENT_WORKS,
    MERGE_INTERVAL_S,
    PACKED_WORKS,
    SORT_INTERVAL_S,
    Merger,
    prune_for_ever,
)
from services.links.web.documentation import Documentation
from services.links.web.errors import ERRORS, answer_error, answer_route_error
from services.links.web.hashing import OWNER_SLOTS, VISITOR_SLOTS, HashGate
from services.links.web.head import HeadMiddleware
from services.links.web.idempotency import AnswerMemory
from services.links.web.shares import Shares, open_shares
from shared.logs import configure_logs
from shared.postgres import UNAVAILABLE, Pool, connection, open_pool
from shared.schema import check_schema
from shared.settings import LinksSettings, load_settings

DESCRIPTION = """
Creates and edits short links. Send an API key as `Authorization: Bearer KEY`.

Errors are `application/problem+json` (RFC 9457) with a stable `type`; for invalid input `errors` names every field with
its reason. A `POST` with an `Idempotency-Key` can be repeated; `ETag` and `If-Match` keep two editors apart.
"""

PROBLEM = {
    "description": "A problem.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}},
}
"""Every route may answer this. The results of a batch bring the schema."""

ROUTERS = (
    link_routes.direct_router,
    link_routes.router,
    batch.router,
    clicks.router,
    erasures.router,
    stats_routes.router,
    availability.router,
    decision_routes.router,
    qr_routes.router,
    exports.router,
    import_routes.router,
    archive_routes.router,
    tag_routes.router,
    domain_routes.router,
    key_routes.router,
    click_routes.router,
    claim_routes.router,
    unlock_routes.router,
    health.router,
)

KEY_POOL_SIZE = 2
LIST_POOL_SIZE = 4
EXPORT_POOL_SIZE = 2
STATS_POOL_SIZE = 4
CLAIM_POOL_SIZE = 2
UNLOCK_POOL_SIZE = VISITOR_SLOTS + 1
"""Connections beside `LINKS_POOL_SIZE`. With pools of their own, slow requests stop neither creations nor checks of keys."""

CANCEL_AGAIN_S = 1.0

ASKING = {"jit": "off", "plan_cache_mode": "force_custom_plan", "statement_timeout": "4s"}
"""Settings of sessions that read. JIT costs more than it saves here, and a generic plan is bad for most filters and ranges. The
time-out is longer than the wait for a lock (3 s) and shorter than the client's (5 s), so only a costly statement reaches it."""

log = structlog.get_logger()


def create_app(
    settings: LinksSettings | None = None,
    *,
    click_worker: Sequence[str] = WORKER,
    click_times: ClickTimes = CLICK_TIMES,
    shares: Shares | None = None,
    batch_gate: BatchGate | None = None,
    export_gate: ExportGate | None = None,
    memory: AnswerMemory | None = None,
) -> ASGIApp:
    """Build the service.

    Args:
        settings: Without them they are read from the environment.
        click_worker: The command line of the process that parses and stores clicks.
        click_times: The deadlines of a batch of clicks.
        shares: What each owner may have at once. The default depends on the size of the pool.
        batch_gate: What all batches may have at once.
        export_gate: What all exports may have at once.
        memory: How many answers are remembered.
    """
    settings = settings or load_settings(LinksSettings)
    configure_logs(settings)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, LinksState]]:
        async with AsyncExitStack() as stack:
            url = settings.links_database_url.get_secret_value()
            pool, key_pool, list_pool, export_pool, stats_pool, claim_pool, unlock_pool = [
                await stack.enter_async_context(open_pool(url, size=size, application=application, settings=session))
                for size, application, session in (
                    (settings.links_pool_size, "links", {}),
                    (KEY_POOL_SIZE, "links keys", {}),
                    (LIST_POOL_SIZE, "links lists", ASKING),
                    (EXPORT_POOL_SIZE, "links exports", ASKING),
                    (STATS_POOL_SIZE, "links stats", ASKING),
                    (CLAIM_POOL_SIZE, "links claims", CLAIMING),
                    (UNLOCK_POOL_SIZE, "links unlocks", {}),
                )
            ]
            await _refuse_old_schema(pool)
            upkeeps = [prune_for_ever(pool), prune_for_ever(pool, FREQUENT_WORKS, SORT_INTERVAL_S)]
            if settings.packed_clicks:
                upkeeps.append(prune_for_ever(pool, PACKED_WORKS))
                upkeeps.append(prune_for_ever(pool, (Merger(settings).merge_chunks,), MERGE_INTERVAL_S))
            for upkeep in upkeeps:
                stack.callback(asyncio.create_task(upkeep).cancel)
            internal_tokens = InternalTokens(settings)
            click_queue = ClickQueue(settings, metrics, click_worker, click_times)
            if internal_tokens.is_configured:
                await stack.enter_async_context(click_queue.running())
            batches = batch_gate or BatchGate(settings)
            stack.push_async_callback(batches.close)
            owners = shares or open_shares(settings.links_pool_size)
            starter = ImportStarter(settings, pool, owners.pace)
            stack.push_async_callback(_cancel, asyncio.create_task(starter.run_for_ever()))
            hashing, unlocker = HashGate(OWNER_SLOTS), Unlocker(settings, unlock_pool)
            stack.callback(hashing.close)
            stack.callback(unlocker.close)
            state = LinksState(
                site=Site(settings),
                pool=pool,
                key_pool=key_pool,
                list_pool=list_pool,
                export_pool=export_pool,
                stats_pool=stats_pool,
                shares=owners,
                memory=memory or AnswerMemory(),
                keyring=Keyring(key_pool),
                creator=Creator(pool),
                claimer=Claimer(claim_pool),
                hashing=hashing,
                unlocker=unlocker,
                batch_gate=batches,
                export_gate=export_gate or ExportGate(),
                uploads=UploadGate(),
                imports=starter,
                metrics=metrics,
                internal_tokens=internal_tokens,
                clicks=click_queue,
                release=settings.release,
            )
            yield {STATE: state}

    routers = (*ROUTERS, *(FOREIGN_ROUTERS[name]() for name in settings.compat))
    api = FastAPI(
        title="TinyURL",
        summary="A link shortener.",
        description=DESCRIPTION,
        version=version("tinyurl"),
        lifespan=lifespan,
        responses={"default": PROBLEM},
        # FastAPI would send the client to the scheme and host that nginx uses.
        redirect_slashes=False,
        # Served by `Documentation`.
        openapi_url=None,
        # Generated clients name their functions so.
        generate_unique_id_function=lambda route: route.name,
    )
    for kind in ERRORS:
        api.add_exception_handler(kind, answer_route_error)
    api.add_exception_handler(HTTPStatus.METHOD_NOT_ALLOWED, partial(_answer_wrong_method, routers))
    api.add_exception_handler(HTTPStatus.NOT_FOUND, partial(_answer_unknown_path, routers))
    for router in routers:
        api.include_router(router)
    api.router.routes.extend(Documentation(api.openapi).routes())
    direct = DirectRoutes(api, (route for router in routers for route in router.routes))
    return MetricsMiddleware(HeadMiddleware(SegmentMiddleware(direct)), metrics)


async def _answer_wrong_method(routers: Sequence[APIRouter], request: Request, error: Exception) -> Response:
    """Name every method of the path (RFC 9110, 15.5.6). FastAPI names those of the first route that matches."""
    allow = ", ".join(sorted(_methods(routers, request.url.path)))
    return answer_error(HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, f"Here is {allow}.", {"Allow": allow}))


async def _answer_unknown_path(routers: Sequence[APIRouter], request: Request, error: Exception) -> Response:
    """Answer 404, and name the path without its last slash if that exists."""
    path = request.url.path
    detail = "There is nothing at this path."
    if path.endswith("/") and _methods(routers, path.rstrip("/")):
        detail = f"There is nothing at this path; without the slash at its end there is: {path.rstrip('/')}"
    return answer_error(HTTPException(HTTPStatus.NOT_FOUND, detail))


def _methods(routers: Sequence[APIRouter], path: str) -> set[str]:
    """Return the methods of a path. A path with GET has HEAD, too."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    methods = {method for route in routes if route.path_regex.match(path) for method in route.methods or ()}
    return methods | {"HEAD"} if "GET" in methods else methods


async def _cancel(task: "asyncio.Task[None]") -> None:
    """Cancel a task, and wait until it has ended what it started. A library may lose a cancellation (gh-86296)."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)


async def _refuse_old_schema(pool: Pool) -> None:
    """Raise an error if the schema is too old. Without Postgres the service starts and is not ready."""
    try:
        async with connection(pool) as conn:
            await check_schema(conn)
    except UNAVAILABLE as error:
        log.warning("started_without_postgres", error=type(error).__name__)
