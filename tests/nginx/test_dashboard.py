"""The dashboard behind nginx: signing in, its files, its WebSocket, and how often a key may be tried."""

import json
import socket as socket_module
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from shared.settings import LinksSettings
from tests.conftest import Database
from tests.dashboard.process import HOST, ScriptRun, cookie_of, run_script, running_dashboard, with_cookie
from tests.dashboard.stack import Stack, running_stack
from tests.nginx.conftest import Front, StartFront
from tests.serving import NO_TLS

ALLOWED_TRIES = 11
"""The first, and those of `burst`."""


@dataclass
class DashboardEdge:
    """The dashboard and the write service behind nginx."""

    front: Front
    stack: Stack

    @property
    def origin(self) -> str:
        return f"http://{HOST}:{self.front.port}"

    def client(self, cookie: str | None = None, **headers: str) -> httpx.Client:
        host = {"Host": f"{HOST}:{self.front.port}"}
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.front.port}",
            headers=host | with_cookie(cookie) | headers,
            verify=NO_TLS,
        )

    def sign_in(self, key: str) -> httpx.Response:
        with self.client(Origin=self.origin) as client:
            return client.post("/dashboard/sign-in", data={"key": key})

    def visit(self, cookie: str, origin: str) -> ScriptRun:
        """Open the WebSocket, and run the script over it."""
        sock = socket_module.create_connection(("127.0.0.1", self.front.port))
        with (
            closing(sock),
            connect(
                f"ws://{HOST}:{self.front.port}/dashboard/_stcore/stream",
                sock=sock,
                additional_headers=with_cookie(cookie) | {"Origin": origin},
            ) as connection,
        ):
            return run_script(connection)


@pytest.fixture
def site(
    database: Database, links_settings: LinksSettings, socket: Path, start_front: StartFront
) -> Iterator[DashboardEdge]:
    with running_stack(database, links_settings, socket) as stack, running_dashboard(socket, socket) as dashboard:
        front = start_front(redirect=[socket], links=[socket], dashboard=[dashboard.socket])
        yield DashboardEdge(front, stack)


def test_signing_in_and_a_visit(site: DashboardEdge) -> None:
    """The form's answer and the WebSocket go through; the origin is compared with the port that the browser sees."""
    cookie = cookie_of(site.sign_in(site.stack.key("alice")))
    seen = site.visit(cookie, site.origin)

    assert seen.pages == ["Shorten", "Links", "Statistics", "Import"]
    assert "alice" in seen.text
    for origin in (f"http://{HOST}", f"http://{HOST}:{site.front.port + 1}", "https://evil.example"):
        with pytest.raises(InvalidStatus, match="403"):
            site.visit(cookie, origin)


def test_root_leads_to_the_dashboard(site: DashboardEdge) -> None:
    """By a path, because nginx cannot know under which port it is seen."""
    with site.client() as client:
        leads = {path: client.get(path).headers["location"] for path in ("/", "/dashboard", "/dashboard/")}

    assert leads == {"/": "/dashboard/", "/dashboard": "/dashboard/", "/dashboard/": "/dashboard/sign-in"}


def test_head_is_answered_like_get(site: DashboardEdge) -> None:
    """The same status and place, without a body, for who is signed in and who is not."""
    cookie = cookie_of(site.sign_in(site.stack.key()))
    for path in ("/", "/sign-in", "/links", "/links/x", "/_stcore/health", "/static/nothing.js", "/nothing"):
        for who in (cookie, None):
            with site.client(who) as client:
                got, head = client.get(f"/dashboard{path}"), client.head(f"/dashboard{path}")

            assert (head.status_code, head.content) == (got.status_code, b""), path
            for name in ("location", "content-type", "cache-control"):
                assert head.headers.get(name) == got.headers.get(name), (path, name)


def test_no_address_leads_to_another_host_or_port(site: DashboardEdge) -> None:
    """Where a slash is too many or too few, nobody is sent to a scheme, host and port that the dashboard guesses."""
    cookie = cookie_of(site.sign_in(site.stack.key()))
    for path in (
        "",
        "/",
        "/sign-in",
        "/sign-out",
        "/links",
        "/links/x",
        "/static",
        "/_stcore/health",
        "/nothing",
        "//evil.example",
    ):
        for method in ("GET", "HEAD", "POST"):
            for slash in ("", "/"):
                with site.client(cookie) as client:
                    answer = client.request(method, f"/dashboard{path}{slash}")

                assert not urlsplit(answer.headers.get("location", "")).netloc, (method, path, slash)


def test_files_are_compressed_and_kept(site: DashboardEdge) -> None:
    """What is the same for all is sent small, once."""
    cookie = cookie_of(site.sign_in(site.stack.key()))
    with site.client(cookie) as client:
        page = client.get("/dashboard/")
        script = page.text.partition('src="./static/')[2].partition('"')[0]
        file = client.get(f"/dashboard/static/{script}", headers={"Accept-Encoding": "gzip"})

    assert page.headers["cache-control"] == "no-cache"
    assert "immutable" in file.headers["cache-control"]
    assert file.headers["content-encoding"] == "gzip"
    assert file.headers["x-request-id"]


def test_keys_are_tried_slowly(site: DashboardEdge) -> None:
    """After a few tries an address has to wait; the page itself, and those who are in, do not."""
    cookie = cookie_of(site.sign_in(site.stack.key()))
    statuses = [site.sign_in("tu_guessed").status_code for _ in range(ALLOWED_TRIES + 2)]
    with site.client(cookie) as client:
        pages = [client.get(path).status_code for path in ("/dashboard/sign-in", "/dashboard/")]

    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert statuses.count(401) <= ALLOWED_TRIES
    assert pages == [200, 200]


def test_what_is_too_large(site: DashboardEdge) -> None:
    """A form has 8 KiB, an upload 16 MB and its frame."""
    with site.client(Origin=site.origin) as client:
        form = client.post("/dashboard/sign-in", content=b"key=" + b"x" * 9000)
        upload = client.put("/dashboard/_stcore/upload_file/session/file", content=b"x" * (18 * 2**20))
        allowed = client.put("/dashboard/_stcore/upload_file/session/file", content=b"x" * (16 * 2**20))

    assert (form.status_code, upload.status_code, allowed.status_code) == (413, 413, 401)


def test_access_log_has_no_key_and_no_code(site: DashboardEdge) -> None:
    key = site.stack.key()
    cookie = cookie_of(site.sign_in(key))
    with site.client() as client:
        client.get("/dashboard/sign-in", params={"code": "a-code-of-the-stack"})
    site.visit(cookie, site.origin)
    lines = [json.loads(line) for line in site.front.log.read_text().splitlines()]

    assert [line["path"] for line in lines][:2] == ["/dashboard/sign-in", "/dashboard/sign-in"]
    for text in (key, cookie, "a-code-of-the-stack"):
        assert text not in site.front.log.read_text()


def test_without_a_dashboard(
    database: Database, links_settings: LinksSettings, socket: Path, start_front: StartFront
) -> None:
    """Where there is none, as in a release before it, its addresses are no links, and `/` leads to the documentation."""
    with running_stack(database, links_settings, socket) as stack:
        front = start_front(redirect=[socket], links=[socket])
        with DashboardEdge(front, stack).client() as client:
            statuses = [client.get(path).status_code for path in ("/dashboard/", "/dashboard/sign-in")]

            assert client.get("/").headers["location"] == "/docs"
    assert statuses == [404, 404]
