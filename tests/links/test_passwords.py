"""The password of a link, as its owner sets it: checked, hashed in bounded slots, and never given out again."""

import asyncio
import hashlib
import json
from dataclasses import replace
from typing import Any

import bcrypt
import httpx
import pytest
from pydantic import SecretStr

from services.links.links.batch_rows import Refusal, hash_passwords
from services.links.links.rows import LinkDraft, LinkFields
from services.links.web.errors import TooManyRequests
from services.links.web.hashing import HashGate, check_password_hash, hash_password, matches_password
from shared.api import LONGEST_PASSWORD, MOST_PASSWORDS
from shared.postgres import Connection
from shared.unlocks import password_tag
from tests.links.conftest import fields_at_fault

LINKS = "/api/v1/links"
URL = "https://www.example.com/"


async def test_no_rule_asks_for_the_referrer_beside_a_password(alice: httpx.AsyncClient) -> None:
    """A visitor comes from the form, so such a rule would never hold: it is invalid input, whichever comes first."""
    rules = [{"if": {"device": "mobile"}, "url": URL}, {"if": {"os": "ios", "referrer": "a.example"}, "url": URL}]
    await alice.post(LINKS, json={"url": URL, "code": "asks", "rules": rules})
    await alice.post(LINKS, json={"url": URL, "code": "mine", "password": "x", "rules": rules[:1]})
    batch = await alice.post(f"{LINKS}/batch", json={"links": [{"url": URL, "password": "x", "rules": rules}]})

    for answer in (
        await alice.post(LINKS, json={"url": URL, "password": "x", "rules": rules}),
        await alice.patch(f"{LINKS}/asks", json={"password": "x"}),
        await alice.patch(f"{LINKS}/mine", json={"rules": rules}),
    ):
        assert fields_at_fault(answer) == {"rules.1.if.referrer"}
    assert "rules.1.if.referrer" in batch.text
    assert (await alice.patch(f"{LINKS}/mine", json={"rules": rules, "password": None})).status_code == 200


@pytest.mark.parametrize(
    "password", ["", "x" * (LONGEST_PASSWORD + 1), "secret\n", "se\0cret", 1234567, ["secret"], {}]
)
async def test_wrong_passwords_are_refused_by_name(alice: httpx.AsyncClient, password: object) -> None:
    """A password that nobody could type is invalid input, and the error does not repeat it."""
    made = await alice.post(LINKS, json={"url": URL, "code": "mine"})
    for answer in (
        await alice.post(LINKS, json={"url": URL, "password": password}),
        await alice.patch(f"{LINKS}/mine", json={"password": password}),
    ):
        assert fields_at_fault(answer) == {"password"}
        assert "secret" not in answer.text
        assert "xxx" not in answer.text
    assert made.json()["has_password"] is False


async def test_password_is_set_changed_and_removed(alice: httpx.AsyncClient, links: Connection) -> None:
    """Each change is a new hash and a new version, an edit of something else is none, and null removes it."""
    seen: list[tuple[bool, int, str | None]] = []

    async def look(answer: httpx.Response) -> None:
        stored = await links.fetchval("SELECT password_hash FROM links WHERE code = 'mine'")
        seen.append((answer.json()["has_password"], answer.json()["version"], stored))

    await look(await alice.post(LINKS, json={"url": URL, "code": "mine", "password": "e\u0301"}))
    for change in ({"title": "t"}, {"password": "new"}, {"password": None}, {"password": None}):
        await look(await alice.patch(f"{LINKS}/mine", json=change))
    first, same, new, removed, unchanged = seen

    assert [each[:2] for each in seen] == [(True, 1), (True, 2), (True, 3), (False, 4), (False, 4)]
    assert first[2] == same[2] != new[2]
    assert first[2] is not None
    # Keyboards write one letter in two ways.
    assert matches_password(first[2], "\u00e9")
    assert (removed[2], unchanged[2]) == (None, None)


async def test_browsers_may_not_keep_the_answer(alice: httpx.AsyncClient) -> None:
    """A status or lifetime that a browser would remember is invalid beside a password, whichever comes first."""
    await alice.post(LINKS, json={"url": URL, "code": "kept", "cache_control": 60, "status_code": 301})
    await alice.post(LINKS, json={"url": URL, "code": "mine", "password": "x", "status_code": 307})
    wrong = {"cache_control": 0, "status_code": 308}

    assert fields_at_fault(await alice.post(LINKS, json={"url": URL, "password": "x", **wrong})) == set(wrong)
    assert fields_at_fault(await alice.patch(f"{LINKS}/mine", json=wrong)) == set(wrong)
    assert fields_at_fault(await alice.patch(f"{LINKS}/kept", json={"password": "x"})) == set(wrong)
    assert (await alice.patch(f"{LINKS}/mine", json={**wrong, "password": None})).status_code == 200


