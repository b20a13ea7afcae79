"""`/openapi.json` and `/docs`: made once, of our own files alone, and closed to what other hosts could run."""

import gzip
import hashlib
import re
import threading
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from services.links.web.documentation import VENDOR, Documentation
from tests.serving import client_of, serve

PATHS = ["/openapi.json", "/docs", "/docs/start.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"]


@pytest.mark.parametrize("path", PATHS)
async def test_answers_are_kept_and_compressed(alice: httpx.AsyncClient, path: str) -> None:
    """Each file is asked for by its ETag the next time, is sent compressed to who takes that, and allows no foreign script."""
    plain = await alice.get(path, headers={"Accept-Encoding": "identity"})
    compressed = await alice.get(path, headers={"Accept-Encoding": "gzip"})
    known = await alice.get(path, headers={"If-None-Match": plain.headers["etag"]})
    head = await alice.head(path)

    assert plain.status_code == 200
    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert compressed.content == plain.content
    assert int(compressed.headers["content-length"]) < len(plain.content) or path in ("/docs", "/docs/start.js")
    assert (known.status_code, known.content) == (304, b"")
    assert (head.status_code, head.content) == (200, b"")
    for answer in (plain, compressed, known):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy


async def test_page_names_no_other_host(alice: httpx.AsyncClient) -> None:
    """What the page loads is below /docs of this very site, and each of it is there."""
    page = (await alice.get("/docs")).text
    named = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert [name for name in named if name != "data:,"]
    for name in named:
        assert name == "data:," or (await alice.get(name)).status_code == 200
    assert "//" not in page.replace("<!doctype html>", "")


@pytest.mark.parametrize(
    "path", ["/docs/", "/docs/none.js", "/docs/../vendor/SHA256SUMS", "/redoc", "/docs/oauth2-redirect"]
)
async def test_nothing_else_is_served(alice: httpx.AsyncClient, path: str) -> None:
    """No other file can be read by name."""
    assert (await alice.get(path)).status_code == 404


async def test_description_is_made_once_and_not_in_the_loop(socket: Any) -> None:
    """However many ask, the description is made once, in a thread of its own."""
    threads = []

    def describe() -> dict[str, Any]:
        threads.append(threading.current_thread())
        return {"openapi": "3.1.0"}

    app = Starlette(routes=Documentation(describe).routes())
    async with serve(app, socket), client_of(socket) as client:
        answers = [await client.get("/openapi.json") for _ in range(20)]

    assert {answer.text for answer in answers} == {'{"openapi":"3.1.0"}'}
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_vendored_files_are_what_their_authors_published() -> None:
    """Each file of other projects has the digest that was written down when it was brought here, and its licence beside it."""
    lines = (VENDOR / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}

    assert set(sums) == {path.name for path in VENDOR.iterdir() if path.suffix in (".js", ".css", ".mmdb")}
    for name, digest in sums.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
        assert f"`{name}`" in (VENDOR / "README.md").read_text()
    assert len(gzip.compress((VENDOR / "swagger-ui-bundle.js").read_bytes())) < 2**20
