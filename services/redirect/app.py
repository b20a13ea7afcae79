"""The redirect service: reads links, writes nothing, and keeps answering while the stores behind it fail.

nginx sends it every path that can be a code. The lane (`lane.py`) answers most visits, and `VisitApp` answers the rest.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from time import time
from typing import cast

import structlog
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from services.redirect.answers import Answer, answer_visit, error, read_error_format
from services.redirect.cache import open_cache
from services.redirect.domains.decisions import Domains, dress
from services.redirect.domains.paths import DomainPaths
from services.redirect.feed import Feed, FeedReader, Followers
from services.redirect.health import health_routes
from services.redirect.journal.intake import IntakeClient
from services.redirect.journal.shipper import run_shipper
from services.redirect.journal.writer import open_journal
from services.redirect.lane import Lane
from services.redirect.memory import Memory
from services.redirect.metrics import JournalCollector, RedirectCollector, Visits
from services.redirect.preview import Previews, match_preview
from services.redirect.resolver import Resolver, ResolverFull, Unresolved
from services.redirect.source import Source, SourceUnavailable, open_source
from services.redirect.state import STATE, RedirectState, state_of
from shared.clicks import RecordClicks, take_parts
from shared.codes import CODE_PATTERN, TRAIL_PATTERN, is_reserved
from shared.health import OPERATIONS
from shared.logs import configure_logs
from shared.settings import RedirectSettings, load_settings

FIRST_POLL_TIMEOUT_S = 2.0

ALLOW = b"GET, HEAD"
LONGEST_HOST = 255

_match_path = re.compile(f"/({CODE_PATTERN}){TRAIL_PATTERN}").fullmatch
_match_long_path = re.compile(rb"/(%b)(/.+)" % CODE_PATTERN.encode()).fullmatch
_match_host = re.compile(rb"([0-9A-Za-z.-]{1,%d}|\[[0-9A-Fa-f:.]{1,64}\])(?::[0-9]*)?" % LONGEST_HOST).fullmatch

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
            previews = Previews(source) if settings.previews else None
            answered = VisitApp(resolver, visits, record, domains=domains, paths=DomainPaths(source), previews=previews)
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


class VisitApp:
    """Answers the visits that the lane leaves, over ASGI."""

    def __init__(
        self,
        resolver: Resolver,
        visits: Visits,
        record_clicks: RecordClicks | None,
        *,
        domains: Domains,
        paths: DomainPaths,
        previews: Previews | None,
    ) -> None:
        self._resolver = resolver
        self._domains = domains
        self._paths = paths
        self._previews = previews
        self._visits = visits
        self._record_clicks = record_clicks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(cast(Iterable[tuple[bytes, bytes]], scope["headers"]))
        answer, link_id = await self._answer(scope, headers)
        self._visits.count(answer.status)
        if answer.is_click and scope["method"] == "GET" and self._record_clicks is not None:
            self._record_clicks([(time(), link_id, take_parts(headers))])
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[Answer, int]:
        error_format = read_error_format(headers)
        if scope["method"] not in ("GET", "HEAD"):
            return error(405, error_format, allow=ALLOW), 0
        host = _match_host(headers.get(b"host", b""))
        if host is None or sum(name == b"host" for name, _ in scope["headers"]) > 1:
            return error(400, error_format), 0
        name = host[1].decode().lower()
        domain = self._domains.get(name)
        path, long_path = _match_path(scope["path"]), _match_long_path(scope["raw_path"])
        preview = match_preview(scope["path"]) if path is None and self._previews is not None else None
        code = path[1] if path else long_path[1].decode() if long_path else preview[1] if preview else ""
        if not code or is_reserved(code):
            answer = await self._paths.answer(name, domain, scope["path"], error_format)
            return dress(answer, domain, error_format), 0
        key = (name, code)
        try:
            record = await self._resolver.resolve(key)
        except Unresolved as unresolved:
            answer = error(503, error_format, is_busy=isinstance(unresolved, ResolverFull))
            return dress(answer, domain, error_format), 0
        if preview is not None and self._previews is not None:
            answer = await self._previews.answer(key, record, now=time(), error_format=error_format)
            return dress(answer, domain, error_format), 0
        # What trails a code is removed, but not from a path that the link passes on.
        is_long = long_path is not None and (path is None or (record is not None and record.forward_path))
        rest = long_path[2] if long_path is not None and is_long else b""
        answer = answer_visit(record, query=scope["query_string"], now=time(), error_format=error_format, rest=rest)
        return dress(answer, domain, error_format, code), record.link_id if record is not None else 0


async def _open_journal(
    stack: AsyncExitStack, settings: RedirectSettings, registry: CollectorRegistry
) -> RecordClicks | None:
    """Open the journal and start its shipper; without the settings for them there is none."""
    if settings.journal_dir is None or settings.internal_token is None or settings.links_address is None:
        return None
    journal = await stack.enter_async_context(open_journal(settings.journal_dir, settings.journal_max_bytes))
    intake = IntakeClient(settings.links_address, settings.internal_token.get_secret_value())
    registry.register(JournalCollector(journal, await stack.enter_async_context(run_shipper(journal, intake))))
    return journal.record


async def _begin(reader: FeedReader, domains: Domains, source: Source) -> None:
    """Read the feed and the domains before the first visit, but not for long: without Postgres, Redis may still know links."""
    try:
        async with asyncio.timeout(FIRST_POLL_TIMEOUT_S):
            await reader.begin()
            await domains.read(source)
    except (TimeoutError, SourceUnavailable):
        log.warning("started_without_feed")
