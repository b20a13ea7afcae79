"""The redirect service: reads links, writes nothing, and keeps answering while the stores behind it fail.

nginx sends it every path that can be a code. The lane (`lane.py`) answers most visits, and `VisitApp` (`visits.py`) the rest.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from services.redirect.domains.decisions import Domains
from services.redirect.domains.paths import DomainPaths
from services.redirect.feed import Feed, FeedReader, Followers
from services.redirect.health import health_routes
from services.redirect.journal.intake import IntakeClient
from services.redirect.journal.shipper import run_shipper
from services.redirect.journal.writer import open_journal
from services.redirect.lane import Lane
from services.redirect.lookup.cache import open_cache
from services.redirect.lookup.resolver import Resolver
from services.redirect.lookup.source import Source, SourceUnavailable, open_source
from services.redirect.memory import Memory
from services.redirect.metrics import ClaimsCollector, JournalCollector, RedirectCollector, Visits
from services.redirect.owner.claims import Claims, open_claims
from services.redirect.owner.passwords import Passwords
from services.redirect.preview import Previews
from services.redirect.rules import Rules
from services.redirect.state import STATE, RedirectState, state_of
from services.redirect.visits import VisitApp
from shared.clicks import RecordClicks
from shared.health import OPERATIONS
from shared.logs import configure_logs
from shared.settings import RedirectSettings, load_settings

FIRST_POLL_TIMEOUT_S = 2.0

log = structlog.get_logger()


def create_app(settings: RedirectSettings | None = None, record_clicks: RecordClicks | None = None) -> ASGIApp:
    """Build the service.

    Args:
        settings: Without them they are read from the environment.
        record_clicks: Takes the clicks (`shared/clicks.py`). Without it they go to the journal that the settings name.
    """
    settings = settings or load_settings(RedirectSettings)
    configure_logs(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, RedirectState]]:
        memory = Memory(settings.memory_mb * 2**20)
        domains = Domains()
        feed = Feed(Followers(memory, domains))
        registry = CollectorRegistry()
        async with AsyncExitStack() as stack:
            # The journal is opened first, so it is closed last, when no visit is answered any more.
            record = record_clicks or await _open_journal(stack, settings, registry)
            lane = Lane(memory, record)
            cache = await stack.enter_async_context(open_cache(settings.redis_url.get_secret_value()))
            database_url = settings.redirect_database_url.get_secret_value()
            source = await stack.enter_async_context(open_source(database_url))
            reader = FeedReader(database_url, feed, on_success=source.trust_again)
            stack.callback(reader.close)
            await _begin(reader, domains, source)
            for follower in (reader.follow(), domains.follow(source)):
                stack.callback(asyncio.create_task(follower).cancel)
            resolver = Resolver(memory=memory, cache=cache, source=source, feed=feed)
            visits = Visits()
            registry.register(
                RedirectCollector(
                    memory=memory, feed=feed, lane=lane, resolver=resolver, cache=cache, source=source, visits=visits
                )
            )
            answered = VisitApp(
                resolver,
                visits,
                record,
                domains=domains,
                paths=DomainPaths(source),
                previews=Previews(source) if settings.previews else None,
                rules=Rules(memory, settings.country_database),
                passwords=Passwords(*settings.links) if settings.links else None,
                claims=_open_claims(stack, *settings.links, registry) if settings.links else None,
            )
            state = RedirectState(
                answered, lane=lane, feed=feed, domains=domains, registry=registry, release=settings.release
            )
            yield {STATE: state}

    operations = Starlette(routes=health_routes(), lifespan=lifespan)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPERATIONS:
            await state_of(scope["state"]).visits(scope, receive, send)
        else:
            await operations(scope, receive, send)

    return app


async def _open_journal(
    stack: AsyncExitStack, settings: RedirectSettings, registry: CollectorRegistry
) -> RecordClicks | None:
    """Open the journal and start its shipper; without the settings for them there is none."""
    if settings.journal_dir is None or settings.links is None:
        return None
    journal = await stack.enter_async_context(open_journal(settings.journal_dir, settings.journal_max_bytes))
    intake = IntakeClient(*settings.links)
    registry.register(JournalCollector(journal, await stack.enter_async_context(run_shipper(journal, intake))))
    return journal.record


def _open_claims(stack: AsyncExitStack, address: str, token: str, registry: CollectorRegistry) -> Claims:
    """Prepare to ask for visitors of limited links."""
    claims = open_claims(address, token)
    stack.callback(claims.close)
    registry.register(ClaimsCollector(claims))
    return claims


async def _begin(reader: FeedReader, domains: Domains, source: Source) -> None:
    """Read the feed and the domains before the first visit, but not for long: without Postgres, Redis may still know links."""
    try:
        async with asyncio.timeout(FIRST_POLL_TIMEOUT_S):
            await reader.begin()
            await domains.read(source)
    except (TimeoutError, SourceUnavailable):
        log.warning("started_without_feed")
