"""P8: a backup restores every link that was acknowledged before its dump began, under the services that go on running.

The control restores the naive way, by `pg_restore` into the database in use, and must show what the services' caches
and their knowledge of the change feed make of that.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import pytest

from deploy.backup.files import Backup
from deploy.backup.programs import find_program, run_program, with_database
from deploy.local.services import service
from deploy.local.valkey import Valkey
from services.links.keys.rows import create_key
from tests.backup.conftest import Installation
from tests.conftest import running
from tests.promises.visits import ObservedVisit, Visitor
from tests.serving import client_of

pytestmark = pytest.mark.promise

SEEDED = 50_000
CREATORS = 4

VISIBLE_S = 1.0
WATCHED_S = 3.0
PACE_S = 0.005

A, B, C = (f"https://www.example.com/{name}" for name in "abc")

Restore = Callable[[Installation, Backup], Awaitable[None]]


async def test_every_link_acknowledged_before_is_restored(installation: Installation) -> None:
    """Links are created while the dump runs: all whose creation was acknowledged before it began are in it."""
    await installation.add_links(SEEDED)
    acknowledged: dict[str, datetime] = {}
    done = asyncio.Event()

    async def create(creator: int) -> None:
        conn = await asyncpg.connect(installation.database.links_url)
        while not done.is_set():
            code = f"new-{creator}-{len(acknowledged)}"
            await conn.execute("INSERT INTO links (domain, code, owner, url) VALUES ('sho.rt', $1, 'o', $1)", code)
            acknowledged[code] = datetime.now(UTC)
        await conn.close()

    creators = [asyncio.create_task(create(n)) for n in range(CREATORS)]
    backup = await installation.back_up()
    done.set()
    await asyncio.gather(*creators)
    await installation.execute("TRUNCATE links")
    restoring = await installation.run("restore", str(backup.dump))
    links = await installation.links()

    assert restoring.code == 0
    before = {code for code, at in acknowledged.items() if at < backup.manifest.began_at}
    print(f"{len(before)} acknowledged before, {len(acknowledged) - len(before)} later; {restoring.output}")
    assert before
    assert before <= links.keys()
    assert sum(code.startswith("link") for code in links) == SEEDED
    # The dump is one moment: what was acknowledged after it ended cannot be in it.
    assert acknowledged.keys() - links.keys()


@dataclass
class Services:
    """The write service and redirectors, each a process."""

    installation: Installation
    valkey: Valkey
    folder: Path
    stack: AsyncExitStack
    key: str = ""
    redirectors: list[Visitor] = field(default_factory=list)
    client: httpx.AsyncClient = field(init=False)

    async def start(self) -> None:
        database = self.installation.database
        async with self.installation.connected() as conn:
            _, self.key = await create_key(conn, owner="o", scopes=("links:read", "links:write"))
        socket = self.folder / "links.sock"
        program = service(
            "links",
            ["services.links"],
            f"unix:{socket}",
            LINKS_DATABASE_URL=database.links_url,
            FASTAPI_SECRET_KEY="x" * 32,
            PUBLIC_BASE_URL="http://sho.rt",
        )
        self.stack.enter_context(running(program, self.folder / "links.log"))
        self.client = await self.stack.enter_async_context(client_of(socket, Authorization=f"Bearer {self.key}"))
        for _ in range(2):
            self.start_redirector()

    def start_redirector(self) -> Visitor:
        socket = self.folder / f"redirect-{len(self.redirectors)}.sock"
        program = service(
            "redirect",
            ["services.redirect"],
            f"unix:{socket}",
            REDIRECT_DATABASE_URL=self.installation.database.redirect_url,
            REDIS_URL=self.valkey.url,
        )
        self.stack.enter_context(running(program, socket.with_suffix(".log")))
        self.redirectors.append(self.stack.enter_context(Visitor(socket)))
        return self.redirectors[-1]

    async def create(self, code: str, url: str) -> httpx.Response:
        return await self.client.post("/api/v1/links", json={"code": code, "url": url})

    async def edit(self, code: str, url: str) -> None:
        response = await self.client.patch(f"/api/v1/links/{code}", json={"url": url})
        assert response.status_code == 200, response.text

    async def wait_for(self, expected: dict[str, ObservedVisit], within_s: float = VISIBLE_S) -> None:
        """Wait until every redirector gives the answers that are expected."""
        deadline = time.monotonic() + within_s
        for visitor in self.redirectors:
            for code, seen in expected.items():
                while (got := await visitor.visit(code)) != seen:
                    assert time.monotonic() < deadline, (code, got)
                    await asyncio.sleep(PACE_S)


@pytest.fixture
async def services(
    installation: Installation, valkey: Valkey, valkey_url: str, socket: Path
) -> AsyncIterator[Services]:
    folder = socket.with_suffix("")
    folder.mkdir()
    async with AsyncExitStack() as stack:
        made = Services(installation, valkey, folder, stack)
        await made.start()
        yield made


@dataclass
class Watch:
    """What visitors saw, and when they asked."""

    seen: list[tuple[float, str, ObservedVisit]] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def visit(self, visitor: Visitor, codes: list[str]) -> None:
        while not self.done.is_set():
            for code in codes:
                asked = time.monotonic()
                self.seen.append((asked, code, await visitor.visit(code)))
            await asyncio.sleep(PACE_S)


async def restore_by_command(installation: Installation, backup: Backup) -> None:
    done = await installation.run("restore", str(backup.dump), "--replace")
    assert (done.code, done.errors) == (0, "")
    print(done.output)


async def restore_naively(installation: Installation, backup: Backup) -> None:
    """As one would: drop what is there, and let `pg_restore` make it anew."""
    name = installation.names.current
    async with installation.connected("postgres") as admin:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.execute(f"CREATE DATABASE {name} OWNER tinyurl")
    url = with_database(installation.database.owner_url, name)
    await run_program(find_program("pg_restore", 18), "--no-owner", str(backup.dump), timeout_s=60, url=url)


async def lose_a_timeline(services: Services) -> tuple[Backup, dict[str, ObservedVisit]]:
    """Take a backup, then change links, and let every redirector and Redis know of it.

    Returns:
        The backup, and what visitors saw at its time.
    """
    for code in ("edited", "deleted"):
        assert (await services.create(code, A)).status_code == 201
    then = {"edited": ObservedVisit(302, A), "deleted": ObservedVisit(302, A), "late": ObservedVisit(404)}
    await services.wait_for(then)
    backup = await services.installation.back_up()
    for n in range(5):
        await services.edit("edited", f"{B}/{n}")
    await services.edit("edited", B)
    assert (await services.client.delete("/api/v1/links/deleted")).status_code == 204
    assert (await services.create("late", B)).status_code == 201
    await services.wait_for(
        {"edited": ObservedVisit(302, B), "deleted": ObservedVisit(410), "late": ObservedVisit(302, B)}, 6
    )
    return backup, then


async def watch_a_restore(
    services: Services, restore: Restore
) -> tuple[list[tuple[float, str, ObservedVisit]], dict[str, ObservedVisit]]:
    """Restore under visitors.

    Returns:
        What they saw, with the seconds after the restore at which they asked, and what they should have seen.
    """
    backup, then = await lose_a_timeline(services)
    watch = Watch()
    visits = [asyncio.create_task(watch.visit(visitor, list(then))) for visitor in services.redirectors]
    await restore(services.installation, backup)
    restored = time.monotonic()
    await asyncio.sleep(WATCHED_S)
    watch.done.set()
    await asyncio.gather(*visits)
    return [(asked - restored, code, seen) for asked, code, seen in watch.seen], then


async def test_restore_under_running_services(services: Services) -> None:
    """Redirectors that hold the lost timeline in memory and in Redis show the backup's links within a second.

    They never stop to answer; the write service goes on at once, and its edits are visible within a second.
    """
    seen, then = await watch_a_restore(services, restore_by_command)
    stale = [visit for visit in seen if visit[0] > VISIBLE_S and visit[2] != then[visit[1]]]
    unavailable = [visit for visit in seen if visit[2].status in (0, 503)]
    print(f"{len(seen)} visits, {len(stale)} stale, {len(unavailable)} unavailable: {unavailable[:5]}")
    last_wrong = max((at for at, code, answer in seen if answer != then[code]), default=0.0)
    print(f"the last answer of the lost timeline was given {last_wrong:.2f} s after the command had ended")
    assert len(seen) > 100
    assert stale == []
    assert unavailable == []

    created = await services.create("new", C)
    assert created.status_code == 201, created.text
    await services.edit("edited", C)
    now = {**then, "new": ObservedVisit(302, C), "edited": ObservedVisit(302, C)}
    await services.wait_for(now)
    services.start_redirector()
    await services.wait_for(now)


async def test_naive_restore_shows_the_lost_timeline(services: Services) -> None:
    """The control: after a restore without the new timeline a redirector goes on with what it remembers."""
    seen, then = await watch_a_restore(services, restore_naively)

    assert [visit for visit in seen if visit[0] > VISIBLE_S and visit[2] != then[visit[1]]]
