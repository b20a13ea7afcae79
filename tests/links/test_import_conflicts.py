"""What becomes of an imported link whose code is in use, and how an import is undone and done again."""

import asyncio
from typing import Any

import httpx
import pytest

from shared.postgres import Connection
from tests.conftest import Database
from tests.links.conftest import ClientOf
from tests.links.import_client import IMPORTS, bring, export, numbers, refused, wait_for
from tests.links.test_links import changes

LINKS = "/api/v1/links"
URL = "https://www.example.com/"
OWN, OTHERS, GONE, FREE = "own", "others", "gone", "free"
FILE = export(*({"code": code, "url": f"{URL}new/{code}", "clicks": 5} for code in (OWN, OTHERS, GONE, FREE)))


async def read(client: httpx.AsyncClient, code: str) -> dict[str, Any]:
    response = await client.get(f"{LINKS}/{code}")
    return response.json() if response.status_code == 200 else {"status": response.status_code}


async def target(client: httpx.AsyncClient, code: str) -> str | None:
    return (await read(client, code)).get("url")


@pytest.fixture
async def bob(client_with: ClientOf) -> httpx.AsyncClient:
    return await client_with("bob")


@pytest.fixture
async def taken(alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    """One code is alice's, one bob's, and one of a link that alice has deleted."""
    for client, code in ((alice, OWN), (bob, OTHERS), (alice, GONE)):
        assert (await client.post(LINKS, json={"url": f"{URL}old/{code}", "code": code})).status_code == 201
    assert (await alice.delete(f"{LINKS}/{GONE}")).status_code == 204


async def undo(client: httpx.AsyncClient, import_id: str) -> dict[str, Any]:
    assert (await client.delete(f"{IMPORTS}/{import_id}")).status_code == 202
    return await wait_for(client, import_id, "undone")


@pytest.mark.usefixtures("taken")
async def test_skip_leaves_out_what_is_in_use(alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    """The links that are there stay; each row names why it was left out, with a code that is free."""
    done = await bring(alice, FILE)
    rows = {row["input"].rpartition("/")[2]: row for row in await refused(alice, done["id"])}

    assert numbers(done) == {"rows_read": 4, "made": 1, "refused": 3}
    assert [await target(alice, code) for code in (OWN, GONE, FREE)] == [f"{URL}old/own", None, f"{URL}new/free"]
    assert await target(bob, OTHERS) == f"{URL}old/others"
    assert {code: row["proposed_code"] for code, row in rows.items()} == {
        code: f"{code}-2" for code in (OWN, OTHERS, GONE)
    }
    assert [rows[code]["row"] for code in (OWN, OTHERS, GONE)] == ["2", "3", "4"]
    assert "deleted" in rows[GONE]["reason"]
    assert "of yours" in rows[OWN]["reason"]
    assert "deleted" not in rows[OTHERS]["reason"]


@pytest.mark.usefixtures("taken")
async def test_keep_both_gives_other_codes(alice: httpx.AsyncClient) -> None:
    """The links that are there keep their codes; the imported ones get those that are proposed, and the list names them."""
    done = await bring(alice, FILE, on_conflict="keep_both")
    rows = await refused(alice, done["id"])

    assert numbers(done) == {"rows_read": 4, "made": 4, "notices": 3}
    assert await target(alice, OWN) == f"{URL}old/own"
    assert [await target(alice, row["proposed_code"]) for row in rows] == [f"{URL}new/{c}" for c in (OWN, OTHERS, GONE)]
    assert numbers(await bring(alice, FILE, on_conflict="keep_both")) == {"rows_read": 4, "found": 4}


@pytest.mark.usefixtures("taken")
async def test_replace_touches_own_links_alone(alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    """An own link gets the fields of the file, is announced, and gets back what it had; another owner's stays."""
    known = await alice.get(f"{LINKS}/{OWN}")
    done = await bring(alice, FILE, on_conflict="replace")
    replaced = await read(alice, OWN)
    undone = await undo(alice, done["id"])
    back = await read(alice, OWN)

    assert numbers(done) == {"rows_read": 4, "made": 1, "replaced": 1, "refused": 2}
    assert (replaced["url"], replaced["version"], replaced["clicks"]) == (f"{URL}new/own", 2, 5)
    assert await target(bob, OTHERS) == f"{URL}old/others"
    same = ("url", "title", "clicks", "created_at")
    assert {name: back[name] for name in same} == {name: known.json()[name] for name in same}
    assert numbers(undone) == numbers(done)


@pytest.mark.usefixtures("taken")
async def test_fail_makes_nothing(alice: httpx.AsyncClient, links: Connection) -> None:
    """The first conflict ends the import before anything is made, and is named."""
    before = await links.fetchval("SELECT count(*) FROM links")
    done = await bring(alice, export({"code": FREE, "url": URL}, {"code": OWN, "url": URL}), on_conflict="fail")

    assert (done["state"], done["made"]) == ("failed", 0)
    assert "Line 3" in done["error"]
    assert await links.fetchval("SELECT count(*) FROM links") == before
    assert (await bring(alice, export({"code": FREE, "url": URL}), on_conflict="fail"))["made"] == 1


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize("on_conflict", ["skip", "keep_both", "replace"])
async def test_dry_run_tells_what_would_become(alice: httpx.AsyncClient, links: Connection, on_conflict: str) -> None:
    """A dry run makes nothing, and its numbers are those of the import that it is turned into."""
    content = FILE + export({"code": FREE, "domain": "go.example.org", "url": URL}).split(b"\n", 1)[1]
    content += export({"code": "docs", "url": URL}, {"code": "js", "url": "javascript:1"}).split(b"\n", 1)[1]
    before = await links.fetch("SELECT * FROM links ORDER BY id")
    tried = await bring(alice, content, dry_run=True, on_conflict=on_conflict)
    listed = await refused(alice, tried["id"])
    untouched = await links.fetch("SELECT * FROM links ORDER BY id") == before
    started = await alice.post(f"{IMPORTS}/{tried['id']}/start")
    done = await wait_for(alice, tried["id"])

    assert untouched, done
    assert done["state"] == "done", done
    assert (tried["dry_run"], started.json()["state"], done["dry_run"]) == (True, "waiting", False)
    assert numbers(done) == numbers(tried)
    assert (done["made"], done["refused"]) == {"skip": (2, 5), "keep_both": (5, 2), "replace": (2, 4)}[on_conflict]
    reasons = {row["input"].partition(" ")[0]: row for row in listed}
    assert reasons["https://sho.rt/docs"]["proposed_code"] == "docs-2"
    assert reasons["https://sho.rt/js"]["proposed_code"] == ""
    assert "url" in reasons["https://sho.rt/js"]["reason"]


async def test_undo_keeps_what_was_edited_or_clicked(
    alice: httpx.AsyncClient, links: Connection, database: Database
) -> None:
    """Undoing deletes what was made, and names and keeps what was edited or clicked since."""
    done = await bring(alice, export(*({"code": code, "url": URL, "clicks": 3} for code in ("a", "b", "c"))))
    await alice.patch(f"{LINKS}/a", json={"title": "mine"})
    await links.execute("UPDATE links SET clicks = clicks + 1, humans = humans + 1 WHERE code = 'b'")
    seen = await changes(database)
    undone = await undo(alice, done["id"])
    kept = {row["input"]: row["reason"] for row in await refused(alice, done["id"])}

    assert (undone["state"], undone["kept"]) == ("undone", 2)
    assert [await target(alice, code) for code in "abc"] == [URL, URL, None]
    assert {place.rpartition("/")[2]: reason.split()[-2] for place, reason in kept.items()} == {
        "a": "edited",
        "b": "clicked",
    }
    assert (await changes(database))[len(seen) :] == ["c"]
    assert await links.fetchval("SELECT clicks + imported_clicks FROM links WHERE code = 'c'") == 0


async def test_only_the_same_import_revives(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, links: Connection
) -> None:
    """A tombstone of an undoing is made the same link by its owner's same import alone: the same id, the same code."""
    content = export({"code": "again", "url": URL, "clicks": 7})
    first = await bring(alice, content)
    link_id = await links.fetchval("SELECT id FROM links WHERE code = 'again'")
    await undo(alice, first["id"])
    others = await bring(bob, content)
    by_hand = await alice.post(LINKS, json={"url": URL, "code": "again"})
    second = await bring(alice, content)
    found = await read(alice, "again")

    assert numbers(others) == {"rows_read": 1, "refused": 1}
    assert by_hand.status_code == 409
    assert numbers(second) == {"rows_read": 1, "made": 1}
    assert (found["url"], found["clicks"]) == (URL, 7)
    assert await links.fetchval("SELECT id FROM links WHERE code = 'again'") == link_id
    assert numbers(await bring(alice, content)) == {"rows_read": 1, "found": 1}
    await undo(alice, second["id"])
    assert await target(alice, "again") is None


async def test_undo_stops_an_import_that_is_under_way(alice: httpx.AsyncClient) -> None:
    """An import that is undone while it runs ends there, and nothing of it stays."""
    rows = ({"code": f"c{n:05}", "url": f"{URL}{n}"} for n in range(20_000))
    sent = await alice.post(IMPORTS, content=export(*rows), headers={"Content-Type": "application/octet-stream"})
    import_id = sent.json()["id"]
    while (await wait_for(alice, import_id, "importing", "done"))["made"] == 0:
        await asyncio.sleep(0.02)
    await undo(alice, import_id)

    assert (await alice.get(LINKS)).json()["items"] == []
    assert (await alice.get(f"{IMPORTS}/{import_id}")).json()["state"] == "undone"


async def test_root_links_need_an_admin(client_with: ClientOf, alice: httpx.AsyncClient, links: Connection) -> None:
    """What a bare domain led to becomes its `root_url` by an admin's key alone, and only if it leads nowhere yet."""
    content = export({"code": "/", "url": URL}, {"code": "x", "url": URL})
    admin = await client_with("root", "admin")
    denied = await bring(alice, content)
    done = await bring(admin, export({"code": "/", "url": URL}))
    again = await bring(admin, export({"code": "/", "url": URL}))
    other = await bring(admin, export({"code": "/", "url": f"{URL}other"}))
    decided = (await admin.get("/api/v1/domains/sho.rt")).json()["root_url"]
    await undo(admin, done["id"])

    assert numbers(denied) == {"rows_read": 2, "made": 1, "refused": 1}
    assert [numbers(each) for each in (done, again, other)] == [
        {"rows_read": 1, "made": 1},
        {"rows_read": 1, "found": 1},
        {"rows_read": 1, "refused": 1},
    ]
    assert decided == URL
    assert (await admin.get("/api/v1/domains/sho.rt")).json()["root_url"] is None


async def test_codes_that_could_be_taken_for_others_are_left_out(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, links: Connection
) -> None:
    """An import gets no code that could be taken for another owner's, in either order, nor a slash that its domain has not."""

    async def made(client: httpx.AsyncClient, *codes: str) -> set[str]:
        """Which of some codes an import gets."""
        done = await bring(client, export(*({"code": code, "url": f"{URL}{code}"} for code in codes)))
        left_out = {row["input"].split(" ")[0].partition("sho.rt/")[2] for row in await refused(client, done["id"])}
        assert (done["state"], done["made"] + done["refused"]) == ("done", len(codes))
        return {*codes} - left_out

    first = await made(bob, "promo.", "plain")
    second = await made(alice, "promo", "promo+", "plain~", "mine.", "a/b")
    await links.execute(
        """
        INSERT INTO domains (domain, multi_segment) VALUES ('sho.rt', true)
        ON CONFLICT (domain) DO UPDATE SET multi_segment = true
        """
    )
    third = await made(alice, "a/b", "plain/x", "docs/x")
    last = await made(bob, "mine", "a", "a.", "b")

    assert (first, second, third, last) == ({"promo.", "plain"}, {"mine."}, {"a/b"}, {"b"})
    assert await made(alice, "mine", "a") == {"mine", "a"}


async def test_files_without_hosts_are_of_where_they_go(alice: httpx.AsyncClient) -> None:
    """Two installations whose files name no host may have the same codes: each has its links, and each is found again."""
    domains = ("sho.rt", "go.example.org")
    dumps = {
        domain: f"INSERT INTO `yourls_url` VALUES ('promo','{URL}{domain}','','2019-05-01 10:22:03','',5);".encode()
        for domain in domains
    }
    first = [await bring(alice, dumps[each], filename="a.sql", domain=each) for each in domains]
    again = [await bring(alice, dumps[each], filename="a.sql", domain=each) for each in domains]
    found = [(await alice.get(f"{LINKS}/promo", params={"domain": each})).json()["url"] for each in domains]

    assert [numbers(each) for each in first] == [{"rows_read": 1, "made": 1}] * 2
    assert [numbers(each) for each in again] == [{"rows_read": 1, "found": 1}] * 2
    assert found == [f"{URL}{each}" for each in domains]