async def test_a_link_with_a_password_is_never_found(alice: httpx.AsyncClient) -> None:
    """`find_existing` finds no link with a password, and makes a new one for a password."""
    asked: dict[str, Any] = {"url": URL, "find_existing": True}
    made = [await alice.post(LINKS, json={**asked, "password": "x"}) for _ in range(2)]
    without = [await alice.post(LINKS, json=asked) for _ in range(2)]
    batch = await alice.post(
        f"{LINKS}/batch", json={"links": [{**asked, "password": "x"}, {**asked, "password": "x"}, asked]}
    )

    assert [each.status_code for each in (*made, *without)] == [201, 201, 201, 200]
    assert len({each.json()["code"] for each in (*made, *without)}) == 3
    assert [each["status"] for each in batch.json()["results"]] == [201, 201, 200]


async def test_repeated_requests_keep_no_trace_of_a_password(alice: httpx.AsyncClient, links: Connection) -> None:
    """The same request gets its answer again, one with another password conflicts, and what is stored allows no guessing."""
    key = {"Idempotency-Key": "k"}
    for path, row in ((LINKS, {"url": URL, "code": "one"}), (f"{LINKS}/batch", {"url": URL, "code": "two"})):
        rows = [{**row, "password": password} for password in ("s3cret", "s3cret", "other")]
        bodies = rows if path == LINKS else [{"links": [each]} for each in rows]
        first, again, other = [await alice.post(path, json=body, headers=key) for body in bodies]
        stored = await links.fetchval("DELETE FROM remembered_requests RETURNING request_hash")
        plain = json.dumps(rows[0], sort_keys=True).encode()

        assert (first.text, other.status_code) == (again.text, 422), path
        assert other.json()["type"].endswith("idempotency-conflict")
        guesses = [
            json.dumps(rows[0], separators=(",", ":")).encode(),
            b"batch:" + hashlib.sha256(b"%d:%b" % (len(plain), plain)).digest(),
        ]
        assert stored not in [hashlib.sha256(guess).digest() for guess in guesses]


async def test_a_batch_has_a_bound_on_passwords(alice: httpx.AsyncClient, links: Connection) -> None:
    """Rows beyond the bound are refused by name, and no other row suffers."""
    rows = [{"url": URL, "password": "x"} for _ in range(MOST_PASSWORDS + 1)] + [{"url": URL}]
    answer = (await alice.post(f"{LINKS}/batch", json={"links": rows})).json()
    refused = answer["results"][MOST_PASSWORDS]

    assert refused["problem"]["errors"] == [{"field": "password", "reason": "is in more than 50 rows of this batch"}]
    assert answer["results"][0]["link"]["has_password"] is True
    assert answer["results"][-1]["link"]["has_password"] is False
    assert await links.fetchval("SELECT count(*) FROM links") == answer["created"]


def test_a_batch_hashes_as_long_as_there_is_time() -> None:
    """Each row has a hash of its own; a row for which no time is left is refused, and one without a password is not."""
    draft = LinkDraft("sho.rt", "alice", LinkFields(URL))
    rows = [draft, replace(draft, password=SecretStr("x")), replace(draft, password=SecretStr("x"))]
    hashed, late = hash_passwords(rows, time_s=600), hash_passwords(rows, time_s=0)
    hashes = [row.fields.password_hash for row in hashed if isinstance(row, LinkDraft)]

    assert hashes[0] is None
    assert hashes[1] != hashes[2]
    assert all(matches_password(str(each), "x") for each in hashes[1:])
    assert late[0] is draft
    assert [row.status for row in late if isinstance(row, Refusal)] == [503, 503]


