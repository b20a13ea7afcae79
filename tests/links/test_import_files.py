"""Files that are broken, hostile or of another kind make nothing and are told why; uploads go on where they broke off."""

import asyncio
import gzip
import zlib
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from services.links.imports import spool
from services.links.imports.routes import MOST_IMPORTS
from shared.postgres import Connection
from tests.links.conftest import ClientOf, fields_at_fault
from tests.links.import_client import BINARY, IMPORTS, bring, export, numbers, refused, some_links, wait_for

LINKS = "/api/v1/links"
URL = "https://www.example.com/"
MANY = export(*some_links(4_000))
GZIP = {"Content-Encoding": "gzip"}


def bomb() -> bytes:
    """A hundred MB of blanks, within a hundred KB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    rows = (packer.compress(b" " * 100_000 + b"\r\n") for _ in range(1_000))
    return b"".join((packer.compress(export()), *rows, packer.flush()))


BROKEN = {
    "empty": (b"", {}, "empty"),
    "unknown table": (b"what,is,this\r\n1,2,3\r\n", {}, "The headings are: what, is, this"),
    "cut in a row": (MANY[:-20], {}, "Line 4001"),
    "cut gzip": (gzip.compress(MANY)[:-2_000], GZIP, "cut"),
    "damaged gzip": (b"\x1f\x8b" + bytes(100), GZIP, "damaged"),
    "bomb": (bomb(), GZIP, "times larger"),
    "no end of a quote": (MANY + b'"' + b"x" * 300_000, {}, "Line 4002"),
    "no end of a line": (MANY + b"x" * 3_000_000, {}, "Line 4002"),
    "no UTF-8": (MANY + b"\xff\xfe\r\n", {}, "utf-8"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_file_makes_nothing(alice: httpx.AsyncClient, links: Connection, name: str) -> None:
    """A file that cannot be read to its end is found out before anything is made, and the error names the place."""
    content, headers, named = BROKEN[name]
    done = await bring(alice, content, headers=headers)

    assert done["state"] == "failed"
    assert named in done["error"]
    assert await links.fetchval("SELECT count(*) FROM links") == 0
    assert (await alice.delete(f"{IMPORTS}/{done['id']}")).status_code == 202


async def test_wrong_rows_stop_no_others(alice: httpx.AsyncClient) -> None:
    """Rows that are no links are listed with their lines and reasons, and all others come."""
    rows: list[dict[str, object]] = [
        {"code": "ok", "url": URL},
        {"code": "js", "url": "javascript:alert(1)"},
        {"code": "place", "url": f"{URL}%s"},
        {"code": "own", "url": "https://sho.rt/ok"},
        {"code": "host", "url": "http://10.0.0.1/"},
        {"code": "docs", "url": URL},
        {"code": "far", "url": URL, "domain": "bit.ly"},
        {"code": "t" * 300, "url": URL},
        {"code": "title", "url": URL, "title": "x" * 600},
        {"code": "status", "url": URL, "status_code": 999},
        {"code": "bare", "url": "example.com/x"},
    ]
    done = await bring(alice, export(*rows))
    listed = await refused(alice, done["id"])
    mapped = await bring(alice, export(*rows), domain="bit.ly=go.example.org", scheme="https")

    assert numbers(done) == {"rows_read": 11, "made": 2, "refused": 9, "notices": 1}
    assert {row["row"] for row in listed} == {str(line) for line in range(3, 13)}
    assert {row["row"]: row["proposed_code"] for row in listed if row["proposed_code"]} == {
        "7": "docs-2",
        "9": f"{'t' * 60}",
    }
    assert "domain=bit.ly=" in next(row["reason"] for row in listed if row["row"] == "8")
    assert (await alice.get(f"{LINKS}/title")).json()["title"] == "x" * 512
    assert numbers(mapped) == {"rows_read": 11, "made": 2, "found": 2, "refused": 7}
    assert (await alice.get(f"{LINKS}/far", params={"domain": "go.example.org"})).json()["url"] == URL
    assert (await alice.get(f"{LINKS}/bare")).json()["url"] == "https://example.com/x"


async def test_upload_goes_on_where_it_broke_off(
    alice: httpx.AsyncClient, service: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came of a broken upload is kept; the rest is taken at the right offset alone."""
    monkeypatch.setattr(spool, "PART_BYTES", 10_000)
    import_id = str(uuid4())
    half = len(MANY) // 2
    key = alice.headers["authorization"]
    reader, writer = await asyncio.open_unix_connection(str(service))
    writer.write(
        f"POST {IMPORTS}?id={import_id} HTTP/1.1\r\nHost: sho.rt\r\nAuthorization: {key}\r\n"
        f"Content-Length: {len(MANY)}\r\n\r\n".encode()
    )
    writer.write(MANY[:half])
    await writer.drain()
    while (await alice.get(f"{IMPORTS}/{import_id}")).json().get("bytes", 0) < half - 10_000:
        await asyncio.sleep(0.02)
    writer.close()
    await reader.read()
    broken = await wait_for(alice, import_id, "receiving")
    wrong = await alice.patch(f"{IMPORTS}/{import_id}", params={"offset": 1}, content=b"x", headers=BINARY)
    there = (await alice.get(f"{IMPORTS}/{import_id}")).json()["bytes"]
    rest = await alice.patch(f"{IMPORTS}/{import_id}", params={"offset": there}, content=MANY[there:], headers=BINARY)
    done = await wait_for(alice, import_id)

    assert broken["bytes"] >= half - 10_000
    assert (wrong.status_code, wrong.json()["type"]) == (409, "urn:tinyurl:problem:import-conflict")
    assert str(there) in wrong.json()["detail"]
    assert rest.status_code == 202
    assert numbers(done) == {"rows_read": 4_000, "made": 4_000}


