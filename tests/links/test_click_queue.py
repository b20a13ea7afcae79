"""Batches that wait for the click worker: bounded in number, and refused in a way that brings them back."""

import asyncio
import os
import signal
from pathlib import Path
from uuid import uuid4

import httpx

from services.links.app import create_app
from services.links.clicks.queue import WAITING_LIMIT, WORKER, ClickTimes
from services.redirect.journal.intake import IntakeClient
from services.redirect.journal.shipper import run_shipper
from services.redirect.journal.writer import open_journal
from shared.postgres import Connection
from shared.settings import LinksSettings
from tests.links.click_data import check_sums, click, make_links, records
from tests.links.intake_client import HEADERS, TOKEN, URL, send, worker_pids
from tests.redirect.intake_server import until
from tests.redirect.journals import GIB
from tests.serving import client_of, serve


async def test_waiting_batches_are_bounded(
    patient_intake: httpx.AsyncClient, owner: Connection, socket: Path, tmp_path: Path
) -> None:
    """While as many wait as may, one more is refused at once; a redirector keeps it and ships it when there is room."""
    (link,) = await make_links(owner, 1)
    await send(patient_intake, records([click(link)]), segment=uuid4())
    (pid,) = await worker_pids()
    async with (
        open_journal(tmp_path, GIB) as journal,
        run_shipper(journal, IntakeClient(f"unix:{socket}", TOKEN)) as shipper,
    ):
        os.kill(pid, signal.SIGSTOP)
        sending = [
            asyncio.create_task(send(patient_intake, records([click(link)]), segment=uuid4()))
            for _ in range(WAITING_LIMIT + 1)
        ]
        refused, waiting = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
        journal.record([click(link)])
        await until(lambda: shipper.failures > 0)
        assert shipper.shipped == 0
        os.kill(pid, signal.SIGCONT)
        answers = await asyncio.gather(*waiting)
        await until(lambda: shipper.shipped == 1)

    assert [(task.result().status_code, task.result().headers["retry-after"]) for task in refused] == [(503, "1")]
    assert [answer.status_code for answer in answers] == [200] * WAITING_LIMIT
    assert await check_sums(owner) == 1 + WAITING_LIMIT + 1


async def test_sender_that_hangs_gives_its_place_back(
    intake_settings: LinksSettings, owner: Connection, socket: Path
) -> None:
    """A batch that stops in the middle is given up after its deadline; as many as may wait hold up nobody for ever."""
    app = create_app(intake_settings, click_times=ClickTimes(body=0.3))
    head = f"POST {URL}?segment={uuid4()}&offset=16 HTTP/1.1\r\nHost: links\r\nContent-Length: 100\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    async with serve(app, socket), client_of(socket, **HEADERS) as intake:
        senders = [await asyncio.open_unix_connection(str(socket)) for _ in range(WAITING_LIMIT)]
        for _, writer in senders:
            writer.write(head.encode() + b"\r\nhalf of it")
        async with asyncio.timeout(60):
            statuses = {await reader.readline() for reader, _ in senders}
        for _, writer in senders:
            writer.close()
        (link,) = await make_links(owner, 1)
        answer = await send(intake, records([click(link)]), segment=uuid4())

    assert statuses == {b"HTTP/1.1 503 Service Unavailable\r\n"}
    assert answer.status_code == 200


async def test_worker_that_cannot_be_started_is_tried_again(
    intake_settings: LinksSettings, socket: Path, owner: Connection, tmp_path: Path
) -> None:
    """While there is no program to start, batches are refused and the service lives on; once there is, they are taken."""
    (link,) = await make_links(owner, 1)
    data, segment, program = records([click(link)]), uuid4(), tmp_path / "worker"
    async with (
        serve(create_app(intake_settings, click_worker=(str(program),)), socket),
        client_of(socket, **HEADERS) as client,
    ):
        refused = await send(client, data, segment=segment)
        program.write_text(f"#!/bin/sh\nexec {' '.join(WORKER)}\n")
        program.chmod(0o700)
        # Nobody asks for it: it is there before the next batch.
        async with asyncio.timeout(60):
            while not await worker_pids():
                await asyncio.sleep(0.01)
        answer = await send(client, data, segment=segment)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert answer.status_code == 200
    assert await check_sums(owner) == 1
