"""Pages of other origins: none may use the API, but those that the operator names; they can read errors, too."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from shared.settings import LinksSettings
from tests.conftest import Database
from tests.dashboard.browser import ONE_BY_ONE, needs_chromium, running_browser
from tests.dashboard.stack import running_stack
from tests.nginx.conftest import Recorder, StartFront

APP = "https://app.example"
PREFLIGHT = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,if-match"}


def allowed_origin(answer: httpx.Response) -> str | None:
    found: str | None = answer.headers.get("access-control-allow-origin")
    return found


async def test_preflight(recorders: list[Recorder], start_front: StartFront, binary: Path | None) -> None:
    """A named origin is told what it may send, at the edge; any other, and one with more behind it, is not."""
    paths = [recorder.path for recorder in recorders]
    options = {"cors_origins": [APP, "http://localhost:3000"], "binary": binary}
    front = await asyncio.to_thread(start_front, redirect=paths, links=paths, **options)
    async with front.client() as client:
        for path in ("/api/v1/links", "/api/v1/links/batch", "/api/v1/links/abc/stats"):
            for origin in (APP, "http://localhost:3000"):
                answer = await client.options(path, headers=PREFLIGHT | {"Origin": origin})

                assert (answer.status_code, allowed_origin(answer)) == (204, origin)
                assert {"GET", "POST", "PATCH", "DELETE"} <= set(
                    answer.headers["access-control-allow-methods"].split(", ")
                )
                assert {"Authorization", "Content-Type", "If-Match", "Idempotency-Key", "Accept"} <= set(
                    answer.headers["access-control-allow-headers"].split(", ")
                )
                assert int(answer.headers["access-control-max-age"]) > 0
                assert answer.headers["vary"] == "Origin"
                assert "access-control-allow-credentials" not in answer.headers
        assert not [recorder for recorder in recorders if recorder.received]
        for origin in ("https://app.example.evil.example", f"{APP}/api/", f"{APP}:8443", "http://app.example", "null"):
            answer = await client.options("/api/v1/links", headers=PREFLIGHT | {"Origin": origin})
            assert allowed_origin(answer) is None
        for path in ("/abc", "/dashboard/", "/docs", "/internal"):
            answer = await client.get(path, headers={"Origin": APP})
            assert allowed_origin(answer) is None


async def test_errors_can_be_read(recorders: list[Recorder], start_front: StartFront, binary: Path | None) -> None:
    """What nginx itself answers in the API's name says who may read it, as does what the service answers."""
    paths = [recorder.path for recorder in recorders]
    options = {"cors_origins": [APP], "api_rate": 20, "binary": binary}
    front = await asyncio.to_thread(start_front, redirect=paths, links=paths, **options)
    for recorder in recorders:
        recorder.answer = b"HTTP/1.1 401 Unauthorized\r\nvary: accept\r\ncontent-length: 0\r\n\r\n"
    async with front.client(Origin=APP) as client:
        answers = [await client.get("/api/v1/links"), await client.post("/api/v1/links", content=b"x" * 400_000)]
        for recorder in recorders:
            recorder.answer = b""
        answers += [await client.get("/api/v1/links"), await client.request("TRACE", "/api/v1/links")]
        answers += await asyncio.gather(*(client.options("/api/v1/links", headers=PREFLIGHT) for _ in range(100)))

    assert {401, 413, 503, 405, 204, 429} == {answer.status_code for answer in answers}
    for answer in answers:
        assert allowed_origin(answer) == APP
        assert "Origin" in answer.headers.get_list("vary")
        exposed = set(answer.headers["access-control-expose-headers"].split(", "))
        assert {"ETag", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID"} <= exposed


async def test_off_unless_it_is_set(recorders: list[Recorder], start_front: StartFront) -> None:
    """Without the setting there is no such header, and no preflight."""
    paths = [recorder.path for recorder in recorders]
    front = await asyncio.to_thread(start_front, redirect=paths, links=paths)
    async with front.client(Origin=APP) as client:
        for answer in (await client.get("/api/v1/links"), await client.options("/api/v1/links", headers=PREFLIGHT)):
            assert answer.status_code == 302
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert "vary" not in answer.headers


class Quiet(SimpleHTTPRequestHandler):
    """A page of another origin: an empty one."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Say nothing."""


@contextmanager
def page_of_another_origin() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory="/nonexistent"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


CALL = """async ([url, method, headers, body]) => {
    try {
        const answer = await fetch(url, {method, headers, body});
        return {status: answer.status, text: await answer.text(), headers: Object.fromEntries(answer.headers)};
    } catch (error) {
        return {status: 0, text: String(error), headers: {}};
    }
}"""


@needs_chromium
@ONE_BY_ONE
def test_page_of_another_origin(
    database: Database, links_settings: LinksSettings, socket: Path, start_front: StartFront
) -> None:
    """In a browser, a page of a named origin makes, edits and deletes a link and reads errors; another page reads nothing."""
    with (
        running_stack(database, links_settings, socket) as stack,
        page_of_another_origin() as named,
        page_of_another_origin() as stranger,
        running_browser() as browser,
    ):
        front = start_front(redirect=[socket], links=[socket], cors_origins=[named])
        key = {"Authorization": f"Bearer {stack.key('alice')}"}
        links = f"http://127.0.0.1:{front.port}/api/v1/links"
        json = {"Content-Type": "application/json"}
        page = browser.new_page()

        def call(method: str, url: str, headers: dict[str, str], body: str | None = None) -> dict[str, Any]:
            found: dict[str, Any] = page.evaluate(CALL, [url, method, headers, body])
            return found

        page.goto(named)
        made = call(
            "POST", links, key | json | {"Idempotency-Key": "1"}, '{"url": "https://www.example.com/", "code": "mine"}'
        )
        edited = call("PATCH", f"{links}/mine", key | json | {"If-Match": made["headers"]["etag"]}, '{"title": "x"}')
        stale = call("PATCH", f"{links}/mine", key | json | {"If-Match": made["headers"]["etag"]}, '{"title": "y"}')
        refused = [
            call("GET", links, {}),
            call("POST", links, key | json, '{"url": "nothing"}'),
            call("POST", links, key | json, '{"url": "' + "x" * 400_000 + '"}'),
        ]
        deleted = call("DELETE", f"{links}/mine", key | {"If-Match": edited["headers"]["etag"]})
        page.goto(stranger)
        seen = [call("GET", links, {}), call("POST", links, key | json, "{}")]

        assert (made["status"], edited["status"], stale["status"], deleted["status"]) == (201, 200, 412, 204)
        assert made["headers"]["location"]
        assert made["headers"]["x-request-id"]
        assert [answer["status"] for answer in refused] == [401, 422, 413]
        assert all("urn:tinyurl:problem:" in answer["text"] for answer in refused)
        assert [answer["status"] for answer in seen] == [0, 0]
