"""The whole site as `tinyurl up` runs it, for the browser's tests: the stores, nginx, the services and the dashboard."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
import uvloop
from anyio.from_thread import BlockingPortal, start_blocking_portal

from deploy.local.stack import RunningStack, StackOptions, run_stack
from services.links.clicks.counts import EnrichedClick
from services.links.clicks.rows import insert_clicks
from services.links.keys.rows import create_key
from shared.postgres import Connection
from tests.dashboard.stack import ALL_SCOPES
from tests.nginx.conftest import free_port

T = TypeVar("T")

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
START_TIMEOUT_S = 60
VISIBLE_TIMEOUT_S = 1.0
"""How long an edit may take until every visitor sees it."""


@dataclass(frozen=True)
class DashboardSite:
    """A running site.

    Args:
        portal: The event loop that it runs in.
        stack: Its address and an admin's key.
        sign_in_url: The link that signs in once.
        database_url: As the write service's role.
    """

    portal: BlockingPortal
    stack: RunningStack
    sign_in_url: str
    database_url: str

    @property
    def url(self) -> str:
        return self.stack.url

    def key(self, owner: str, *scopes: str, name: str | None = None) -> str:
        """Make a key; its text."""

        async def make(conn: Connection) -> str:
            _, text = await create_key(conn, owner=owner, name=name, scopes=scopes or ALL_SCOPES)
            return text

        return self.query(make)

    def create(self, key: str, links: Sequence[dict[str, object]]) -> list[dict[str, Any]]:
        """Create links through the API."""
        answer = httpx.post(
            f"{self.url}/api/v1/links/batch", json={"links": links}, headers={"Authorization": f"Bearer {key}"}
        )
        rows = answer.json()["results"]
        assert all(row["status"] == 201 for row in rows), rows
        return [row["link"] for row in rows]

    def delete(self, key: str, short_url: str) -> None:
        """Delete a link through the API."""
        code = short_url.rpartition("/")[2]
        answer = httpx.delete(f"{self.url}/api/v1/links/{code}", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 204, answer.text

    def store_clicks(self, clicks: Sequence[EnrichedClick]) -> None:
        async def store(conn: Connection) -> None:
            async with conn.transaction():
                await insert_clicks(conn, clicks)

        self.query(store)

    def query(self, run: Callable[[Connection], Awaitable[T]]) -> T:
        """Call a function with a connection as the write service's role."""

        async def call() -> T:
            conn = await asyncpg.connect(self.database_url)
            try:
                return await run(conn)
            finally:
                await conn.close()

        return self.portal.call(call)


def follow(short_url: str, **headers: str) -> httpx.Response:
    """Follow a short link as somebody's browser does, one step."""
    return httpx.get(short_url, headers={"User-Agent": FIREFOX, "Accept": "text/html", **headers})


def wait_for_answer(short_url: str, status: int, location: str | None = None) -> None:
    """Wait until a short link answers so, no longer than an edit may take."""
    deadline = time.monotonic() + VISIBLE_TIMEOUT_S
    while True:
        answer = httpx.head(short_url)
        if (answer.status_code, answer.headers.get("location")) == (status, location):
            return
        assert time.monotonic() < deadline, (answer.status_code, answer.headers.get("location"))


@contextmanager
def running_site(data: Path, *, dashboard: bool = True) -> Iterator[DashboardSite]:
    """Run the stack in a thread of its own; Playwright has the loop of this one."""
    options = StackOptions(data, free_port(), durable=False, dashboard=dashboard)
    with (
        start_blocking_portal("asyncio", {"loop_factory": uvloop.new_event_loop}) as portal,
        portal.wrap_async_context_manager(run_stack(options, lambda text: None)) as stack,
    ):
        settings = dict(line.split("=", 1) for line in (data / "services.env").read_text().splitlines())
        sign_in_url = portal.call(asyncio.wait_for, stack.sign_in_url, START_TIMEOUT_S) if dashboard else ""
        yield DashboardSite(portal, stack, sign_in_url, settings["LINKS_DATABASE_URL"])
