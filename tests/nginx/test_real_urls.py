"""The main job on real input: a thousand addresses found in the wild are shortened over the API and followed."""

import asyncio
from pathlib import Path

import ada_url

from shared.api import Sort
from tests.nginx.conftest import NginxSite

URLS = (Path(__file__).parents[1] / "data" / "urls.txt").read_text(encoding="utf-8").splitlines()
AT_ONCE = 50


async def visit(site: NginxSite, code: str) -> list[bytes]:
    """Follow a link, and return the lines of the answer as they are on the wire."""
    answer = await site.front.send(f"GET /{code} HTTP/1.1\r\nHost: sho.rt\r\nConnection: close\r\n\r\n".encode())
    return answer.split(b"\r\n")


async def visit_patiently(site: NginxSite, code: str) -> list[bytes]:
    """Visit again where a busy machine did not look the link up in time."""
    while (answer := await visit(site, code))[0] == b"HTTP/1.1 503 Service Unavailable":
        await asyncio.sleep(0.1)
    return answer


async def test_a_thousand_real_urls(site: NginxSite) -> None:
    """Each target is stored as browsers read it, and each visit gets exactly what the API said it stored, byte for byte."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def shorten_and_follow(url: str) -> tuple[str, str, list[list[bytes]]]:
        async with gate:
            link = await site.create(url=url)
            answers = [await visit_patiently(site, link["code"]) for _ in range(3)]
            assert {answer[0] for answer in answers} == {b"HTTP/1.1 302 Found"}
            locations = [[line for line in answer if line.lower().startswith(b"location:")] for answer in answers]
            return link["code"], link["url"], locations

    done = await asyncio.gather(*map(shorten_and_follow, URLS))

    assert len(set(URLS)) == 1000
    assert len({code for code, _, _ in done}) == 1000
    for url, (_, stored, seen) in zip(URLS, done, strict=True):
        assert stored == ada_url.URL(url).href
        assert seen == [[b"location: " + stored.encode("ascii")]] * 3


async def test_real_urls_in_lists_and_again(site: NginxSite) -> None:
    """What is listed is what was stored, and what was stored can be shortened again and finds itself."""
    stored = {(await site.create(url=url))["url"] for url in URLS[::10]}
    headers = {"Authorization": f"Bearer {site.key}"}
    sort: Sort = "-created_at"
    page = (await site.client.get("/api/v1/links", params={"limit": 100, "sort": sort}, headers=headers)).json()
    assert {link["url"] for link in page["items"]} == stored
    for link in page["items"]:
        found = await site.client.post(
            "/api/v1/links", json={"url": link["url"], "find_existing": True}, headers=headers
        )
        assert (found.status_code, found.json()) == (200, link)
