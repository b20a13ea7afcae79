"""The write service and its database for tests that wait for it: Streamlit's and the client's code has no event loop."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg
import uvloop
from anyio.from_thread import BlockingPortal, start_blocking_portal
from streamlit.testing.v1 import AppTest

from deploy.local.postgres import Postgres
from services.dashboard.widgets.failures import explain
from services.links.app import create_app
from services.links.clicks.batches import take_batch
from services.links.clicks.enrichment import Enricher
from services.links.keys.rows import create_key
from shared.clicks import Click
from shared.client import ApiError, Client, Key
from shared.postgres import Connection
from shared.settings import LinksSettings
from tests.conftest import Database, fresh_database, settings_of
from tests.links.click_data import FIRST_OFFSET, records
from tests.serving import serve

T = TypeVar("T")

PAGE_TIMEOUT_S = 30
ALL_SCOPES = ("links:read", "links:write", "stats:read")


@dataclass(frozen=True)
class Stack:
    """A running write service.

    Args:
        portal: The event loop that it runs in.
        socket: Where it listens.
        database: Its own.
        closing: What ends with it.
    """

    portal: BlockingPortal
    socket: Path
    database: Database
    closing: ExitStack

    @property
    def url(self) -> str:
        return f"unix:{self.socket}"

    def key(self, owner: str = "alice", *scopes: str, expires_at: datetime | None = None) -> str:
        """Make a key; its text."""

        async def make(conn: Connection) -> str:
            _, text = await create_key(conn, owner=owner, scopes=scopes or ALL_SCOPES, expires_at=expires_at)
            return text

        return self.query(make)

    def client(self, owner: str = "alice", *scopes: str) -> Client:
        return Client(self.url, self.key(owner, *scopes))

    def page(self, show: Callable[[Client, Key], None], owner: str = "alice", *scopes: str) -> AppTest:
        """A page for a key of an owner, as Streamlit runs it; not run yet."""
        client = self.closing.enter_context(self.client(owner, *scopes))

        def run() -> None:
            try:
                show(client, client.current_key())
            except ApiError as error:
                explain(error)

        return AppTest.from_function(_call, default_timeout=PAGE_TIMEOUT_S, args=(run,))

    def store_clicks(self, clicks: Sequence[Click], enricher: Enricher) -> None:
        """Store clicks as the intake does."""

        async def store(conn: Connection) -> None:
            await take_batch(conn, enricher, uuid4(), FIRST_OFFSET, records(clicks))

        self.query(store)

    def link_id(self, code: str) -> int:
        async def read(conn: Connection) -> int:
            found: int = await conn.fetchval("SELECT id FROM links WHERE code = $1", code)
            return found

        return self.query(read)

    def query(self, run: Callable[[Connection], Awaitable[T]]) -> T:
        """Call a function with a connection as the write service's role."""

        async def call() -> T:
            conn = await asyncpg.connect(self.database.links_url)
            try:
                return await run(conn)
            finally:
                await conn.close()

        return self.portal.call(call)


@contextmanager
def running_stack(database: Database, settings: LinksSettings, socket: Path) -> Iterator[Stack]:
    """Run the write service in a thread of its own."""
    with running_loop() as portal, _serving(portal, database, settings, socket) as stack:
        yield stack


@contextmanager
def running_fresh_stack(server: Postgres, socket: Path) -> Iterator[Stack]:
    """Run the write service, and make a database for it, that several tests share."""
    with (
        running_loop() as portal,
        portal.wrap_async_context_manager(fresh_database(server)) as database,
        _serving(portal, database, settings_of(database), socket) as stack,
    ):
        yield stack


def running_loop() -> AbstractContextManager[BlockingPortal]:
    return start_blocking_portal("asyncio", {"loop_factory": uvloop.new_event_loop})


@contextmanager
def _serving(portal: BlockingPortal, database: Database, settings: LinksSettings, socket: Path) -> Iterator[Stack]:
    with ExitStack() as closing, portal.wrap_async_context_manager(serve(create_app(settings), socket)):
        yield Stack(portal, socket, database, closing)


def texts_of(page: AppTest) -> str:
    """All that a page shows as text, of all elements that read Markdown and of those that do not."""
    kinds = (
        "title",
        "header",
        "subheader",
        "markdown",
        "caption",
        "error",
        "warning",
        "info",
        "success",
        "text",
        "code",
    )
    return "\n".join(str(getattr(element, "value", "")) for kind in kinds for element in page.get(kind))


def markdown_of(page: AppTest) -> str:
    """What a page hands to Markdown: texts, messages, and the labels and help of its inputs."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "error", "warning", "info", "success", "toast")
    shown = [str(getattr(element, "value", "")) for kind in kinds for element in page.get(kind)]
    widgets = ("button", "text_input", "selectbox", "multiselect", "checkbox", "download_button", "metric", "expander")
    for kind in widgets:
        for element in page.get(kind):
            shown.extend(str(getattr(element, name, "") or "") for name in ("label", "help"))
    return "\n".join(shown)


def labelled(elements: Iterable[Any], label: str) -> Any:
    """The one element with a label."""
    found = [element for element in elements if element.label == label]
    assert len(found) == 1, [element.label for element in elements]
    return found[0]


def _call(run: "Callable[[], None]") -> None:
    """Streamlit runs the source of this function, without what is around it."""
    run()