async def test_imports_are_the_owners(alice: httpx.AsyncClient, client_with: ClientOf) -> None:
    """Nobody sees, starts, continues or undoes another owner's import, and a key that only reads cannot import."""
    done = await bring(alice, export(*some_links(1)))
    bob, reader = await client_with("bob"), await client_with("alice", "links:read")
    path = f"{IMPORTS}/{done['id']}"
    answers = [
        await bob.get(path),
        await bob.get(f"{path}/refused"),
        await bob.post(f"{path}/start"),
        await bob.patch(path, params={"offset": 0}, content=b"", headers=BINARY),
        await bob.delete(path),
        await bob.post(IMPORTS, params={"id": done["id"]}, content=b"", headers=BINARY),
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert (await bob.get(IMPORTS)).json() == {"items": []}
    assert [each["id"] for each in (await alice.get(IMPORTS)).json()["items"]] == [done["id"]]
    assert (await reader.post(IMPORTS, content=b"", headers=BINARY)).status_code == 403
    assert (await alice.head(path)).status_code == 200


async def test_limits(alice: httpx.AsyncClient, links: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner has so many imports under way, and a file has so many bytes; wrong options are named."""
    monkeypatch.setattr(spool, "LARGEST_IMPORT", 1_000)
    large = await alice.post(IMPORTS, content=MANY, headers=BINARY)
    await links.execute("UPDATE imports SET state = 'receiving'")
    for _ in range(MOST_IMPORTS - 1):
        await links.execute(
            """
            INSERT INTO imports (id, owner, options, is_admin, is_gzip, dry_run)
            SELECT gen_random_uuid(), owner, options, is_admin, is_gzip, dry_run FROM imports LIMIT 1
            """
        )
    full = await alice.post(IMPORTS, content=b"x", headers=BINARY)
    wrong = await alice.post(
        IMPORTS,
        params={"domain": "a=b.test", "zone": "Nowhere", "on_conflict": "x", "more": "1"},
        content=b"",
        headers=BINARY,
    )

    assert (large.status_code, full.status_code) == (413, 429)
    assert fields_at_fault(wrong) == {"zone", "on_conflict", "more"}
    assert fields_at_fault(await alice.post(IMPORTS, params={"domain": "a=b.test"}, headers=BINARY)) == {"domain"}
