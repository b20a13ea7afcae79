"""Codes of one's own in any script, with marks and slashes, through nginx."""

import asyncio
import unicodedata

import httpx
import pytest

from tests.nginx.conftest import NginxSite, Recorder, StartFront

URL = "https://www.example.com/"


def target(name: str) -> str:
    return f"{URL}{name}"


async def send(site: NginxSite, path: str) -> tuple[int, str | None]:
    """Ask for a path as it is, raw bytes too; the status, and where it leads."""
    answer = await site.front.send(f"GET {path} HTTP/1.1\r\nHost: sho.rt\r\nConnection: close\r\n\r\n".encode())
    head = answer.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
    locations = [line[len("location: ") :] for line in head if line.lower().startswith("location: ")]
    return int(head[0].split()[1]), locations[0] if locations else None


LEADS = {
    "mail": ["/mail", "/mail.", "/mail%20", "/mail/"],
    "mail+": ["/mail+", "/mail%2B", "/mail%2b", "/mail+.", "/mail+)"],
    "a.b": ["/a.b", "/a%2eb", "/a.b.", "/a.b/"],
    "end.": ["/end.", "/end.)", "/end%2E"],
    "caf\u00e9": [
        "/caf\u00e9",
        "/cafe\u0301",
        "/caf%C3%A9",
        "/caf%c3%a9",
        "/cafe%CC%81",
        "/caf\u00e9.",
        "/caf\u00e9\u200b",
    ],
    "\u5171": ["/\u5171", "/%E5%85%B1", "/%e5%85%b1\u3002"],
    "\u2764": ["/\u2764", "/\u2764\ufe0f", "/%E2%9D%A4%EF%B8%8F", "/%E2%9D%A4."],
    "x" * 200: ["/" + "x" * 200],
    "menu/today": ["/menu/today", "/menu%2Ftoday", "/menu/today/", "/menu/today.", "/menu/%74oday"],
    "menu": ["/menu", "/menu/"],
}
"""Each code, and the paths that lead to it."""

NOWHERE = [
    "/mail/x",
    "/MAIL",
    "/mail+/x",
    "/cafe",
    "/menu/tomorrow",
    "/menu//today",
    "/menu/./today/x",
    "/menu%2F..%2Fmenu%2Ftoday",
    "/mail%252B",
    "/%FF",
    "/a%F8b",
    "/robots.txt.",
    "/docs.",
    "/.well-known/x",
]


async def test_codes_in_every_spelling(site: NginxSite) -> None:
    """A printed link works, however a browser, a sentence or a keyboard spells it; the exact code wins, and a plus previews."""
    headers = {"Authorization": f"Bearer {site.key}"}
    decided = await site.client.patch("/api/v1/domains/sho.rt", json={"multi_segment": True}, headers=headers)
    assert decided.status_code == 200
    for code in LEADS:
        await site.create(url=target(f"{list(LEADS).index(code)}"), code=unicodedata.normalize("NFC", code))
    async with asyncio.timeout(30):
        while (await send(site, "/menu/today"))[0] != 302 or (await send(site, "/mail+"))[0] != 302:
            await asyncio.sleep(0.05)
    led = {path: await send(site, path) for paths in LEADS.values() for path in paths}
    expected = {path: (302, target(f"{place}")) for place, paths in enumerate(LEADS.values()) for path in paths}
    lost = {path: (await send(site, path))[0] for path in NOWHERE}
    previews = [(await send(site, path))[0] for path in ("/mail++", "/a.b+", "/%E5%85%B1+", "/menu/today+")]

    assert led == expected
    assert lost == dict.fromkeys(NOWHERE, 404)
    assert previews == [200] * 4


async def test_what_can_be_no_code_ends_at_the_edge(recorders: list[Recorder], start_front: StartFront) -> None:
    """No service hears of a path that no code can have, and the redirect service gets the others as they were sent."""
    front = await asyncio.to_thread(start_front, redirect=[recorders[0].path], links=[recorders[1].path])
    ending = [
        "/a;b",
        "/(a",
        "/a(b",
        "/ a",
        "//a",
        "/a,b",
        "/.well-known/x",
        "/docs/%C3%A4",
        "/internal/a",
        "/%7Ba%7D",
        "/a%00",
    ]
    passed = ["/a.b", "/%E5%85%B1", "/a+b~c", "/" + "x" * 255, "/a/b/c", "/a%2Fb", "/caf%c3%a9%2e", "/.x"]
    async with front.client() as client:
        for path in (*ending, *passed):
            await client.send(
                client.build_request("GET", httpx.URL(f"http://127.0.0.1:{front.port}", raw_path=path.encode()))
            )
    heard = [request.split(b" ")[1].decode() for request in recorders[0].received]

    assert heard == passed
    assert recorders[1].received == []


@pytest.mark.parametrize(
    "path", ["/" + "." * 4000 + "(", "/" + "\u5171" * 1000 + "(", "/a" + "~" * 4100 + "!(" + "." * 4000]
)
async def test_long_paths_end_at_the_edge(recorders: list[Recorder], start_front: StartFront, path: str) -> None:
    """A long path that is almost a code is refused like a short one."""
    front = await asyncio.to_thread(start_front, redirect=[recorders[0].path], links=[recorders[1].path])
    answer = await front.send(f"GET {path} HTTP/1.1\r\nHost: sho.rt\r\nConnection: close\r\n\r\n".encode())

    assert int(answer.split()[1]) in (404, 414)
    assert recorders[0].received == []
