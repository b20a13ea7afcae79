"""Archives: what goes out of one database into an empty one makes the same; whatever else is in a file stays out."""

import asyncio
import gzip
import io
import json
import re
import tarfile
import zlib
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from deploy.local.postgres import Postgres
from services.links.archive import clicks, pages, writing
from services.links.domains.rows import lock_domain, update_domain, upsert_file
from services.links.links.checks import new_draft
from services.links.links.creation import Outcome, store_links
from services.links.links.forms import LinkIn
from services.links.links.rows import delete_link, update_link
from services.links.packed.erasing import erase_some
from services.links.site import Site
from services.links.sources import archive
from services.links.sources.archive_lines import LinkLine, Manifest, TombstoneLine
from services.links.sources.found import UnusableFile
from services.links.web.hashing import hash_password
from shared.postgres import Connection
from shared.settings import LinksSettings
from tests.conftest import Database, fresh_database
from tests.links.archive_data import PlainFile, connect, read_archive, select_everything, write_archive
from tests.links.conftest import ClientOf
from tests.links.import_client import bring, wait_for
from tests.links.stats_data import COUNT, STORES, store_clicks

HASH = hash_password("s3cret")
SOON = "2199-01-02T03:04:05.678901Z"
URL = "https://www.example.com/"
MOVED = b"""
INSERT INTO `yourls_url` VALUES ('a/b','https://example.com/',NULL,'2024-05-01 10:22:03','',2);
INSERT INTO `yourls_url` VALUES ('c+','https://example.com/',NULL,'2024-05-01 10:22:03','',0);
INSERT INTO `yourls_log` VALUES (1,'2024-05-02 08:00:11','a/b','direct','Mozilla/5.0','203.0.113.10','FR');
"""
KEPT_TABLES = ["api_keys", "schema_migrations"]
RULES = [{"name": "ä", "if": {"language": ["de"]}, "url": f"{URL}de"}]
SPLIT = [{"name": "a", "url": f"{URL}a", "weight": 3}, {"name": "b", "url": f"{URL}b", "weight": 0}]

OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "title": st.none() | st.sampled_from(["t", "Ünïcödé 🎉", "'=\"\\\n"[:4]]),
    "tags": st.lists(st.sampled_from(["a", "b,c", "d|e", "\\"]), max_size=3, unique=True),
    "valid_from": st.none() | st.just("2031-01-02T03:04:05.678901Z"),
    "expires_at": st.none() | st.just(SOON),
    "expired_url": st.none() | st.just(f"{URL}over"),
    "enabled": st.booleans(),
    "forward_query": st.booleans(),
    "visitor_query_wins": st.booleans(),
    "forward_path": st.booleans(),
    "crawlable": st.booleans(),
    "preview": st.booleans(),
    "notes": st.none() | st.just("several\nlines"),
    "max_clicks": st.none() | st.integers(1, 9),
    "rules": st.none() | st.just(RULES),
    "split": st.none() | st.just(SPLIT),
}


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """A link as a client may send it."""
    body = {name: draw(values) for name, values in OPTIONS.items() if draw(st.booleans())}
    if not {"rules", "split", "max_clicks"} & body.keys():
        body |= {
            "status_code": draw(st.sampled_from([301, 302, 307, 308])),
            "cache_control": draw(st.none() | st.just(0)),
        }
    target = draw(st.sampled_from([URL, "HTTPS://WWW.EXAMPLE.com", f"{URL}ä b", f"{URL}?a=1&a=2#f"]))
    return {**body, "url": target, "domain": draw(st.sampled_from(["sho.rt", "go.example.org"]))}


async def make_link(conn: Connection, site: Site, owner: str, body: dict[str, Any], fate: str) -> None:
    draft = new_draft(LinkIn.model_validate(body), owner, site)
    if fate == "guarded" and draft.fields.status_code in (302, 307) and draft.fields.cache_control is None:
        draft = replace(draft, fields=replace(draft.fields, password_hash=HASH))
    (outcome,) = await store_links(conn, owner, [draft])
    assert isinstance(outcome, Outcome)
    link = outcome.link
    if fate == "edited":
        await update_link(conn, link.key, replace(link.fields, url=f"{URL}edited", given_url=None))
    if fate == "over":
        await update_link(
            conn, link.key, replace(link.fields, expires_at=datetime(2026, 1, 1, tzinfo=UTC), valid_from=None)
        )
    if fate == "deleted":
        await delete_link(conn, link.key)
    if fate == "used":
        await conn.execute("INSERT INTO link_claims (link_id, used) VALUES ($1, 3)", link.id)
    await conn.execute(
        "INSERT INTO link_sources (owner, source, short_url, link_id, import, version) VALUES ($1, 'csv', $2, $3, 1, 1)",
        owner,
        f"old.example/{link.code}",
        link.id,
    )
    await conn.execute(
        "UPDATE links SET created_at = created_at - $2::interval, updated_at = updated_at - interval '1 h' WHERE id = $1",
        link.id,
        timedelta(days=len(link.code)),
    )