async def test_hashing_has_slots_and_a_queue() -> None:
    """More than the queue holds are refused at once, those that wait too long later, and the event loop goes on meanwhile."""
    gate, hasty = HashGate(1, waiting=1, wait_s=60), HashGate(1, wait_s=0.01)
    async with gate.slot(), hasty.slot():
        waiting = asyncio.create_task(gate.hash("x"))
        await asyncio.sleep(0)
        for full in (gate, hasty):
            with pytest.raises(TooManyRequests):
                await full.hash("x")
    for _ in range(3):
        await asyncio.sleep(0)
    was_done, made = waiting.done(), await waiting
    gate.close()

    assert not was_done
    assert made.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert matches_password(made, "x")
    assert not matches_password(made, "X")
    assert not matches_password("", "x")


async def test_who_has_a_slot_takes_no_other() -> None:
    """Of two slots one stays free while a network has a password in the other and more in the queue."""
    gate = HashGate(2, waiting=1, wait_s=60)

    async def take(whose: bytes) -> None:
        async with gate.slot(whose):
            pass

    async with gate.slot(b"a"):
        waiting = asyncio.create_task(take(b"a"))
        await asyncio.sleep(0)
        for _ in range(3):
            await take(b"b")
        has_waited = not waiting.done()
    await waiting
    gate.close()

    assert has_waited


async def test_view_tells_a_password_and_not_its_hash(alice: httpx.AsyncClient, owner: Connection) -> None:
    """Redirect reads a tag, which is new with each hash and tells neither the hash nor the password."""
    await alice.post(LINKS, json={"url": URL, "code": "mine", "password": "x"})
    stored = await owner.fetchval("SELECT password_hash FROM links")
    row = await owner.fetchrow("SELECT * FROM link_records")

    assert row is not None
    assert (row["password"], row["min_reader"]) == (password_tag(stored), 5)
    assert len(row["password"]) == 16
    assert stored not in map(str, row.values())
    assert password_tag(hash_password("x")) != row["password"]


BCRYPT = {
    # Of bcrypt's own test vectors (Openwall, crypt_blowfish 1.3, wrapper.c).
    "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW": "U*U",
    "$2y$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK": "U*U*",
    "$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a": "U*U*U",
}


def test_hash_of_bcrypt_opens() -> None:
    """A link from elsewhere opens with the password that it had there, of which bcrypt takes 72 bytes."""
    long = 36 * "é"
    hashed = bcrypt.hashpw(long.encode(), bcrypt.gensalt(4)).decode()

    assert {check_password_hash(text): matches_password(text, password) for text, password in BCRYPT.items()} == (
        dict.fromkeys(BCRYPT, True)
    )
    assert not any(matches_password(text, f"{password}!") for text, password in BCRYPT.items())
    assert [matches_password(hashed, text) for text in (long, f"{long}more", long[:-1])] == [True, True, False]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s3cret",
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe",
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n",
        "$2a$13$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2a$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$argon2i$v=19$m=19456,t=2,p=1$mwJf6DeTGofgoMl1F90h5g$SNpxNGGWYH0DmJ7LMgfhb5ap7eG27Bsr1oedx+yyZ7Q",
        "$argon2id$v=16$m=19456,t=2,p=1$mwJf6DeTGofgoMl1F90h5g$SNpxNGGWYH0DmJ7LMgfhb5ap7eG27Bsr1oedx+yyZ7Q",
        "$argon2id$v=19$m=65536,t=1,p=1$mwJf6DeTGofgoMl1F90h5g$SNpxNGGWYH0DmJ7LMgfhb5ap7eG27Bsr1oedx+yyZ7Q",
        "$argon2id$v=19$m=19456,t=99,p=1$mwJf6DeTGofgoMl1F90h5g$SNpxNGGWYH0DmJ7LMgfhb5ap7eG27Bsr1oedx+yyZ7Q",
        "$argon2id$v=19$m=19456,t=2,p=9$mwJf6DeTGofgoMl1F90h5g$SNpxNGGWYH0DmJ7LMgfhb5ap7eG27Bsr1oedx+yyZ7Q",
        "$argon2id$v=19$m=19456,t=2,p=1$mwJf6DeTGofgoMl1F90h5g$aGFzaA",
        "5ebe2294ecd0e0f08eab7690d2a6ee69",
    ],
)
def test_other_hash_is_none(text: str) -> None:
    """A hash that says nothing, that is of another kind, or that costs more than ours, is refused and not repeated."""
    with pytest.raises(ValueError, match=r"^is ") as error:
        check_password_hash(text)
    assert text not in str(error.value) or not text


def test_own_hash_can_be_brought_back() -> None:
    """A hash that this release made is one that an import may bring."""
    made = hash_password("s3cret")

    assert check_password_hash(made) == made
