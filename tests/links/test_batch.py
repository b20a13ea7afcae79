"""Batches: each row has the result of a single creation, all are stored or none, and no body hurts the service."""

import asyncio
import json
import os
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from services.links.links.batch import LARGEST_BATCH, UPLOADS_AT_ONCE, BatchGate
from services.links.web.aside import NICENESS
from services.links.web.bodies import LARGEST_BODY
from services.links.web.errors import Busy
from services.links.web.shares import Shares, open_shares
from shared.api import MOST_ROWS
from shared.postgres import Connection
from shared.settings import LinksSettings
from tests.bench.measure import children
from tests.conftest import Database
from tests.links.conftest import ClientOf, fields_at_fault
from tests.links.test_links import changes

LINKS = "/api/v1/links"
BATCH = f"{LINKS}/batch"
URL = "https://www.example.com/"
JSON = {"Content-Type": "application/json"}


async def send(client: httpx.AsyncClient, *rows: object, **headers: str) -> dict[str, Any]:
    """Send a batch; its answer."""
    response = await client.post(BATCH, json={"links": rows}, headers=headers, timeout=30)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    answer: dict[str, Any] = response.json()
    results = answer["results"]
    assert [result["index"] for result in results] == list(range(len(rows)))
    counts = {"created": 201, "found": 200}
    assert {name: answer[name] for name in counts} == {
        name: sum(result["status"] == status for result in results) for name, status in counts.items()
    }
    assert answer["failed"] == sum("problem" in result for result in results)
    return answer


def statuses(answer: dict[str, Any]) -> list[int]:
    return [result["status"] for result in answer["results"]]


async def count(database: Database) -> int:
    conn = await asyncpg.connect(database.owner_url)
    try:
        links: int = await conn.fetchval("SELECT count(*) FROM links")
        return links
    finally:
        await conn.close()


async def test_each_row_has_its_result(alice: httpx.AsyncClient, database: Database) -> None:
    """Rows are stored, found or refused one by one; each result is what the single creation would have answered."""
    await alice.post(LINKS, json={"url": URL, "code": "taken"})
    rows: list[Any] = [
        {"url": URL, "code": "mine", "title": "t", "tags": ["a"], "expires_at": "2031-01-01T00:00:00Z"},
        {"url": "ftp://example.com/", "status_code": 303},
        {"url": URL + "ä"},
        {"url": URL, "code": "taken"},
        {"url": URL, "domain": "other.example"},
        {"url": URL, "code": "api"},
        {"url": URL, "nonsense": 1},
        {},
        "https://example.com/",
        None,
        {"url": URL, "code": "mine", "domain": "GO.example.org"},
        {"url": URL, "valid_from": "2031-01-01T00:00:00Z", "expires_at": "2030-01-01T00:00:00Z"},
        json.loads("[" * 300 + "]" * 300),
    ]
    answer = await send(alice, *rows)
    results = answer["results"]

    assert statuses(answer) == [201, 422, 201, 409, 422, 422, 422, 422, 422, 422, 201, 422, 422]
    faults = [{each["field"] for each in result.get("problem", {}).get("errors", [])} for result in results]
    assert faults[1] == {"status_code"}
    assert faults[3:] == [
        set(),
        {"domain"},
        {"code"},
        {"nonsense"},
        {"url"},
        {"body"},
        {"body"},
        set(),
        {"valid_from"},
        {"body"},
    ]
    assert results[3]["problem"]["type"] == "urn:tinyurl:problem:code-taken"
    for n in (0, 2, 10):
        link = results[n]["link"]
        assert (await alice.get(f"{LINKS}/{link['code']}", params={"domain": link["domain"]})).json() == link
    assert await count(database) == 4
    for row, result in zip(rows, results, strict=True):
        if "problem" in result:
            assert (await alice.post(LINKS, content=json.dumps(row), headers=JSON)).json() == result["problem"]


async def test_wide_row_has_a_short_result(alice: httpx.AsyncClient) -> None:
    """A row with thousands of entries is refused as a whole, as the single creation is."""
    rows: list[dict[str, object]] = [
        {"url": URL, "tags": [""] * 50_000},
        {str(n): 1 for n in range(20_000)},
        {"url": URL, "tags": [str(n) for n in range(21)]},
    ]
    answer = await send(alice, *rows)

    assert statuses(answer) == [422, 422, 422]
    assert len(json.dumps(answer)) < 2000
    for row, result in zip(rows, answer["results"], strict=True):
        assert (await alice.post(LINKS, json=row)).json() == result["problem"]


