"""Two releases in the middle of a deployment: two write services and two redirectors on the same stores, with links of both."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import asyncpg
import httpx

from deploy.local.postgres import OWNER, ROLES, SUPERUSER
from shared.api import USUAL_SCOPES
from shared.roles import set_password
from tests.promises.cluster import Cluster, links_service, redirect_service, run_stores
from tests.promises.releases import THIS, RunnableRelease
from tests.serving import NO_TLS

ALTERED: frozenset[bytes] = frozenset()
"""Headers in lower case, or `body`, that this release answers otherwise on purpose; the next one empties it."""

SOON_S = 1.0
ANSWER_TIMEOUT_S = 10

URL = "https://www.example.com/a?own=1#f"
OVER = "https://www.example.com/over"
LONG = "https://www.example.com/" + "p" * 8000

SIDES = ("old", "new")
OTHER = dict(zip(SIDES, SIDES[::-1], strict=True))


class Kind(NamedTuple):
    """Links of one kind: what is sent to create one, and what a visitor gets."""

    fields: dict[str, object]
    status: int
    location: str | None = None


def kinds() -> dict[str, Kind]:
    """Links of every kind; times are counted from now."""
    now = datetime.now(UTC)
    far, soon = ((now + timedelta(seconds=seconds)).isoformat() for seconds in (30 * 86400, SOON_S))
    return {
        "plain": Kind({}, 302, URL),
        **{f"status-{status}": Kind({"status_code": status}, status, URL) for status in (301, 302, 307, 308)},
        "kept": Kind({"cache_control": 3600}, 302, URL),
        "kept-and-ends": Kind({"cache_control": 3600, "expires_at": far}, 302, URL),
        "ends": Kind({"expires_at": far}, 302, URL),
        "begun": Kind({"valid_from": "2020-01-01T00:00:00Z"}, 302, URL),
        "not-yet": Kind({"valid_from": far}, 404),
        "ended": Kind({"expires_at": soon}, 410),
        "ended-elsewhere": Kind({"expires_at": soon, "expired_url": OVER}, 302, OVER),
        "disabled": Kind({"enabled": False}, 410),
        "disabled-elsewhere": Kind({"enabled": False, "expired_url": OVER}, 302, OVER),
        "deleted": Kind({}, 410),
        "deleted-elsewhere": Kind({"expired_url": OVER}, 302, OVER),
        "edited": Kind({"url": OVER}, 302, URL),
        "query": Kind({"forward_query": True}, 302, URL),
        "tagged": Kind({"tags": ["one", "two"], "title": "Título"}, 302, URL),
        "long": Kind({"url": LONG}, 302, LONG),
        "unicode": Kind({"url": "https://bücher.example/ü"}, 302, "https://xn--bcher-kva.example/%C3%BC"),
    }


@dataclass
class Deployment:
    """Both releases in the middle of a deployment.

    Attributes:
        clients: Of each side's write service.
        links: Every link of both, with its kind.
        settled_at: When those that end soon have ended, Unix seconds.
    """

    cluster: Cluster
    clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)
    links: dict[str, Kind] = field(default_factory=dict)
    settled_at: float = 0.0

    async def start(self, side: str, release: RunnableRelease) -> None:
        """Start both services of a release; the redirector's clicks go to the write service of the other one."""
        names = [f"{side}-links", f"{side}-redirect"]
        for name, make in zip(names, (links_service, redirect_service), strict=True):
            program = make(self.cluster, name)
            address = f"unix:{self.cluster.socket(f'{OTHER[side]}-links')}"
            program = replace(program, environment={**program.environment, "LINKS_ADDRESS": address})
            self.cluster.programs[name] = release.program(program)
        await asyncio.gather(*map(self.cluster.start, names))

    async def replace(self, side: str, release: RunnableRelease) -> None:
        """Kill both services of a side, and start those of another release in their place."""
        for name in (f"{side}-redirect", f"{side}-links"):
            await self.cluster.kill(name)
        await self.start(side, release)

    def client(self, side: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(verify=NO_TLS, uds=str(self.cluster.socket(f"{side}-links"))),
            base_url="http://sho.rt/api/v1",
            headers={"Authorization": f"Bearer {self.cluster.key}"},
            timeout=ANSWER_TIMEOUT_S,
        )

    async def create_links(self, side: str) -> None:
        """Create links of every kind, each with a code of its own and with a generated one."""
        client = self.clients[side]
        for name in kinds():
            for is_custom in (True, False):
                kind = kinds()[name]
                custom = {"code": f"{side}-{name}"} if is_custom else {}
                created = await client.post("/links", json={"url": URL, **custom, **kind.fields})
                assert created.status_code == 201, created.text
                code = created.json()["code"]
                self.links[code] = kind
                if name.startswith("deleted"):
                    assert (await client.delete(f"/links/{code}")).status_code == 204
                if name == "edited":
                    assert (await client.patch(f"/links/{code}", json={"url": URL})).status_code == 200
        self.settled_at = time.time() + SOON_S

    async def visit(
        self, side: str, target: str, *, method: str = "GET", error_format: str = "json", headers: str = ""
    ) -> bytes:
        """The whole answer of a redirector to a request in the shape that nginx sends; empty if there was none."""
        reader, writer = await asyncio.open_unix_connection(str(self.cluster.socket(f"{side}-redirect")))
        request = f"{method} /{target} HTTP/1.1\r\nHost: sho.rt\r\nX-Forwarded-For: 203.0.113.7\r\n"
        writer.write(f"{request}{headers}X-Error-Format: {error_format}\r\n\r\n".encode())
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head, re.IGNORECASE)
                return head + (await reader.readexactly(int(length[1])) if length and method != "HEAD" else b"")
        except (OSError, EOFError):
            return b""
        finally:
            writer.close()

    async def outcome(self, side: str, code: str) -> tuple[int, str | None]:
        return outcome(await self.visit(side, code))

    async def compare(self) -> list[str]:
        """Visit every link at both redirectors in every way, and tell where an answer is wrong or not the other's."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while time.time() < self.settled_at:
                await asyncio.sleep(0.01)
        faults = []
        for number, (code, kind) in enumerate([*self.links.items(), ("none", Kind({}, 404))]):
            # Who comes first reads Postgres and fills Redis, which the other reads; of each kind both come first once.
            first, second = SIDES if number % 2 else SIDES[::-1]
            ways: list[tuple[str, dict[str, str]]] = [
                (code, {}),
                (code, {"method": "HEAD"}),
                (code, {"error_format": "html"}),
                (f"{code}?own=2&x=1", {}),
                (code, {}),
            ]
            for target, options in ways:
                one, other = [await self.visit(side, target, **options) for side in (first, second)]
                if comparable(one) != comparable(other):
                    faults.append(f"{target} {options}: {first} {one!r}, {second} {other!r}")
                elif target == code and outcome(one) != (kind.status, kind.location):
                    faults.append(f"{target} {options}: both {one!r}")
        return faults


def outcome(answer: bytes) -> tuple[int, str | None]:
    """Status and location of an answer."""
    location = re.search(rb"\r\nlocation: ([^\r\n]*)\r\n", answer, re.IGNORECASE)
    return int(answer.split(b" ", 2)[1]) if answer else 0, location[1].decode() if location else None


def comparable(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if line.partition(b":")[0].lower() not in {b"date", *ALTERED}]
    return b"\r\n".join([*lines, b"", b"" if b"body" in ALTERED else body])


@asynccontextmanager
async def deploying(old: RunnableRelease, new: RunnableRelease = THIS) -> AsyncIterator[Deployment]:
    """Run the old release and fill it with links; migrate under it, and start the new one beside it, as a deployment does."""
    async with run_stores() as cluster, AsyncExitStack() as stack:
        deployment = Deployment(cluster)
        await create_database(cluster)
        await migrate(old, cluster)
        await let_in(cluster)
        await deployment.start("old", old)
        cluster.key = await create_key(old, cluster)
        deployment.clients["old"] = await stack.enter_async_context(deployment.client("old"))
        await deployment.create_links("old")
        await migrate(new, cluster)
        await deployment.start("new", new)
        deployment.clients["new"] = await stack.enter_async_context(deployment.client("new"))
        await deployment.create_links("new")
        yield deployment


async def create_database(cluster: Cluster) -> None:
    conn = await asyncpg.connect(cluster.postgres.url(SUPERUSER, "postgres"))
    await conn.execute("CREATE ROLE tinyurl LOGIN CREATEROLE")
    await set_password(conn, OWNER, cluster.postgres.passwords[OWNER])
    await conn.execute("CREATE DATABASE tinyurl OWNER tinyurl")
    await conn.close()


async def let_in(cluster: Cluster) -> None:
    """Give the services' roles their passwords."""
    conn = await cluster.connect()
    for role in ROLES:
        await set_password(conn, role, cluster.postgres.passwords[role])
    await conn.close()


async def migrate(release: RunnableRelease, cluster: Cluster) -> None:
    url = cluster.postgres.url(OWNER)
    done = await asyncio.to_thread(release.run, release.command, "migrate", OWNER_DATABASE_URL=url)
    assert done.returncode == 0, done.stderr


async def create_key(release: RunnableRelease, cluster: Cluster) -> str:
    url = cluster.postgres.url("tinyurl_links")
    # Releases differ in the scopes that a key has by itself.
    scopes = [part for scope in USUAL_SCOPES for part in ("--scope", scope)]
    command = (release.command, "keys", "create", "--owner", "tests", *scopes)
    done = await asyncio.to_thread(release.run, *command, LINKS_DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
