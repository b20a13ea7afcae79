"""Who may send clicks to the intake."""

from pathlib import Path
from uuid import uuid4

import httpx
from pydantic import SecretStr

from services.links.app import create_app
from shared.postgres import Connection
from shared.settings import LinksSettings
from tests.links.click_data import check_sums, click, make_links, records
from tests.links.intake_client import PREVIOUS, TOKEN, URL, send, worker_pids
from tests.serving import client_of, serve


async def test_token_is_needed(intake: httpx.AsyncClient, owner: Connection) -> None:
    """The token or the one before it; anything else, an API key too, is 401 before a byte of the body is looked at."""
    (link,) = await make_links(owner, 1)
    data = records([click(link)])
    wrong = [
        "",
        "Bearer",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {'x' * 32}",
    ]

    refused = [await send(intake, data, {"Authorization": value}, segment=uuid4()) for value in wrong]
    taken = await send(intake, data, {"Authorization": f"bearer {PREVIOUS}"}, segment=uuid4())

    assert [answer.status_code for answer in refused] == [401] * len(wrong)
    assert taken.status_code == 200
    assert await check_sums(owner) == 1


async def test_empty_previous_token_opens_nothing(intake_settings: LinksSettings, socket: Path) -> None:
    """A setting that is there and empty is no token."""
    settings = intake_settings.model_copy(update={"internal_token_previous": SecretStr("")})
    async with serve(create_app(settings), socket), client_of(socket, Authorization="Bearer") as client:
        answer = await client.post(URL, headers={"X-Journal-Format": "1"})

    assert answer.status_code == 401


async def test_without_a_token_there_is_no_route(service: Path) -> None:
    """Not configured, it answers as an unknown path does, and no worker runs; the documentation never shows it."""
    async with client_of(service, Authorization="Bearer") as client:
        answer = await client.post(URL)
        schema = await client.get("/openapi.json")

    assert answer.status_code == 404
    assert "/internal" not in schema.text
    assert await worker_pids() == []