async def test_first_of_one_code_wins(alice: httpx.AsyncClient, database: Database) -> None:
    """Of two rows with one code the first gets it, on each domain; the codes that were chosen are announced."""
    answer = await send(
        alice,
        {"url": URL + "1", "code": "same"},
        {"url": URL + "2", "code": "same"},
        {"url": URL + "3", "code": "same", "domain": "go.example.org"},
        {"url": URL + "4"},
        {"url": URL + "5", "code": "Same"},
    )

    assert statuses(answer) == [201, 409, 201, 201, 201]
    assert (await alice.get(f"{LINKS}/same")).json()["url"] == URL + "1"
    assert sorted(await changes(database)) == ["Same", "same", "same"]


async def test_find_existing_works_per_row(alice: httpx.AsyncClient, client_with: ClientOf) -> None:
    """A row that looks for a link finds the caller's, from before or from a row above it, as single creations would."""
    bob = await client_with("bob")
    await bob.post(LINKS, json={"url": URL + "old"})
    old = (await alice.post(LINKS, json={"url": URL + "old", "tags": ["x"]})).json()
    find = {"find_existing": True}
    answer = await send(
        alice,
        {"url": URL + "old", "tags": ["x"], **find},
        {"url": URL + "old", **find},
        {"url": URL + "new", **find},
        {"url": URL + "new", **find},
        {"url": URL + "new"},
        {"url": URL + "new", "code": "own", **find},
        {"url": URL + "new", "code": "own", **find},
        {"url": URL + "new", "code": "own", "title": "other", **find},
        {"url": URL + "old", "tags": ["x"], "code": old["code"], **find},
        {"url": URL + "old", "tags": ["x"], "code": old["code"]},
        {"url": URL + "late", "code": "late"},
        {"url": URL + "late", **find},
        {"url": "ftp://x/", **find},
    )
    links = [result.get("link") for result in answer["results"]]

    assert statuses(answer) == [200, 201, 201, 200, 201, 201, 200, 409, 200, 409, 201, 200, 422]
    assert links[0] == links[8] == old
    assert links[1]["owner"] == "alice"
    assert links[3] == links[2] != links[4]
    assert links[6] == links[5]
    assert links[11] == links[10]


async def test_tags_are_a_set(alice: httpx.AsyncClient) -> None:
    """Their order and repetitions make no other link, for a search in the table, above in the batch, or by its code."""
    single = {"url": URL, "tags": ["a", "b"], "code": "s"}
    await alice.post(LINKS, json=single)
    find: dict[str, object] = {"find_existing": True, "tags": ["b", "a", "b"]}
    answer = await send(
        alice,
        {"url": URL, **find},
        {"url": URL, **find, "code": "s"},
        {"url": URL + "new", "tags": ["x", "y", "z"]},
        {"url": URL + "new", "tags": ["z", "x", "y", "x"], "find_existing": True},
        {"url": URL + "own", "tags": ["x", "y"], "code": "own"},
        {"url": URL + "own", "tags": ["y", "x"], "code": "own", "find_existing": True},
        {"url": URL + "own", "tags": ["y"], "code": "own", "find_existing": True},
        {"url": URL, "tags": ["a"], "find_existing": True},
        {"url": URL, "tags": ["a", "b", "c"], "find_existing": True},
        {"url": URL, "tags": [], "find_existing": True},
    )

    assert statuses(answer) == [200, 200, 201, 200, 201, 200, 409, 201, 201, 201]
    assert answer["results"][0]["link"]["code"] == "s"
    assert answer["results"][3]["link"] == answer["results"][2]["link"]
    for row, status in (
        ({"url": URL, **find}, 200),
        ({"url": URL, **find, "code": "s"}, 200),
        ({"url": URL + "own", **find}, 201),
    ):
        assert (await alice.post(LINKS, json=row)).status_code == status


