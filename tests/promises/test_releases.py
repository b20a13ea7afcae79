"""P7, mixed releases: the previous release and this one run side by side on the same stores, as in a deployment."""

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.schema import migrations
from tests.conftest import memory
from tests.promises.mixed_releases import ANSWER_TIMEOUT_S, OVER, SIDES, URL, Deployment, deploying, outcome
from tests.promises.releases import ROOT, THIS, RunnableRelease, check_out_previous

TESTS_TIMEOUT_S = 400
VISIBLE_S = 1.0
SHIPPED_S = 30

BROWSER = (
    "X-Request-ID: 0123456789abcdef0123456789abcdef\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    "Referer: https://news.example.org/today\r\n"
    "Accept-Language: de-AT,de;q=0.9\r\n"
)
PREFETCH = BROWSER + "X-Purpose: prefetch\r\n"


# One worker installs the release before, for all of them.
pytestmark = [pytest.mark.promise, pytest.mark.xdist_group(name="releases")]


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> RunnableRelease:
    """The release before this one."""
    return check_out_previous(tmp_path_factory.mktemp("previous") / "release")


@pytest.fixture
def overlaid(previous: RunnableRelease, tmp_path: Path) -> Iterator[RunnableRelease]:
    """The release before this one, with this one's migrations."""
    folder = tmp_path / "overlaid"
    shutil.copytree(previous.folder, folder, ignore=shutil.ignore_patterns(".venv"))
    for file in (ROOT / "shared" / "migrations").glob("*.sql"):
        shutil.copy(file, folder / "shared" / "migrations")
    # A deployment applies them with the release that brings them, which connects in its own way.
    schema = (ROOT / "shared" / "schema.py").read_text()
    (folder / "shared" / "schema.py").write_text(schema.replace("shared.postgres", "shared.postgres_of_schema"))
    shutil.copy(ROOT / "shared" / "postgres.py", folder / "shared" / "postgres_of_schema.py")
    yield RunnableRelease(folder, previous.python)
    shutil.rmtree(folder)


