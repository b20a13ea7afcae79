"""A foreign API is no way around a bound: the shares of owners, targets that nobody may have, bodies, and who sees what."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import pytest

from services.links.web.errors import TooManyRequests
from services.links.web.shares import Share, Shares, open_shares
from shared.settings import LinksSettings
from tests.compat.conftest import KeyOf

Hold = Callable[[Share], Awaitable[None]]

URL = "https%3A%2F%2Fwww.example.com%2F"

CREATIONS = [
    ("GET", f"/yourls-api.php?signature={{key}}&action=shorturl&url={URL}"),
    ("POST", "/api/v2/links"),
    ("GET", f"/api-create.php?key={{key}}&url={URL}"),
]
EDITS = [
    ("GET", f"/yourls-api.php?signature={{key}}&action=shorturl&keyword=mine&url={URL}"),
    ("GET", "/yourls-api.php?signature={key}&action=expand&shorturl=mine"),
    ("GET", "/yourls-api.php?signature={key}&action=url-stats&shorturl=mine"),
    ("DELETE", "/api/v2/links/00000000-0000-8000-8000-000000000001"),
    ("PATCH", "/api/v2/links/00000000-0000-8000-8000-000000000001"),
    ("GET", f"/api/v2/action/shorten?key={{key}}&url={URL}"),
    ("GET", f"/api/v2/action/shorten?key={{key}}&custom_ending=mine&url={URL}"),
    ("GET", "/api/v2/action/lookup?key={key}&url_ending=mine"),
    ("GET", f"/api-create.php?key={{key}}&alias=mine&url={URL}"),
]
LISTS = [
    ("GET", "/yourls-api.php?signature={key}&action=stats&limit=1"),
    ("GET", "/yourls-api.php?signature={key}&action=db-stats"),
    ("GET", "/api/v2/links"),
]
BY_SHARE = [
    (name, method, path)
    for name, asked in (("creations", CREATIONS), ("edits", EDITS), ("lists", LISTS))
    for method, path in asked
]


@pytest.fixture
def shares(links_settings: LinksSettings) -> Shares:
    """Shares whose waiting is over at once."""
    return open_shares(links_settings.links_pool_size, wait_s=0.05)


@pytest.fixture
async def hold() -> AsyncIterator[Hold]:
    """Takes all turns of alice in a share, until the end of the test."""
    async with AsyncExitStack() as stack:

        async def take_all(share: Share) -> None:
            while True:
                try:
                    await stack.enter_async_context(share.turn("alice"))
                except TooManyRequests:
                    return

        yield take_all


@pytest.mark.parametrize(("name", "method", "path"), BY_SHARE, ids=lambda each: str(each)[:60])
async def test_owner_has_one_share(
    foreign: httpx.AsyncClient,
    key_of: KeyOf,
    shares: Shares,
    hold: Hold,
    *,
    name: str,
    method: str,
    path: str,
) -> None:
    """What an owner has under way by the API of this site counts here, too: more of it is 429, and other owners go on."""
    await hold(getattr(shares, name))
    answers = {}
    for owner in ("alice", "bob"):
        key = await key_of(owner)
        body = {"target": "https://www.example.com/"} if method in ("POST", "PATCH") else None
        answer = await foreign.request(method, path.format(key=key), headers={"X-API-KEY": key}, json=body)
        answers[owner] = answer.status_code

    assert answers["alice"] == 429
    assert answers["bob"] != 429


PASSWORDS = {"target": "https://www.example.com/", "password": "secret"}


async def test_passwords_are_hashed_in_their_turn(
    foreign: httpx.AsyncClient, key_of: KeyOf, shares: Shares, hold: Hold
) -> None:
    """Hashing is the dearest that a request can ask for, and has a share of its own."""
    await hold(shares.passwords)
    answer = await foreign.post("/api/v2/links", json=PASSWORDS, headers={"X-API-KEY": await key_of("alice")})

    assert answer.status_code == 429


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/", "https://sho.rt/x", "javascript:alert(1)", "https://a:b@example.com/"]
)
async def test_no_target_that_the_api_refuses(foreign: httpx.AsyncClient, key_of: KeyOf, url: str) -> None:
    """A target that the API of this site refuses is refused in every language."""
    key = await key_of("alice")
    answers = [
        await foreign.get("/yourls-api.php", params={"signature": key, "action": "shorturl", "url": url}),
        await foreign.post("/api/v2/links", json={"target": url}, headers={"X-API-KEY": key}),
        await foreign.get("/api/v2/action/shorten", params={"key": key, "url": url}),
        await foreign.get("/api-create.php", params={"key": key, "url": url}),
    ]

    assert [answer.status_code for answer in answers] == [400] * 4


async def test_body_is_bounded(foreign: httpx.AsyncClient, key_of: KeyOf) -> None:
    """A form or JSON that is larger than any link is not read to its end."""
    key = await key_of("alice")
    for path in ("/yourls-api.php", "/api/v2/action/shorten", "/api-create.php", "/api/v2/links"):
        answer = await foreign.post(path, data={"url": "a" * 70_000}, headers={"X-API-KEY": key})
        assert answer.status_code == 413, path
    answer = await foreign.post("/api/v2/links", json={"target": "a" * 400_000}, headers={"X-API-KEY": key})

    assert answer.status_code == 413