async def test_batches_and_creations_at_once_make_one_link(alice: httpx.AsyncClient) -> None:
    """Searches of batches and of single creations wait for each other: each link that is looked for is made once."""
    rows = [{"url": f"{URL}{n}", "find_existing": True} for n in range(20)]
    racing = [alice.post(BATCH, json={"links": rows}) for _ in range(4)]
    racing += [alice.post(LINKS, json=row) for row in rows for _ in range(2)]
    responses = await asyncio.gather(*racing)

    assert {response.status_code for response in responses} <= {200, 201}
    assert len((await alice.get(LINKS, params={"limit": 100})).json()["items"]) == 20


async def test_whole_size(alice: httpx.AsyncClient, database: Database) -> None:
    """10,000 rows are stored by one request, those with codes of their own and those without."""
    rows = [{"url": f"{URL}{n}", **({"code": f"own-{n}"} if n % 2 else {})} for n in range(MOST_ROWS)]
    answer = await send(alice, *rows)

    assert answer["created"] == MOST_ROWS == await count(database)
    assert all(result["link"]["url"] == row["url"] for result, row in zip(answer["results"], rows, strict=True))
    assert len(await changes(database)) == MOST_ROWS // 2


async def test_nothing_is_stored_if_the_transaction_fails(alice: httpx.AsyncClient, database: Database) -> None:
    """All or none: what fails at the very end takes all rows with it, and the batch can be sent again."""
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute("REVOKE INSERT ON link_changes FROM tinyurl_links")
    body = {"links": [{"url": URL}, {"url": URL, "code": "mine"}]}
    failed = await alice.post(BATCH, json=body, headers={"Idempotency-Key": "k"})
    await conn.execute("GRANT INSERT ON link_changes TO tinyurl_links")
    await conn.close()

    assert failed.status_code == 500
    assert await count(database) == 0
    assert statuses(await send(alice, *body["links"], **{"Idempotency-Key": "k"})) == [201, 201]


async def test_repeated_batch_gets_the_same_answer(alice: httpx.AsyncClient, database: Database) -> None:
    """With a key a batch is done once, and answered alike, byte by byte, also after an edit and with its failures."""
    rows: list[dict[str, object]] = [{"url": URL, "code": "mine"}, {"url": "ftp://x/"}, {"url": URL}]
    headers = {"Idempotency-Key": "one"}
    first = await alice.post(BATCH, json={"links": rows}, headers=headers)
    await alice.patch(f"{LINKS}/mine", json={"title": "edited"})
    spelled = json.dumps({"links": [dict(reversed(row.items())) for row in rows]}, indent=2)
    again = await alice.post(BATCH, content=spelled, headers={**headers, **JSON})
    other = await alice.post(BATCH, json={"links": rows[:2]}, headers=headers)
    single = await alice.post(LINKS, json=rows[0], headers=headers)

    assert statuses(first.json()) == [201, 422, 201]
    assert again.content == first.content
    assert await count(database) == 2
    for refused in (other, single):
        assert (refused.status_code, refused.json()["type"]) == (422, "urn:tinyurl:problem:idempotency-conflict")
    assert fields_at_fault(await alice.post(BATCH, json={"links": []}, headers={"Idempotency-Key": "a b"})) == {
        "Idempotency-Key"
    }


async def test_repeats_at_once_are_done_once(alice: httpx.AsyncClient, database: Database) -> None:
    """Many of one batch at once create its links once."""
    rows = [{"url": f"{URL}{n}"} for n in range(50)]

    async def send() -> httpx.Response:
        """Send the batch as a client does: again if it waited too long for its turn."""
        async with asyncio.timeout(60):
            while True:
                answer = await alice.post(BATCH, json={"links": rows}, headers=headers)
                if answer.status_code not in (429, 503):
                    return answer

    headers = {"Idempotency-Key": "k"}
    responses = await asyncio.gather(*(send() for _ in range(6)))

    assert len({response.content for response in responses}) == 1
    assert await count(database) == 50


async def test_scope_is_that_of_writing(client_with: ClientOf) -> None:
    """Who may not write is refused before the body is read, however large that is."""
    reader = await client_with("r", "links:read", "stats:read")
    for headers, status in (({}, 403), ({"Authorization": "Bearer x"}, 401)):
        response = await reader.post(BATCH, content=b"x" * (LARGEST_BATCH + 1), headers={**JSON, **headers})
        assert response.status_code == status


