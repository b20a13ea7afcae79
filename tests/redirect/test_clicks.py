"""Clicks through the whole redirect service: each answered visit is in the journal, whatever becomes of the process."""

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import httpx
import pytest
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from deploy.local.services import service
from services.redirect.app import create_app
from services.redirect.lane import LaneProtocol
from shared.clicks import ClickParts
from shared.settings import RedirectSettings
from tests.conftest import Database, running
from tests.redirect.conftest import AddLink
from tests.redirect.intake_server import TOKEN, IntakeServer, until
from tests.redirect.journals import journaling, read_folder
from tests.serving import client_of, serve

REQUEST = "GET /a HTTP/1.1\r\nHost: sho.rt\r\nX-Forwarded-For: 203.0.113.7\r\nUser-Agent: {agent}\r\n\r\n"

StartRedirect = Callable[[Path, str], Awaitable["subprocess.Popen[bytes]"]]


@pytest.fixture
async def start_redirect(
    database: Database, valkey_url: str, add_link: AddLink, folder: Path, tmp_path: Path
) -> AsyncIterator[StartRedirect]:
    """`await start_redirect(socket, address)` is a redirect process that ships to an address; it knows the link `a`."""
    await add_link("a", "https://www.example.com/")
    with ExitStack() as stack:

        async def start(socket: Path, address: str) -> "subprocess.Popen[bytes]":
            program = service(
                "redirect",
                ["services.redirect"],
                f"unix:{socket}",
                REDIRECT_DATABASE_URL=database.redirect_url,
                REDIS_URL=valkey_url,
                JOURNAL_DIR=str(folder),
                LINKS_ADDRESS=address,
                INTERNAL_TOKEN=TOKEN,
            )
            process = running(program, tmp_path / f"{socket.name}.log")
            started = await asyncio.to_thread(process.__enter__)
            stack.push(process)
            return started

        yield start


@pytest.mark.parametrize("protocol", [LaneProtocol, HttpToolsProtocol])
async def test_both_ways_record_and_head_does_not(  # noqa: PLR0917  # fixtures
    redirect_settings: RedirectSettings,
    add_link: AddLink,
    socket: Path,
    folder: Path,
    links: IntakeServer,
    protocol: type[HttpToolsProtocol],
) -> None:
    """Each answered GET of a link is in the journal when its answer arrives; HEAD and unknown codes are not."""
    await add_link("a", "https://www.example.com/")
    address = Path(f"{socket}.links")
    settings = journaling(redirect_settings, folder, f"unix:{address}")
    async with links.listen(address), serve(create_app(settings), socket, http=protocol), client_of(socket) as client:
        reader, writer = await asyncio.open_unix_connection(str(socket))
        for number in range(1, 6):
            writer.write(REQUEST.format(agent=f"r{number}").encode())
            await reader.readuntil(b"\r\n\r\n")
            assert len(read_folder(folder)) == number
        writer.close()
        await client.head("/a")
        await client.get("/none")
        recorded = read_folder(folder)
        await until(lambda: len(links.clicks) == 5)
        await until(lambda: links.posts)
        metrics = await metrics_of(client)

        assert [parts for _, _, parts in recorded] == [
            ClickParts(address=b"203.0.113.7", agent=b"r%d" % number) for number in range(1, 6)
        ]
        assert metrics['redirect_answers_total{status="3xx",way="lane"}'] == (4 if protocol is LaneProtocol else 0)
        assert metrics["redirect_clicks_recorded_total"] == 5
        assert metrics['redirect_clicks_dropped_total{reason="full"}'] == 0
        assert metrics['redirect_clicks_dropped_total{reason="error"}'] == 0


async def test_metrics_tell_what_waits(
    redirect_settings: RedirectSettings, add_link: AddLink, socket: Path, folder: Path, links: IntakeServer
) -> None:
    """While the write service is away, how much waits, how old it is and how often it was tried; then that it is gone."""
    await add_link("a", "https://www.example.com/")
    address = Path(f"{socket}.links")
    links.answers += [Response(status_code=500)] * 3
    settings = journaling(redirect_settings, folder, f"unix:{address}")
    async with links.listen(address), serve(create_app(settings), socket), client_of(socket) as client:
        await client.get("/a")
        await until(lambda: len(links.posts) == 3)
        before = await metrics_of(client)
        await until(lambda: links.clicks)
        after = await metrics_of(client)
        async with asyncio.timeout(60):
            while after["redirect_clicks_shipped_total"] != 1:
                after = await metrics_of(client)

    assert before["redirect_journal_waiting_bytes"] > 40
    assert 0.1 < before["redirect_journal_oldest_seconds"] < 20
    assert before["redirect_shipper_failures_total"] >= 2
    assert after["redirect_journal_waiting_bytes"] == after["redirect_journal_oldest_seconds"] == 0
    assert after["redirect_shipper_failures_total"] == 3
    assert after["redirect_journal_folder_bytes"] > 0


