"""Bodies and long answers: nothing that a client sends or reads slowly is kept in nginx's folders."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from services.links.keys.rows import create_key
from tests.conftest import Database
from tests.dashboard.process import HOST, running_dashboard
from tests.nginx.conftest import Front, NginxSite, Recorder, StartFront

TEMPORARY = ("body", "proxy")
MIB = 2**20
TAKEN_AT_MOST = 600_000
"""Bytes: what links may be sent for a link, 256 KiB, at the two paths below /api/, and heads."""


@pytest.fixture
async def bare(
    database: Database, recorders: list[Recorder], socket: Path, start_front: StartFront, binary: Path | None
) -> AsyncIterator[Front]:
    """An nginx before a dashboard, whose folders for what does not fit into memory are gone."""
    with running_dashboard(socket, recorders[0].path) as dashboard:
        front = await asyncio.to_thread(
            start_front,
            redirect=[recorders[0].path],
            links=[recorders[1].path],
            dashboard=[dashboard.socket],
            binary=binary,
        )
        remove_folders(front)
        yield front


def remove_folders(front: Front) -> None:
    """From now on nginx answers 500 where it would have written a body to a file, and cuts an answer off."""
    for name in TEMPORARY:
        shutil.rmtree(front.folder / name)


PATHS = [
    ("GET", "/abc", 413),
    ("GET", "/a/b", 413),
    ("POST", "/", 413),
    ("POST", "/docs", 413),
    ("POST", "/internal/clicks", 413),
    ("POST", "/api/v1/links", 413),
    ("DELETE", "/api/v1/links/abc", 413),
    ("POST", "/dashboard/sign-in", 413),
    ("POST", "/dashboard/", 413),
    ("PUT", "/dashboard/_stcore/stream", 413),
    ("PUT", "/dashboard/_stcore/upload_file/session/file", 401),
]


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
async def test_large_body_is_kept_nowhere(bare: Front, recorders: list[Recorder], is_chunked: bool) -> None:
    """A body of 8 MB is refused at every path, by its length or by whoever asks for a sign-in, without a file."""
    body = b"x" * (8 * 10**6)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    wrong = {}
    async with bare.client(Host=f"{HOST}:{bare.port}") as client:
        for method, path, status in PATHS:
            answer = await client.request(method, path, content=chunks() if is_chunked else body)
            # A body without a length is not looked at where the answer does not need it.
            allowed = {status, 302, 404, 405} if is_chunked else {status}
            if answer.status_code not in allowed:
                wrong[f"{method} {path}"] = answer.status_code

    assert wrong == {}
    assert sum(len(data) for recorder in recorders for data in recorder.received) < TAKEN_AT_MOST


@pytest.mark.parametrize("path", ["/api/v1/links", "/api/v1/links/batch"])
async def test_body_that_grows_too_large_is_told_so(
    socket: Path, start_front: StartFront, binary: Path | None, path: str
) -> None:
    """A body without a length that passes the limit while it is passed on gets a problem of its own: 413, not 500."""

    async def read_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        writer.close()

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(512):
            yield b"x" * 65536

    links = socket.with_suffix(".links")
    async with await asyncio.start_unix_server(read_only, str(links)):
        links.chmod(0o666)
        front = await asyncio.to_thread(start_front, redirect=[links], links=[links], binary=binary)
        async with front.client() as client:
            answer = await client.post(path, content=chunks())

    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


async def test_file_to_import_is_passed_on_while_it_comes(site: NginxSite, database: Database) -> None:
    """A file to import may be large, with a length or without one, and nginx keeps none of it."""
    remove_folders(site.front)
    conn = await asyncpg.connect(database.links_url)
    _, key = await create_key(conn, owner="alice", scopes=["links:write"])
    await conn.close()
    headers = {"Content-Type": "application/octet-stream", "Authorization": f"Bearer {key}"}
    size = 32 * MIB

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(size // 65536):
            yield b"x" * 65536

    answers = [
        await site.client.post("/api/v1/imports", content=content, headers=headers, timeout=60)
        for content in (chunks(), b"x" * size)
    ]

    assert [(answer.status_code, answer.json()["bytes"]) for answer in answers] == [(202, size)] * 2


@pytest.mark.parametrize("scope", [None, "links:read"])
async def test_upload_is_refused_before_it_is_read(site: NginxSite, database: Database, scope: str | None) -> None:
    """Without a key, and with one that may not write, each of many uploads is told so: none is cut off, none is kept."""
    remove_folders(site.front)
    headers, status = {"Content-Type": "application/json"}, 401
    if scope:
        conn = await asyncpg.connect(database.links_url)
        _, key = await create_key(conn, owner="alice", scopes=[scope])
        await conn.close()
        headers, status = headers | {"Authorization": f"Bearer {key}"}, 403
    for method in ("POST", "DELETE", "PATCH"):
        for expect in ({}, {"Expect": "100-continue"}):
            answers = [
                await site.client.request(
                    method, "/api/v1/links/batch", content=b" " * (8 * MIB), headers=headers | expect
                )
                for _ in range(5)
            ]
            assert {answer.status_code for answer in answers} == {status}, method
            assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}


async def test_long_answer_to_a_slow_reader(
    recorders: list[Recorder], start_front: StartFront, binary: Path | None
) -> None:
    """An answer of 64 MB waits at the service while its reader does not read, and arrives whole, without a file."""
    size = 64 * MIB
    recorders[1].answer = f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n".encode() + b"x" * size
    front = await asyncio.to_thread(start_front, redirect=[recorders[0].path], links=[recorders[1].path], binary=binary)
    remove_folders(front)
    readers = []
    for _ in range(3):
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(b"GET /api/v1/exports HTTP/1.1\r\nHost: sho.rt\r\nConnection: close\r\n\r\n")
        readers.append((reader, writer))
    # Each has begun, and nobody reads on until all have.
    heads = [await reader.readuntil(b"\r\n\r\n") for reader, _ in readers]
    async with asyncio.timeout(60):
        bodies = [len(await reader.read()) for reader, _ in readers]
    for _, writer in readers:
        writer.close()

    assert all(head.startswith(b"HTTP/1.1 200 ") for head in heads)
    assert bodies == [size] * 3