ENVELOPES: dict[str, tuple[object, str]] = {
    "list": ([], "body"),
    "text": ("links", "body"),
    "null": (None, "body"),
    "nothing": ({}, "links"),
    "other field": ({"links": [], "owner": "bob"}, "owner"),
    "no list": ({"links": {"url": URL}}, "links"),
    "null list": ({"links": None}, "links"),
    "too many": ({"links": [{}] * (MOST_ROWS + 1)}, "links"),
}


@pytest.mark.parametrize(("body", "field"), ENVELOPES.values(), ids=ENVELOPES)
async def test_bad_envelope_is_named(alice: httpx.AsyncClient, body: object, field: str) -> None:
    """What is no list of at most 10,000 links is refused as a whole."""
    assert fields_at_fault(await alice.post(BATCH, content=json.dumps(body), headers=JSON)) == {field}


async def test_body_is_read_as_strictly_as_a_single_one(alice: httpx.AsyncClient) -> None:
    """The type has to be JSON's, and what parsers read differently is no JSON."""
    body = b'{"links": [{"url": "https://example.com/", "url": "https://evil.example/"}]}'

    assert (await alice.post(BATCH, content=b"{}", headers={"Content-Type": "text/plain"})).status_code == 415
    for content in (body, b"", b'{"links": [NaN]}', b'{"links": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"\xff"):
        response = await alice.post(BATCH, content=content, headers=JSON)
        assert (response.status_code, response.json()["type"]) == (400, "urn:tinyurl:problem:malformed-json")
    assert statuses(await send(alice)) == []


async def test_large_bodies_are_refused(alice: httpx.AsyncClient) -> None:
    """A batch has 8 MiB, told or not; a row of it has what a single creation has."""

    async def untold() -> Any:
        # Not without an end: the client reads no answer before it has sent everything.
        for _ in range(LARGEST_BATCH // 65536 + 1):
            yield b" " * 65536

    for content in (b" " * (LARGEST_BATCH + 1), untold()):
        response = await alice.post(BATCH, content=content, headers=JSON)
        assert (response.status_code, response.json()["type"]) == (413, "urn:tinyurl:problem:body-too-large")
    large = {"url": URL, "title": "x" * LARGEST_BODY}  # Of a row, without its name and the quotes.
    answer = await send(alice, large, {"url": URL + "x" * 7000})
    assert statuses(answer) == [413, 201]
    assert answer["results"][0]["problem"]["type"] == "urn:tinyurl:problem:body-too-large"


HOSTILE = {
    "empty objects": b'{"links": [' + b",".join([b"{}"] * 2_700_000) + b"]}",
    "empty lists": b'{"links": [' + b",".join([b"[]"] * 2_700_000) + b"]}",
    "many fields": b'{"links": [{' + b",".join(b'"%d":1' % n for n in range(700_000)) + b"}]}",
    "many fields beside": b"{" + b",".join(b'"%d":1' % n for n in range(700_000)) + b"}",
    "last field twice": b'{"links": [{' + b",".join(b'"%d":1' % n for n in range(700_000)) + b',"699999":1}]}',
    "bad tags": b'{"links": [{"url": "x", "tags": [' + b",".join([b'""'] * 2_000_000) + b"]}]}",
    "rows of bad tags": b'{"links": ['
    + b",".join([b'{"url": "x", "tags": [' + b",".join([b"1"] * 370) + b"]}"] * 10_000)
    + b"]}",
    "large rows of bad tags": b'{"links": ['
    + b",".join([b'{"url": "x", "tags": [' + b",".join([b"1"] * 120_000) + b"]}"] * 34)
    + b"]}",
    "one long text": b'{"links": ["' + b"x" * 8_000_000 + b'"]}',
    "one long name": b'{"links": [{"' + b"x" * 8_000_000 + b'": 1}]}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_body_is_bounded(alice: httpx.AsyncClient, body: bytes) -> None:
    """The worst bodies are answered, never with 500, in a few times their own size at most."""
    assert len(body) <= LARGEST_BATCH
    response = await alice.post(BATCH, content=body, headers=JSON, timeout=120)

    assert response.status_code in (200, 400, 422)
    assert len(response.content) < 4 * LARGEST_BATCH


LOWEST_PRIORITY = 19
"""Of any process; the tests themselves may have a lower one than usual."""


async def test_everyone_is_served_while_a_batch_is_worked_on(
    alice: httpx.AsyncClient, client_with: ClientOf, database: Database
) -> None:
    """All work on a batch is done by a process beside the service, at a lower priority: if it stands, nothing else does."""
    bob = await client_with("bob")
    await send(alice, {"url": URL})
    process = batch_process()
    os.kill(process, signal.SIGSTOP)
    sending = asyncio.create_task(send(alice, *({"url": f"{URL}{n}"} for n in range(100))))
    try:
        for client in (alice, bob):
            assert (await client.post(LINKS, json={"url": URL})).status_code == 201
            assert (await client.get(LINKS)).status_code == 200
        assert await count(database) == 3
        assert not sending.done()
    finally:
        os.kill(process, signal.SIGCONT)

    assert statuses(await sending) == [201] * 100
    assert os.getpriority(os.PRIO_PROCESS, process) == min(
        os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, LOWEST_PRIORITY
    )


async def test_batch_whose_process_is_killed_can_be_sent_again(
    alice: httpx.AsyncClient, database: Database, owner: Connection
) -> None:
    """A batch that dies with its process is 503 and leaves nothing; the next one has a new process."""
    transaction = owner.transaction()
    await transaction.start()
    await owner.execute(
        "INSERT INTO links (domain, code, owner, url) VALUES ('sho.rt', 'held', 'bob', 'https://b.example/')"
    )
    rows = [{"url": URL, "code": "aaa"}, {"url": URL, "code": "held"}]
    sending = asyncio.create_task(alice.post(BATCH, json={"links": rows}, timeout=60))
    watcher = await asyncpg.connect(database.owner_url)
    async with asyncio.timeout(60):
        while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
    await watcher.close()
    first = batch_process()
    os.kill(first, signal.SIGKILL)
    answer = await sending
    await transaction.rollback()

    assert (answer.status_code, answer.json()["type"]) == (503, "urn:tinyurl:problem:unavailable")
    assert statuses(await send(alice, *rows)) == [201, 201]
    assert batch_process() != first


def batch_process() -> int:
    """The process that works on batches; the service is this one."""
    (pid,) = [pid for pid in children(os.getpid()) if b"batch:open_store" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return pid


@pytest.mark.parametrize("shares", [open_shares(10, wait_s=0.05)], ids=["impatient"])
@pytest.mark.parametrize("body_timeout_s", [3.0])
async def test_uploads_at_once_are_bounded(
    shares: Shares, body_timeout_s: float, service: Path, alice: httpx.AsyncClient, client_with: ClientOf
) -> None:
    """Of an owner's batches that are sent slowly two are let in, the others told so; nothing else of anyone is turned away."""
    bob = await client_with("bob")
    head = (
        f"POST {BATCH} HTTP/1.1\r\nHost: sho.rt\r\nAuthorization: {alice.headers['authorization']}\r\n"
        'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"links": ['
    )

    async def send_slowly() -> int:
        reader, writer = await asyncio.open_unix_connection(str(service))
        writer.write(head.encode())
        status = int((await reader.readline()).split()[1])
        writer.close()
        return status

    sending = [asyncio.create_task(send_slowly()) for _ in range(UPLOADS_AT_ONCE + 3)]
    assert (await alice.post(LINKS, json={"url": URL})).status_code == 201
    assert statuses(await send(bob, {"url": URL})) == [201]
    answers = await asyncio.gather(*sending)

    assert sorted(answers) == [408] * 2 + [429] * (UPLOADS_AT_ONCE + 1)
    assert statuses(await send(alice, {"url": URL})) == [201]


async def test_turn_is_waited_for_and_given_back(links_settings: LinksSettings) -> None:
    """One batch is worked on at a time; who waits too long is told so, and a failure gives the turn back."""
    gate = BatchGate(links_settings, wait_s=0.05)
    async with gate.turn(nullcontext()):
        with pytest.raises(Busy):
            await gate.turn(nullcontext()).__aenter__()
    with pytest.raises(ZeroDivisionError):
        await fail(gate)

    async with gate.turn(nullcontext()):
        pass


async def fail(gate: BatchGate) -> None:
    async with gate.turn(nullcontext()):
        raise ZeroDivisionError