async def test_age_is_known_without_a_service(
    redirect_settings: RedirectSettings, add_link: AddLink, socket: Path, folder: Path
) -> None:
    """How old the oldest click is can be seen also while nobody takes a connection."""
    await add_link("a", "https://www.example.com/")
    app = create_app(journaling(redirect_settings, folder))
    async with serve(app, socket), client_of(socket) as client, asyncio.timeout(60):
        await client.get("/a")
        while (await metrics_of(client))["redirect_journal_oldest_seconds"] < 0.1:
            await asyncio.sleep(0.01)


async def test_service_starts_and_answers_without_its_folder(
    redirect_settings: RedirectSettings, add_link: AddLink, socket: Path, tmp_path: Path
) -> None:
    """A folder that cannot be written costs no redirect."""
    (tmp_path / "file").touch()
    await add_link("a", "https://www.example.com/")
    settings = journaling(redirect_settings, tmp_path / "file" / "journal")
    async with serve(create_app(settings), socket), client_of(socket) as client:
        statuses = [(await client.get("/a")).status_code for _ in range(3)]
        metrics = await metrics_of(client)

    assert statuses == [302, 302, 302]
    assert metrics['redirect_clicks_dropped_total{reason="error"}'] == 3


async def test_kill_loses_nothing_that_was_answered(start_redirect: StartRedirect, socket: Path, folder: Path) -> None:
    """A process that is killed in the middle of its work has every request that it answered in its journal."""
    process = await start_redirect(socket, "unix:/nonexistent")
    answered, attempted = await visit_until(socket, process, signal.SIGKILL)
    recorded = [parts.agent for _, _, parts in read_folder(folder)]

    assert answered <= set(recorded) <= attempted
    assert len(recorded) == len(set(recorded))


async def test_survivor_ships_what_a_killed_process_left(
    start_redirect: StartRedirect, socket: Path, folder: Path, links: IntakeServer
) -> None:
    """Another process finds the journal of the killed one, and each of its clicks arrives once."""
    address = f"unix:{socket}.links"
    async with links.listen(Path(f"{socket}.links")):
        process = await start_redirect(socket, address)
        answered, attempted = await visit_until(socket, process, signal.SIGKILL)
        survivor = await start_redirect(socket.with_suffix(".other"), address)
        await until(lambda: len(list(folder.glob("*.journal"))) == 1)
        survivor.send_signal(signal.SIGTERM)
        await until(lambda: survivor.poll() is not None)
    arrived = [parts.agent for _, _, parts in links.clicks]

    assert answered <= set(arrived) <= attempted
    assert len(arrived) == len(set(arrived))


async def test_sigterm_ships_the_rest(
    start_redirect: StartRedirect, socket: Path, folder: Path, links: IntakeServer
) -> None:
    """After SIGTERM every request that was answered has arrived, none besides, and the folder is empty."""
    async with links.listen(Path(f"{socket}.links")):
        process = await start_redirect(socket, f"unix:{socket}.links")
        answered, _ = await visit_until(socket, process, signal.SIGTERM)
        await until(lambda: process.poll() is not None)
    arrived = [parts.agent for _, _, parts in links.clicks]

    # uvicorn ends by the signal that it was sent.
    assert process.returncode == -signal.SIGTERM
    assert sorted(filter(None, arrived)) == sorted(answered)
    assert list(folder.iterdir()) == []


async def visit_until(
    socket: Path, process: "subprocess.Popen[bytes]", number: signal.Signals
) -> tuple[set[bytes], set[bytes]]:
    """Visit the link over and over, then send the process a signal.

    Returns:
        The user agents of the requests that were answered, and of those that were sent.
    """
    answered: set[bytes] = set()
    attempted: set[bytes] = set()
    visitors = [asyncio.create_task(visit(socket, name, answered, attempted)) for name in "abcdefgh"]
    await until(lambda: len(answered) > 2000)
    process.send_signal(number)
    await asyncio.gather(*visitors)
    await until(lambda: process.poll() is not None)
    return answered, attempted


async def visit(socket: Path, name: str, answered: set[bytes], attempted: set[bytes]) -> None:
    """Send requests one after the other until the server is gone."""
    reader, writer = await asyncio.open_unix_connection(str(socket))
    with contextlib.suppress(OSError, EOFError):
        for number in count():
            agent = f"{name}{number}"
            attempted.add(agent.encode())
            writer.write(REQUEST.format(agent=agent).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 302 ")
            answered.add(agent.encode())
    writer.close()


async def metrics_of(client: httpx.AsyncClient) -> dict[str, float]:
    lines = (await client.get("/metrics")).text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}