def run_tests(release: RunnableRelease, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run tests of a release, and those that failed again, alone: a deadline that a busy machine missed holds then."""
    temporary = str(memory() or tempfile.gettempdir())
    done = release.run("pytest", *arguments, timeout_s=TESTS_TIMEOUT_S, TMPDIR=temporary)
    if done.returncode == 1:
        print(done.stdout[-2000:])
        done = release.run(
            "pytest", *arguments, "--last-failed", "-n", "0", timeout_s=TESTS_TIMEOUT_S, TMPDIR=temporary
        )
    return done


@pytest.mark.timeout(2 * TESTS_TIMEOUT_S + 60)
def test_previous_release_reads_a_database_of_this_one(overlaid: RunnableRelease) -> None:
    """The previous release's own tests of reading pass on the schema that this release makes."""
    done = run_tests(overlaid, "tests/redirect", "-n", "2")

    print(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


def test_control_that_contracts_too_early_is_caught(overlaid: RunnableRelease) -> None:
    """The control, a migration that renames a column which the previous release reads, fails those tests."""
    contraction = overlaid.folder / "shared" / "migrations" / "9999_contract.sql"
    contraction.write_text("ALTER VIEW link_records RENAME COLUMN url TO target;")
    done = run_tests(overlaid, "tests/redirect/test_app.py", "-x", "-n", "0")

    assert done.returncode == 1, done.stdout[-4000:]
    assert " 1 failed" in done.stdout


def test_released_migrations_are_never_edited(previous: RunnableRelease) -> None:
    """What the previous release ran is there unchanged, so a database that it made and a new one end up the same."""
    for path in sorted((previous.folder / "shared" / "migrations").glob("*.sql")):
        assert migrations()[int(path.name[:4])] == path.read_text(), path.name


async def test_links_of_both_releases_are_answered_alike(previous: RunnableRelease) -> None:
    """Links of every kind, made by either write service, get the same bytes from both redirectors, through all tiers."""
    async with deploying(previous) as deployment:
        faults = await deployment.compare()

    print(f"{len(deployment.links)} links")
    assert faults == []


async def test_control_that_changes_a_record_in_its_place_is_caught(tmp_path: Path) -> None:
    """The control, a release that orders a record's fields otherwise under the same key, is told from this one.

    The two are of one type: others would be no reading for this one, and read from Postgres instead.
    """
    for folder in ("deploy", "services", "shared"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    records = tmp_path / "shared" / "records.py"
    text = records.read_text()
    for before, after in (
        ("    enabled: bool\n    forward_query: bool\n", "    forward_query: bool\n    enabled: bool\n"),
        ("r.enabled, r.forward_query", "r.forward_query, r.enabled"),
    ):
        assert before in text
        text = text.replace(before, after)
    records.write_text(text)
    async with deploying(RunnableRelease(tmp_path, THIS.python)) as deployment:
        faults = await deployment.compare()

    assert faults


DECIDING: dict[str, tuple[dict[str, object], str, tuple[int, str | None]]] = {
    "path": ({"forward_path": True}, "/x", (302, "https://www.example.com/a/x?own=1#f")),
    "crawlable": ({"crawlable": True}, "", (302, URL)),
    "private": ({"preview": False}, "", (302, URL)),
    "query": (
        {"forward_query": True, "visitor_query_wins": True},
        "?own=2&x=1",
        (302, "https://www.example.com/a?own=2&x=1#f"),
    ),
    # Who names no browser is no visitor.
    "limited": ({"max_clicks": 100}, "", (403, None)),
}
"""What a link decides by, by name: its fields, what follows its code in a visit, and the answer."""


async def test_no_release_passes_over_what_a_link_decides_by(previous: RunnableRelease) -> None:
    """A redirector of the release before answers such a link rightly or with 503, and leaves nothing that misleads this one."""
    faults = []
    async with deploying(previous) as deployment:
        for number, (name, (fields, rest, expected)) in enumerate(DECIDING.items()):
            made = await deployment.clients["new"].post("/links", json={"url": URL, "code": name, **fields})
            assert made.status_code == 201, made.text
            # Either comes first once, reads Postgres and fills Redis.
            for side in (SIDES if number % 2 else SIDES[::-1]) * 2:
                got = await deployment.outcome(side, name + rest)
                if got != expected and (side == "new" or got != (503, None)):
                    faults.append(f"{name}: {side} answers {got}")
        await deployment.cluster.kill("new-redirect")
        await deployment.cluster.start("new-redirect")
        for name, (_, rest, expected) in DECIDING.items():
            got = await deployment.outcome("new", name + rest)
            if got != expected:
                faults.append(f"{name}: new with an empty memory answers {got}")

    assert faults == []


async def test_no_release_leads_a_wide_code_elsewhere(previous: RunnableRelease) -> None:
    """A redirector of the release before knows no such code, or answers 503, and leaves nothing that misleads this one."""
    paths = {
        "mail+": "mail+",
        "%E5%85%B1": "\u5171",
        "caf%C3%A9.": "caf\u00e9",
        "menu/today": "menu/today",
        "abc": "",
        "ABC": "",
    }
    faults = []
    async with deploying(previous) as deployment:
        new, conn = deployment.clients["new"], await deployment.cluster.connect()
        await conn.execute(
            "INSERT INTO domains (domain, multi_segment, has_folding_codes) VALUES ('sho.rt', true, true)"
        )
        for code in filter(None, paths.values()):
            assert (await new.post("/links", json={"url": URL, "code": code})).status_code == 201
        await conn.execute(
            "INSERT INTO links (domain, code, owner, url, folds_case) VALUES ('sho.rt', 'abc', 'o', $1, true)", URL
        )
        await conn.execute("INSERT INTO link_changes (domain, code) VALUES ('sho.rt', '')")
        await conn.close()
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while await deployment.outcome("new", "ABC") != (302, URL):
                await asyncio.sleep(0.01)
        for number, path in enumerate(paths):
            for side in (SIDES if number % 2 else SIDES[::-1]) * 2:
                got = await deployment.outcome(side, path)
                if got != (302, URL) and (side == "new" or got[0] not in (404, 503)):
                    faults.append(f"{path}: {side} answers {got}")

    assert faults == []


async def test_edits_of_either_release_are_seen_by_both(previous: RunnableRelease) -> None:
    """Edits, disabling and deletion by either write service reach both redirectors, which had the link, within a second."""
    async with deploying(previous) as deployment:
        delays: list[float] = []
        async with asyncio.TaskGroup() as tasks:
            for maker in SIDES:
                for editor in SIDES:
                    for number in range(3):
                        code = f"hot-{maker}-{editor}-{number}"
                        tasks.create_task(edit_and_watch(deployment, code, maker, editor, delays))

    print(f"{len(delays)} changes seen, the slowest after {max(delays):.2f} s")
    assert len(delays) == 4 * 3 * 5 * 2
    assert max(delays) < VISIBLE_S


async def test_no_release_lets_in_without_the_password(previous: RunnableRelease) -> None:
    """A redirector that does not know passwords answers 503, through every tier; an edit by its write service keeps them."""
    async with deploying(previous) as deployment:
        new = deployment.clients["new"]
        asked = {"url": URL, "code": "guarded", "password": "s3cret"}
        assert (await new.post("/links", json=asked)).status_code == 201
        seen = [(side, await deployment.outcome(side, "guarded")) for side in (*SIDES, *SIDES)]
        edited = await deployment.clients["old"].patch("/links/guarded", json={"title": "of the other release"})
        assert edited.status_code == 200, edited.text
        seen += [(side, await deployment.outcome(side, "guarded")) for side in (*SIDES[::-1], *SIDES)]
        assert (await new.patch("/links/guarded", json={"password": None})).status_code == 200
        for side in SIDES:
            await watch(deployment, side, "guarded", (302, URL), time.monotonic())

    assert {outcome for side, outcome in seen if side == "new"} == {(401, None)}
    assert {outcome for side, outcome in seen if side == "old"} <= {(401, None), (503, None)}


async def edit_and_watch(deployment: Deployment, code: str, maker: str, editor: str, delays: list[float]) -> None:
    """Create a link, change it again and again, and note how long after the acknowledgement each redirector answers so."""
    created = await deployment.clients[maker].post("/links", json={"url": URL, "code": code})
    assert created.status_code == 201
    client, path = deployment.clients[editor], f"/links/{code}"
    changes: list[tuple[dict[str, Any] | None, tuple[int, str | None]]] = [
        ({}, (302, URL)),
        ({"url": OVER}, (302, OVER)),
        ({"enabled": False}, (410, None)),
        ({"enabled": True, "status_code": 308}, (308, OVER)),
        (None, (410, None)),
    ]
    for fields, expected in changes:
        changed = await (client.delete(path) if fields is None else client.patch(path, json=fields))
        assert changed.status_code in (200, 204), changed.text
        acknowledged_at = time.monotonic()
        delays += await asyncio.gather(*(watch(deployment, side, code, expected, acknowledged_at) for side in SIDES))


async def watch(
    deployment: Deployment, side: str, code: str, expected: tuple[int, str | None], acknowledged_at: float
) -> float:
    """Visit until the answer is what is expected, and a second time, which has to be the same.

    Returns:
        How long after the acknowledgement the last visit with another answer began, seconds.
    """
    delay = 0.0
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        while True:
            started_at = time.monotonic()
            if await deployment.outcome(side, code) == expected:
                break
            delay = started_at - acknowledged_at
            await asyncio.sleep(0.01)
    assert await deployment.outcome(side, code) == expected
    return delay


async def test_rules_are_followed_by_who_knows_them(previous: RunnableRelease) -> None:
    """A redirector that does not know rules answers 503 and follows none of a link's targets; an edit there keeps them."""
    rules = [{"name": "there", "if": {"language": "de"}, "url": OVER}]
    split = [{"name": name, "url": f"{OVER}/{name}"} for name in "ab"]
    fields = {"url": URL, "rules": rules, "split": split}
    async with deploying(previous) as deployment:
        clients = deployment.clients
        is_known = (await clients["old"].post("/links", json=fields)).status_code == 201
        created = await clients["new"].post("/links", json={**fields, "code": "rules"})
        assert created.status_code == 201, created.text
        answers = []
        for _ in range(2):
            for side in SIDES:
                answers += [outcome(await deployment.visit(side, "rules", headers=BROWSER)) for _ in range(2)]
            edited = await clients["old"].patch("/links/rules", json={"title": f"edited {len(answers)}"})
            assert edited.status_code == 200, edited.text
        kept = (await clients["new"].get("/links/rules")).json()
        conn = await deployment.cluster.connect()
        async with asyncio.timeout(SHIPPED_S):
            while not (variants := await conn.fetch("SELECT variant, count(*) FROM clicks GROUP BY 1")):
                await asyncio.sleep(0.05)
        await conn.close()

    there, nowhere = (302, OVER), (503, None)
    assert answers == 2 * [*2 * [there if is_known else nowhere], *2 * [there]]
    assert (kept["rules"], kept["split"]) == (created.json()["rules"], created.json()["split"])
    # The new redirector's clicks go to the old write service, which may not know variants.
    assert {row["variant"] for row in variants} == ({"there"} if is_known else {None})


async def test_clicks_of_either_release_are_read_by_the_other(previous: RunnableRelease) -> None:
    """The clicks of each redirector, which the other release's write service takes, are stored alike and in full."""
    visits = 5 * [BROWSER] + 2 * [PREFETCH] + [""]
    # A release from before prefetches were told apart counts them as visits.
    ahead = 2 if "purpose" in (previous.folder / "shared" / "clicks.py").read_text() else 0
    async with deploying(previous) as deployment:
        for side in SIDES:
            created = await deployment.clients[side].post("/links", json={"url": URL, "code": f"clicked-{side}"})
            assert created.status_code == 201
            for headers in visits:
                assert await deployment.visit(side, f"clicked-{side}", headers=headers)
        conn = await deployment.cluster.connect()
        async with asyncio.timeout(SHIPPED_S):
            while await conn.fetchval("SELECT count(*) FROM clicks") < len(SIDES) * len(visits):
                await asyncio.sleep(0.05)
        rows = await conn.fetch(
            """
            SELECT links.code, is_bot, browser, os, device, referrer, language, count(*) FROM clicks
            JOIN links ON links.id = link_id GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 8
            """
        )
        visitors = await conn.fetch("SELECT count(DISTINCT visitor) FROM clicks GROUP BY link_id")
        refused = await conn.fetchval("SELECT sum(refused) FROM click_segments")
        await conn.close()

    firefox = ("Firefox", "Linux", "desktop", "example.org", "de")
    for side in SIDES:
        stored = {tuple(row)[1:-1]: row["count"] for row in rows if row["code"] == f"clicked-{side}"}
        expected = {(True, *["unknown"] * 5): 1, (True, *firefox): ahead, (False, *firefox): 7 - ahead}
        assert stored == {kind: count for kind, count in expected.items() if count}
    assert [row["count"] for row in visitors] == [2, 2]
    assert refused == 0


async def test_api_of_both_releases_is_one(previous: RunnableRelease) -> None:
    """A link reads alike at both, a list goes on at the other, and a request repeated at the other is done once."""
    async with deploying(previous) as deployment:
        for code in deployment.links:
            old, new = [(await client.get(f"/links/{code}")).json() for client in deployment.clients.values()]
            assert old.items() <= new.items()
        for maker, other in (SIDES, SIDES[::-1]):
            one, two = deployment.clients[maker], deployment.clients[other]
            page = (await one.get("/links", params={"limit": 7})).json()
            rest = [
                (await client.get("/links", params={"limit": 7, "cursor": page["next_cursor"]})).json()["items"]
                for client in (one, two)
            ]
            assert [link["code"] for link in rest[0]] == [link["code"] for link in rest[1]]
            assert len(rest[0]) == 7
            headers = {"Idempotency-Key": f"{maker}-once"}
            body = {"url": URL, "tags": ["a"], "expires_at": "2099-01-01T00:00:00Z"}
            answers = [await client.post("/links", json=body, headers=headers) for client in (one, two)]
            assert [answer.status_code for answer in answers] == [201, 201]
            assert answers[0].json()["code"] == answers[1].json()["code"]
