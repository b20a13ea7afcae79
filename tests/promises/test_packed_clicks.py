"""P7, packed clicks: the two steps in which they are introduced, each beside the one before it and rolled back to it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.promises.mixed_releases import SIDES, URL, Deployment, deploying
from tests.promises.releases import PACKED, THIS, RunnableRelease, check_out_previous

SHIPPED_S = 30
VISITS = 6

AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
)


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> RunnableRelease:
    """The release before this one."""
    return check_out_previous(tmp_path_factory.mktemp("previous") / "release")


async def visit_all(deployment: Deployment, codes: Sequence[str], sides: Sequence[str] = SIDES) -> int:
    """Visit each link at redirectors, whose clicks the other side's write service takes; wait until all are counted.

    Returns:
        Visits of each link.
    """
    before = await clicks_of(deployment.clients[sides[0]], codes[0])
    for code in codes:
        for side in sides:
            for number in range(VISITS):
                agent = (
                    f"User-Agent: {AGENTS[number % 2]}\r\nReferer: https://{side}.example/\r\nAccept-Language: de\r\n"
                )
                assert await deployment.visit(side, code, headers=f"X-Request-ID: {number:032}\r\n{agent}")
    expected = before + VISITS * len(sides)
    async with asyncio.timeout(SHIPPED_S):
        for code in codes:
            while await clicks_of(deployment.clients[sides[0]], code) < expected:
                await asyncio.sleep(0.05)
    return expected


async def clicks_of(client: httpx.AsyncClient, code: str) -> int:
    """The number of clicks that the link itself has."""
    clicks: int = (await client.get(f"/links/{code}")).json()["clicks"]
    return clicks


async def create(deployment: Deployment, count: int = 2) -> list[str]:
    codes = [f"packed-{number}" for number in range(count)]
    for code in codes:
        assert (await deployment.clients["old"].post("/links", json={"url": URL, "code": code})).status_code == 201
    return codes


async def check_answers(client: httpx.AsyncClient, codes: Sequence[str], expected: int, sides: Sequence[str]) -> None:
    """Check the statistics of each link, its raw clicks, and the number in the link."""
    today = datetime.now(UTC)
    between = {
        "from": (today - timedelta(days=2)).replace(hour=0).isoformat(),
        "to": (today + timedelta(days=1)).isoformat(),
    }
    for code in codes:
        stats: dict[str, Any] = (await client.get(f"/links/{code}/stats", params=between)).json()
        assert stats["totals"] == {
            "clicks": expected,
            "humans": expected // 2,
            "bots": expected // 2,
            "imported": 0,
            # One address, a browser and a crawler.
            "unique_visitors": 2,
        }
        assert sum(each["clicks"] for each in stats["series"]) == expected
        for name, dimension in stats["dimensions"].items():
            if name == "variant":
                # Links without rules have none.
                continue
            assert sum(each["clicks"] for each in [*dimension["top"], dimension["other"]]) == expected
        assert {each["value"] for each in stats["dimensions"]["referrer"]["top"]} == {
            f"{side}.example" for side in sides
        }
        listed: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await client.get(f"/links/{code}/clicks", params={"limit": 5, **cursor})).json()
            listed += page["items"]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert len(listed) == expected
        assert await clicks_of(client, code) == expected


@pytest.mark.promise
async def test_first_step_reads_and_writes_what_the_release_before_does(previous: RunnableRelease) -> None:
    """Beside the release before, clicks of either are in the statistics of both, also after this one is taken back."""
    async with deploying(previous, THIS) as deployment:
        codes = await create(deployment)
        expected = await visit_all(deployment, codes)
        for side in SIDES:
            await check_answers(deployment.clients[side], codes, expected, SIDES)
        conn = await deployment.cluster.connect()
        packed = await conn.fetchval("SELECT count(*) FROM click_days") + await conn.fetchval(
            "SELECT count(*) FROM click_chunks"
        )
        await conn.close()

    assert packed == 0


@pytest.mark.promise
async def test_second_step_packs_and_can_be_taken_back() -> None:
    """One that packs and one that does not both have all statistics; so has the one that stays when the other is taken back."""
    async with deploying(THIS, PACKED) as deployment:
        codes = await create(deployment)
        expected = await visit_all(deployment, codes)
        for side in SIDES:
            await check_answers(deployment.clients[side], codes, expected, SIDES)
        conn = await deployment.cluster.connect()
        kinds = [await conn.fetchval(f"SELECT count(*) FROM {table}") for table in ("clicks", "click_chunks")]
        await conn.close()
        await deployment.replace("new", THIS)
        expected = await visit_all(deployment, codes)
        for side in SIDES:
            await check_answers(deployment.clients[side], codes, expected, SIDES)

    assert all(kinds), "one side wrote rows and the other packed"


@pytest.mark.promise
async def test_numbers_in_links_are_right_also_two_steps_back(previous: RunnableRelease) -> None:
    """A release from before that takes over from one that packs counts on from the right number of each link."""
    async with deploying(previous, PACKED) as deployment:
        codes = await create(deployment)
        expected = await visit_all(deployment, codes)
        numbers = {side: [await clicks_of(deployment.clients[side], code) for code in codes] for side in SIDES}
        await check_answers(deployment.clients["new"], codes, expected, SIDES)

    assert numbers == dict.fromkeys(SIDES, [expected] * len(codes))
