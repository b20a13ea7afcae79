"""The APIs of other shorteners at nginx: paths that are there where `COMPAT` names them, and requests that are sent once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import get_args

import asyncpg
import httpx
import pytest

from services.links.app import create_app
from services.links.keys.rows import create_key
from shared.api import ForeignApi
from shared.settings import LinksSettings
from tests.conftest import Database
from tests.nginx.conftest import Front, Recorder, StartFront
from tests.serving import serve

ALL = get_args(ForeignApi)
PATHS = {
    "/yourls-api.php": {"yourls"},
    "/rest/v3/short-urls": {"shlink"},
    "/rest/health": {"shlink"},
    "/api/v2/links": {"kutt", "polr"},
    "/api/v2/action/shorten": {"kutt", "polr"},
    "/api-create.php": {"polr"},
}
CREATING = [
    "/yourls-api.php?signature={}&action=shorturl&url=https%3A%2F%2Fwww.example.com%2F",
    "/rest/v3/short-urls/shorten?apiKey={}&longUrl=https%3A%2F%2Fwww.example.com%2F",
    "/rest/v1/short-urls/shorten?apiKey={}&longUrl=https%3A%2F%2Fwww.example.com%2F",
    "/api/v2/action/shorten?key={}&url=https%3A%2F%2Fwww.example.com%2F",
    "/api-create.php?key={}&url=https%3A%2F%2Fwww.example.com%2F",
]
"""What creates a link by GET."""

PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key,content-type"}
ORIGIN = {"Origin": "https://app.shlink.io"}


@pytest.mark.parametrize("name", ["", *ALL])
async def test_path_is_there_where_it_is_switched_on(
    recorders: list[Recorder], start_front: StartFront, name: str
) -> None:
    """Without its name a path is what any other is: a code's, or a part of this site's own API."""
    redirect, links = recorders
    options = {"compat": [name] if name else []}
    front = await asyncio.to_thread(start_front, redirect=[redirect.path], links=[links.path], **options)
    async with front.client() as client:
        for path, names in PATHS.items():
            redirect.received.clear()
            links.received.clear()
            await client.get(path)
            is_of_links = name in names or path.startswith("/api/")

            assert (len(redirect.received), len(links.received)) == ((0, 1) if is_of_links else (1, 0)), path


async def test_any_page_may_use_rest_alone(
    recorders: list[Recorder], start_front: StartFront, binary: Path | None
) -> None:
    """Shlink's web client has an address of its own: answers below /rest/ may be read, and no others."""
    paths = [recorder.path for recorder in recorders]
    front = await asyncio.to_thread(start_front, redirect=paths, links=paths, compat=ALL, api_rate=20, binary=binary)
    async with front.client() as client:
        preflight = await client.options("/rest/v3/short-urls", headers=PREFLIGHT | ORIGIN)
        assert not [recorder for recorder in recorders if recorder.received]
        answers = [preflight, await client.get("/rest/v3/none", headers=ORIGIN)]
        answers += [await client.post("/rest/v3/short-urls", headers=ORIGIN, content=b"x" * 400_000)]
        for recorder in recorders:
            recorder.answer = b"HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\ncontent-length: 0\r\n\r\n"
        answers += [await client.get("/rest/health", headers=ORIGIN)]
        for recorder in recorders:
            recorder.answer = b""
        answers += [await client.get("/rest/v3/short-urls", headers=ORIGIN)]
        many = (client.get("/rest/v3/short-urls", headers=ORIGIN) for _ in range(100))
        answers += await asyncio.gather(*many)

        assert preflight.headers["access-control-allow-headers"] == "x-api-key,content-type"
        assert preflight.headers["access-control-max-age"] == "3600"
        assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= set(
            preflight.headers["access-control-allow-methods"].split(", ")
        )
        assert {204, 302, 413, 200, 503, 429} == {answer.status_code for answer in answers}
        for answer in answers:
            assert answer.headers.get_list("access-control-allow-origin") == ["*"]
            assert "access-control-allow-credentials" not in answer.headers
        async with asyncio.timeout(20):
            while (await client.get("/rest/health")).status_code == 429:
                await asyncio.sleep(0.1)
        assert "access-control-allow-origin" not in (await client.get("/rest/health")).headers
        for path in ("/api/v1/links", "/api/v2/links", "/yourls-api.php", "/api-create.php", "/abc", "/restore"):
            answer = await client.get(path, headers=ORIGIN)
            assert "access-control-allow-origin" not in answer.headers, path


@pytest.mark.parametrize("path", [*CREATING, "/rest/v3/short-urls", "/api/v2/links"])
async def test_nothing_is_sent_twice(
    recorders: list[Recorder], start_front: StartFront, binary: Path | None, path: str
) -> None:
    """A service that breaks off may have created a link, so no other one is asked, whatever the method."""
    paths = [recorder.path for recorder in recorders]
    front = await asyncio.to_thread(start_front, redirect=paths, links=paths, compat=ALL, binary=binary)
    for recorder in recorders:
        recorder.answer = b""
    async with front.client() as client:
        for sent, method in enumerate(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"), 1):
            assert (await client.request(method, path)).status_code == 503
            assert sum(len(recorder.received) for recorder in recorders) == sent


@pytest.fixture
async def dying(links_settings: LinksSettings, socket: Path, start_front: StartFront) -> AsyncIterator[Front]:
    """nginx before two write services, each of which is gone when it has done what it was asked for."""
    settings = links_settings.model_copy(update={"compat": ALL})
    sockets = [socket.with_suffix(f".links-{number}") for number in range(2)]
    doors = [path.with_suffix(".door") for path in sockets]
    async with AsyncExitStack() as stack:
        for path, door in zip(sockets, doors, strict=True):
            await stack.enter_async_context(serve(create_app(settings), path))
            server = await asyncio.start_unix_server(_Door(path).handle, str(door))
            door.chmod(0o666)
            stack.callback(server.close)
        yield await asyncio.to_thread(start_front, redirect=doors, links=doors, compat=ALL)


class _Door:
    """Passes a request on, waits for the answer, and breaks off without it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            request = await reader.read(65536)
            service = await asyncio.open_unix_connection(str(self._path))
            service[1].write(request)
            await service[0].read(65536)
            service[1].close()
        writer.transport.abort()


@pytest.mark.parametrize("path", CREATING)
async def test_one_link_if_links_dies_after_the_commit(dying: Front, database: Database, path: str) -> None:
    """A GET that creates, and whose service is killed between commit and answer, makes one link, not one for each try."""
    conn = await asyncpg.connect(database.links_url)
    _, key = await create_key(conn, owner="alice", scopes=["links:write"])
    async with dying.client() as client:
        answer = await client.get(path.format(key))
    created = await conn.fetchval("SELECT count(*) FROM links")
    await conn.close()

    assert answer.status_code == 503
    assert created == 1


async def test_methods_that_look_are_no_creation(dying: Front, database: Database) -> None:
    """HEAD and OPTIONS of what creates by GET create nothing."""
    conn = await asyncpg.connect(database.links_url)
    _, key = await create_key(conn, owner="alice", scopes=["links:write"])
    async with dying.client() as client:
        for path in CREATING:
            for method in ("HEAD", "OPTIONS"):
                with contextlib.suppress(httpx.HTTPError):
                    await client.request(method, path.format(key))
    created = await conn.fetchval("SELECT count(*) FROM links")
    await conn.close()

    assert created == 0
