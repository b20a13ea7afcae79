"""The Postgres tier after an outage: it asks again as soon as anyone has reached Postgres."""

import asyncio
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from services.redirect.app import create_app
from services.redirect.feed import Feed, FeedReader
from services.redirect.lane import LaneProtocol
from services.redirect.lookup.breaker import FAILURES_TO_OPEN, Breaker
from services.redirect.lookup.source import Source, SourceUnavailable
from services.redirect.memory import Memory
from shared.postgres import open_pool
from shared.settings import RedirectSettings
from tests.faults import FaultyProxy
from tests.redirect.conftest import AddLink, FaultyPostgres
from tests.serving import client_of, serve

URL = "https://www.example.com/"
KEY = ("sho.rt", "a")

FAILURES_TO_LONG_PAUSE = FAILURES_TO_OPEN + 3
"""After so many the breaker's pause is at least 1.5 s, six times as long as the feed's."""


async def fail(source: Source, proxy: FaultyProxy) -> None:
    """Open the breaker."""
    proxy.refuse()
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(SourceUnavailable):
            await source.read([KEY])
    proxy.accept()


@pytest.mark.parametrize("is_told", [True, False])
async def test_poll_that_succeeds_ends_the_pause(
    add_link: AddLink, is_told: bool, faulty_postgres: FaultyPostgres
) -> None:
    """With a clock that stands still no pause ends by itself: only the feed's success lets misses through again."""
    await add_link("a", URL)
    proxy, url = faulty_postgres
    async with open_pool(url, size=1, application="tests") as pool:
        source = Source(pool, Breaker(clock=lambda: 0.0))
        feed = Feed(Memory(2**20))
        reader = FeedReader(url, feed, on_success=source.trust_again) if is_told else FeedReader(url, feed)
        await fail(source, proxy)
        connections = proxy.connections
        with pytest.raises(SourceUnavailable):
            await source.read([KEY])
        assert proxy.connections == connections
        assert await reader.poll()
        reader.close()

        assert source.is_up is is_told
        if is_told:
            assert (await source.read([KEY]))[KEY].url == URL


async def test_misses_are_answered_once_the_feed_is_back(
    redirect_settings: RedirectSettings, socket: Path, add_link: AddLink, faulty_postgres: FaultyPostgres
) -> None:
    """The whole service, after an outage so long that its misses pause for seconds: the first after the feed is answered."""
    await add_link("a", URL)
    proxy, url = faulty_postgres
    settings = redirect_settings.model_copy(update={"redirect_database_url": SecretStr(url)})
    async with (
        serve(create_app(settings), socket, http=LaneProtocol),
        client_of(socket) as client,
        asyncio.timeout(30),
    ):
        proxy.refuse()
        while await metric(client, 'redirect_store_failures_total{store="postgres"}') < FAILURES_TO_LONG_PAUSE:
            assert (await client.get("/a")).status_code == 503
        proxy.accept()
        accepted_at = asyncio.get_running_loop().time()
        while accepted_at + await metric(client, "redirect_feed_age_seconds") > asyncio.get_running_loop().time():
            await asyncio.sleep(0.005)
        answer = await client.get("/a")

    assert (answer.status_code, answer.headers.get("location")) == (302, URL)


async def metric(client: httpx.AsyncClient, name: str) -> float:
    (line,) = (line for line in (await client.get("/metrics")).text.splitlines() if line.startswith(name + " "))
    return float(line.split()[-1])