async def decide(conn: Connection) -> None:
    for domain in ("sho.rt", "go.example.org"):
        await lock_domain(conn, domain)
    await update_domain(conn, "sho.rt", {"root_url": URL, "page_title": "Título", "not_found_url": f"{URL}?c={{code}}"})
    await upsert_file(conn, "sho.rt", "security.txt", "Contact: mailto:a@example.com\n")


FATES = ("", "edited", "over", "deleted", "guarded", "used")
EVERY_FATE = [
    ("bob", {"url": f"{URL}ä", "title": fate, "tags": ["b", "a"], "expired_url": f"{URL}over", "rules": RULES}, fate)
    for fate in FATES
]


# Two databases for each example: a smaller one that fails, too, takes minutes to find.
@settings(
    max_examples=12,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@example(links=EVERY_FATE, stores="both", has_clicks=True)
@example(links=EVERY_FATE, stores="rows", has_clicks=True)
@example(links=EVERY_FATE, stores="packed", has_clicks=True)
@given(
    links=st.lists(st.tuples(st.sampled_from(["alice", "bob"]), bodies(), st.sampled_from(FATES)), max_size=12),
    stores=st.sampled_from(list(STORES)),
    has_clicks=st.booleans(),
)
async def test_archive_makes_the_same_database(
    postgres: Postgres,
    links_settings: LinksSettings,
    links: list[tuple[str, dict[str, Any], str]],
    stores: str,
    has_clicks: bool,
) -> None:
    """Everything of every owner is in an empty database as it was, row by row, however clicks are stored."""
    site = Site(links_settings)
    async with fresh_database(postgres) as old, fresh_database(postgres) as new:
        await store_clicks(old, STORES[stores])
        async with connect(old) as conn, conn.transaction():
            for owner, body, fate in links:
                await make_link(conn, site, owner, body, fate)
            await delete_link(conn, ("sho.rt", "alice1"))
            await decide(conn)
        refused = await read_archive(new, await write_archive(old, raw_clicks=has_clicks), site)

        assert refused == []
        there, here = await select_everything(old), await select_everything(new)
        assert there["clicks"].total() == COUNT
        assert here == (there if has_clicks else {**there, "clicks": Counter()})


ARCHIVE = "/api/v1/exports/archive"


async def test_archive_by_the_api(client_with: ClientOf, database: Database, links_settings: LinksSettings) -> None:
    """Any program for tar opens it: a manifest, lines by kind, how many there are. It has the caller's links alone."""
    await store_clicks(database)
    alice, admin = (
        await client_with("alice", "links:read", "links:write", "stats:read"),
        await client_with("root", "admin"),
    )
    await alice.post("/api/v1/links", json={"url": URL, "code": "mine", "password": "s3cret"})
    own, everything = await alice.get(ARCHIVE), await admin.get(ARCHIVE)
    only = await admin.get(ARCHIVE, params={"owner": "alice"})

    assert (own.status_code, own.headers["content-type"]) == (200, "application/gzip")
    assert re.fullmatch(r'attachment; filename="tinyurl-\d{4}-\d\d-\d\d\.tar\.gz"', own.headers["content-disposition"])
    for answer, owners in ((own, {"alice"}), (everything, {"alice", "bob"}), (only, {"alice"})):
        members = unpack(answer.content)
        assert next(iter(members)) == "manifest.json"
        assert [*members][-1] == "end.json"
        lines = [
            json.loads(line)
            for name, text in members.items()
            if name.startswith("links/")
            for line in text.splitlines()
        ]
        assert {line["owner"] for line in lines} == owners
        assert json.loads(members["end.json"])["lines"]["links"] == len(lines)
    assert json.loads(unpack(own.content)["manifest.json"])["owner"] == "alice"
    assert json.loads(unpack(everything.content)["manifest.json"])["owner"] is None
    assert (await alice.head(ARCHIVE)).content == b""


def unpack(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as opened:
        return {member.name: opened.extractfile(member).read() for member in opened}  # type: ignore[union-attr]  # they are files


async def test_archive_needs_what_is_in_it(client_with: ClientOf) -> None:
    """Statistics need their scope, hashes that of whoever may set a password, and the links of others `admin`."""
    for scopes, query, status in (
        (("links:read",), "?passwords=false", 403),
        (("links:read", "stats:read"), "", 403),
        (("links:read", "stats:read"), "?passwords=false", 200),
        (("links:write", "stats:read"), "", 403),
        (("links:read", "links:write", "stats:read"), "", 200),
        (("links:read", "links:write", "stats:read"), "?owner=bob", 403),
        (("admin",), "?owner=bob", 200),
        (("admin",), "?passwords=no&other=1", 422),
    ):
        answer = await (await client_with("alice", *scopes)).get(ARCHIVE + query)
        assert answer.status_code == status, (scopes, query)


async def test_archive_without_passwords(postgres: Postgres, links_settings: LinksSettings) -> None:
    """A link whose hash stays behind comes back switched off, and the others as they were; another owner can have them."""
    site = Site(links_settings)
    async with fresh_database(postgres) as old, fresh_database(postgres) as new:
        async with connect(old) as conn, conn.transaction():
            await make_link(conn, site, "alice", {"url": URL, "code": "guarded"}, "guarded")
            await make_link(conn, site, "alice", {"url": URL, "code": "free"}, "")
            await make_link(conn, site, "bob", {"url": URL, "code": "bobs"}, "")
        content = await write_archive(old, "alice", passwords=False)
        refused = await read_archive(new, content, site, "carol")
        links = (await select_everything(new))["links"]

    assert refused == []
    assert HASH not in gzip.decompress(content).decode()
    assert {key[1]: (row["owner"], row["enabled"], row["password_hash"]) for key, row in links.items()} == {
        "guarded": ("carol", False, None),
        "free": ("carol", True, None),
    }


async def read_into(received: bytearray, response: httpx.Response) -> None:
    async for part in response.aiter_raw():
        received += part


async def test_archive_that_fails_on_the_way_is_no_whole_one(client_with: ClientOf, database: Database) -> None:
    """If the database fails in the middle the transfer breaks, and what came is refused by whoever reads it."""
    alice = await client_with("alice", "links:read", "links:write", "stats:read")
    async with connect(database) as conn:
        await conn.execute(
            """
            INSERT INTO links (domain, code, owner, url, title)
            SELECT 'sho.rt', 'c' || n, 'alice', 'https://example.com/', repeat(md5(n::text), 200)
            FROM generate_series(1, 4000) AS n
            """
        )
    received = bytearray()
    async with asyncio.timeout(60), alice.stream("GET", ARCHIVE) as response:
        assert response.status_code == 200
        owner = await asyncpg.connect(database.owner_url)
        await owner.execute("REVOKE SELECT ON links FROM tinyurl_links")
        broken = await alice.get(ARCHIVE)
        await owner.close()
        with pytest.raises(httpx.RemoteProtocolError):
            await read_into(received, response)

    assert broken.status_code == 500
    with pytest.raises(UnusableFile, match="is cut"):
        list(archive.read_lines(PlainFile(zlib.decompressobj(31).decompress(received))))


async def test_many_rows_of_counts_are_read_in_parts(
    postgres: Postgres, links_settings: LinksSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links with more counts than are read at once come out whole, in however many parts."""
    monkeypatch.setattr(pages, "MOST_COUNT_ROWS", 20)
    monkeypatch.setattr(pages, "MONTH_DAYS", 2)
    monkeypatch.setattr(pages, "PAGE_LINKS", 2)
    monkeypatch.setattr(pages, "PAGE_DAYS", 3)
    monkeypatch.setattr(clicks, "MOST_CLICKS", 7)
    monkeypatch.setattr(writing, "MEMBER_BYTES", 1000)
    async with fresh_database(postgres) as old, fresh_database(postgres) as new:
        await store_clicks(old, STORES["both"])
        content = await write_archive(old, raw_clicks=True)
        refused = await read_archive(new, content, Site(links_settings))

        assert refused == []
        assert await select_everything(new) == await select_everything(old)
    assert max(len(text) for text in unpack(content).values()) < 20_000


def of_owner(everything: dict[str, Any], owner: str) -> dict[str, Any]:
    """What belongs to an owner, and what to no one."""
    links = {key: row for key, row in everything["links"].items() if row["owner"] == owner}
    mine = {kind: {key: n for key, n in everything[kind].items() if key[0] in {*links, owner}} for kind in COUNTED}
    used = {key: n for key, n in everything["used"].items() if key in links}
    return {"links": links, "used": used, **mine}


COUNTED = ("slots", "values", "visitors", "clicks")


@pytest.mark.parametrize("stores", list(STORES))
async def test_import_of_an_archive_makes_the_same_links(
    client_with: ClientOf, database: Database, postgres: Postgres, links_settings: LinksSettings, stores: str
) -> None:
    """What an owner exports he imports elsewhere to the same state, once; undone, nothing is left but codes that stay taken."""
    alice, site = await client_with("alice"), Site(links_settings)
    async with fresh_database(postgres) as old:
        await store_clicks(old, STORES[stores])
        async with connect(old) as conn, conn.transaction():
            for _, body, fate in EVERY_FATE:
                await make_link(conn, site, "alice", body, fate)
            await delete_link(conn, ("sho.rt", "alice1"))
            await conn.execute(
                """
                UPDATE links SET imported_clicks = 7, imported_humans = 5,
                    clicks = clicks + 7, humans = humans + 5, bots = bots + 2
                WHERE code = 'alice2'
                """
            )
        content = await write_archive(old, "alice", raw_clicks=True)
        there = of_owner(await select_everything(old), "alice")
    done = await bring(alice, content, filename="tinyurl.tar.gz")
    here = of_owner(await select_everything(database), "alice")
    again = await bring(alice, content)
    after = of_owner(await select_everything(database), "alice")
    await alice.delete(f"/api/v1/imports/{done['id']}")
    undone = await wait_for(alice, done["id"], "undone")
    async with connect(database) as conn:
        while await erase_some(conn):
            pass
    left = of_owner(await select_everything(database), "alice")

    assert (done["state"], done["format"], done["refused"], done["error"]) == ("done", "archive", 0, None)
    assert here == there
    assert all(there[kind] for kind in COUNTED)
    assert (again["made"], again["visits"]) == (0, 0)
    assert after == here
    assert undone["kept"] == 0
    assert {key for key, row in left["links"].items() if row["deleted_at"] is None} == set()
    assert left["links"].keys() == there["links"].keys()
    # The clicks of a link that was deleted there stay with its tombstone here.
    assert {key[0] for key in left["slots"]} == {("sho.rt", "alice1"), "alice"}


async def test_import_of_everyones_archive_makes_the_same_database(
    client_with: ClientOf, database: Database, postgres: Postgres, links_settings: LinksSettings
) -> None:
    """With the scope `admin` every link stays its owner's, and domains are decided about as they were; twice is once."""
    admin, site = await client_with("root", "admin"), Site(links_settings)
    async with fresh_database(postgres) as old:
        await store_clicks(old, STORES["both"])
        async with connect(old) as conn, conn.transaction():
            for owner, body, fate in EVERY_FATE:
                await make_link(conn, site, owner, body, fate)
            await decide(conn)
        content = await write_archive(old, raw_clicks=True)
        there = await select_everything(old)
    done = await bring(admin, content)
    here = await select_everything(database)
    again = await bring(admin, content)

    assert (done["state"], done["refused"], done["error"]) == ("done", 0, None)
    assert here == there
    assert (again["made"], again["visits"]) == (0, 0)
    assert await select_everything(database) == here


async def test_links_that_moved_in_move_on(client_with: ClientOf, database: Database) -> None:
    """Days that came from elsewhere, and codes with slashes and marks at their end, come out and in again."""
    admin = await client_with("root", "admin")
    await admin.patch("/api/v1/domains/sho.rt", json={"multi_segment": True})
    moved = await bring(admin, MOVED)
    content, there = await write_archive(database), await select_everything(database)
    conn = await asyncpg.connect(database.owner_url)
    tables = await conn.fetch(
        "SELECT format('%I', tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL ($1)",
        KEPT_TABLES,
    )
    await conn.execute(f"TRUNCATE {', '.join(name for (name,) in tables)}")
    await conn.close()
    tried = await bring(admin, content, dry_run="true")
    done = await bring(admin, content)

    assert (moved["made"], moved["visits"]) == (2, 1)
    assert (tried["made"], tried["refused"]) == (2, 0)
    assert (done["made"], done["refused"]) == (2, 0)
    assert await select_everything(database) == there


@pytest.mark.parametrize("line", [{"password_hash": "$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
                                  {"password_hash": "s3cret"}, {"url": "javascript:alert(1)"}, {"domain": "evil.example"},
                                  {"code": "api"}, {"fields": {"unknown": 1}}, {"fields": {"status_code": "302"}}])  # fmt: skip
async def test_archive_is_checked_like_any_client(client_with: ClientOf, line: dict[str, Any]) -> None:
    """What no client may send, an archive may not bring; the row is told, and the next one is imported."""
    alice, at = await client_with("alice"), datetime(2026, 1, 1, tzinfo=UTC)
    good = {
        "domain": "sho.rt",
        "code": "good",
        "owner": "alice",
        "url": URL,
        "fields": {},
        "created_at": at,
        "updated_at": at,
    }
    writer = writing.ArchiveWriter(
        Manifest(format=1, release="tests", created_at=at, owner=None, passwords=True, raw_clicks=False)
    )
    bad = LinkLine.model_validate({**good, "code": "bad", **line})
    content = writer.begin() + writer.add([bad, LinkLine.model_validate(good)]) + writer.end()
    done = await bring(alice, content)

    assert (done["state"], done["made"], done["refused"]) == ("done", 1, 1)
    assert len((await alice.get("/api/v1/links")).json()["items"]) == 1


async def test_archive_brings_codes_that_fold_case(client_with: ClientOf, database: Database) -> None:
    """Its domain has such codes from then on, tombstones too, and other owners get none like them."""
    alice, bob = await client_with("alice"), await client_with("bob")
    content = some_archive(
        LinkLine.model_validate({**LINE, "code": "abc", "folds_case": True}),
        TombstoneLine.model_validate({**BURIED_LINE, "code": "gone."}),
    )
    done = await bring(alice, content)
    async with connect(database) as conn:
        kinds = await conn.fetchrow("SELECT has_tail_codes, has_folding_codes FROM domains WHERE domain = 'sho.rt'")
    taken = [(await bob.post("/api/v1/links", json={"url": URL, "code": code})).status_code for code in ("ABC", "gone")]

    assert (done["state"], done["made"], done["refused"]) == ("done", 1, 0)
    assert (await alice.get("/api/v1/links/abc")).json()["folds_case"] is True
    assert kinds is not None
    assert tuple(kinds) == (True, True)
    assert taken == [409, 409]


@pytest.mark.parametrize(
    ("theirs", "line"),
    [
        ("abc", {"code": "abc."}),
        ("abc.", {"code": "abc"}),
        ("ABC", {"code": "abc", "folds_case": True}),
        ("xyz", {"code": "ABC", "folds_case": True}),
        ("xyz", {"code": "a b"}),
    ],
)
async def test_tombstone_takes_no_visitors_of_another_owner(
    client_with: ClientOf, database: Database, theirs: str, line: dict[str, Any]
) -> None:
    """A deleted link leads to its `expired_url`, so an archive cannot put one beside a code for which it could be taken."""
    alice, bob = await client_with("alice"), await client_with("bob")
    assert (await bob.post("/api/v1/links", json={"url": URL, "code": theirs})).status_code == 201
    done = await bring(
        alice, some_archive(TombstoneLine.model_validate({**BURIED_LINE, "expired_url": f"{URL}mine", **line}))
    )

    assert (done["state"], done["error"]) == ("done", None)
    async with connect(database) as conn:
        assert await conn.fetchval("SELECT count(*) FROM links WHERE owner = 'alice'") == 0


AT = datetime(2026, 1, 1, tzinfo=UTC)
LINE = {"domain": "sho.rt", "owner": "alice", "url": URL, "fields": {}, "created_at": AT, "updated_at": AT}
BURIED_LINE = {"domain": "sho.rt", "owner": "alice", "created_at": AT, "updated_at": AT, "deleted_at": AT}


def some_archive(*lines: LinkLine | TombstoneLine) -> bytes:
    manifest = Manifest(format=1, release="tests", created_at=AT, owner=None, passwords=True, raw_clicks=False)
    writer = writing.ArchiveWriter(manifest)
    return writer.begin() + b"".join(writer.add([line]) for line in lines) + writer.end()
