"""`tinyurl restore`: what comes back, what is refused, and what a kill leaves behind."""

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest
from redis import Redis

from deploy.backup.files import manifest_path
from deploy.backup.programs import with_database
from deploy.local.postgres import OWNER, ROLES, SUPERUSER, Postgres
from deploy.local.valkey import Valkey
from shared.changes import EVERYTHING, insert_change, select_changes
from shared.postgres import UNAVAILABLE, Connection
from shared.records import select_records
from shared.roles import set_password
from tests.backup.conftest import Installation, finish
from tests.conftest import running

LINKS = 3000


async def test_restore_gives_every_link_back(installation: Installation) -> None:
    """Into a database that was emptied: count and checksum are those of the backup, and the keys are there."""
    await installation.add_links(LINKS)
    await installation.execute(
        "INSERT INTO api_keys VALUES ('id', 'hash', 'o', NULL, '{links:read}', now(), NULL, NULL)"
    )
    before = await installation.digest()
    backup = await installation.back_up()
    await installation.execute("TRUNCATE links, api_keys")
    done = await installation.run("restore", str(backup.dump))

    assert (done.code, done.errors) == (0, "")
    assert re.search(rf"^restored {LINKS} links in \d+\.\d s", done.output, re.MULTILINE)
    assert await installation.digest() == before == (LINKS, backup.manifest.links_sha256)
    async with installation.connected() as conn:
        assert await conn.fetchval("SELECT owner FROM api_keys") == "o"


async def test_links_are_not_replaced_unawares(installation: Installation) -> None:
    """A database that holds links is refused; `--replace` replaces it, and what was there stays under another name."""
    await installation.add_links(2)
    backup = await installation.back_up()
    await installation.add_links(1, "later")
    refused = await installation.run("restore", str(backup.dump))
    assert "holds links; --replace" in refused.reason
    assert await installation.databases() == {""}
    assert len(await installation.links()) == 3

    done = await installation.run("restore", str(backup.dump), "--replace")
    assert f"the database as it was is now {installation.names.before}" in done.output
    assert len(await installation.links()) == 2
    assert len(await installation.links(installation.names.before)) == 3

    await installation.execute("DELETE FROM links WHERE code = 'link1'")
    await installation.run("restore", str(backup.dump), "--replace")
    assert len(await installation.links()) == 2
    assert set(await installation.links(installation.names.before)) == {"link2"}


def truncate(dump: Path, other: Path) -> None:
    os.truncate(dump, dump.stat().st_size - 1)


def alter_a_byte(dump: Path, other: Path) -> None:
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(content)


def remove_manifest(dump: Path, other: Path) -> None:
    manifest_path(dump).unlink()


def garble_manifest(dump: Path, other: Path) -> None:
    os.truncate(manifest_path(dump), 20)


def take_manifest_of_another(dump: Path, other: Path) -> None:
    manifest_path(dump).write_bytes(manifest_path(other).read_bytes())


def change_manifest(**values: object) -> Callable[[Path, Path], None]:
    def change(dump: Path, other: Path) -> None:
        manifest = manifest_path(dump)
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | values))

    return change


DAMAGES: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "truncated": (truncate, r"has \d+ bytes, its manifest says \d+"),
    "altered": (alter_a_byte, "was altered"),
    "no manifest": (remove_manifest, "manifest .* cannot be read: No such file"),
    "garbled manifest": (garble_manifest, "is no manifest"),
    "manifest of another": (take_manifest_of_another, "its manifest says|the manifest is of another one"),
    "count": (change_manifest(links=LINKS + 1), "the dump holds 3000 links"),
    "digest": (change_manifest(links_sha256="0" * 64), "the dump holds 3000 links"),
    "other format": (change_manifest(format=2), "is no manifest"),
    "no file": (lambda dump, other: dump.unlink(), "there is no file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_backup_is_refused(installation: Installation, damage: str) -> None:
    """Whatever is wrong with it is said in one line, and the database stays as it was."""
    break_it, reason = DAMAGES[damage]
    await installation.add_links(LINKS)
    backup = await installation.back_up()
    await installation.add_links(10, "more")
    other = await installation.back_up()
    before = await installation.digest()
    break_it(backup.dump, other.dump)
    done = await installation.run("restore", str(backup.dump), "--replace")

    assert re.search(reason, done.reason)
    assert await installation.digest() == before
    assert await installation.databases() == {""}


async def test_lost_numbers_are_not_given_out_again(installation: Installation) -> None:
    """After every restore, also of one dump twice and without the lost database, versions and ids go up."""
    await installation.add_links(5)
    backup = await installation.back_up()
    versions, ids = [], []
    for lost in (False, False, True):
        async with installation.connected() as conn, conn.transaction():
            versions.append(await insert_change(conn, ("sho.rt", "link1")))
            ids.append(
                await conn.fetchval(
                    "INSERT INTO links (domain, code, owner, url) VALUES ('sho.rt', 'x', 'o', 'u') RETURNING id"
                )
            )
        if lost:
            async with installation.connected("postgres") as admin:
                await admin.execute(f"DROP DATABASE {installation.names.current} WITH (FORCE)")
        done = await installation.run("restore", str(backup.dump), "--replace")
        assert done.code == 0, done.errors
        async with installation.connected() as conn:
            (change,) = await select_changes(conn, after=versions[-1], limit=10)
            assert change.key == EVERYTHING
            versions.append(change.version)
            ids.append(await conn.fetchval("SELECT nextval(pg_get_serial_sequence('links', 'id'))"))

    assert versions == sorted(set(versions))
    assert ids == sorted(set(ids))


async def test_wrong_clock_does_not_bring_numbers_back(installation: Installation) -> None:
    """Where a sequence is ahead of the clock already, the restore still moves it up."""
    backup = await installation.back_up()
    async with installation.connected() as conn:
        await conn.execute("SELECT setval(pg_get_serial_sequence('link_changes', 'version'), 900000000000000000)")
    await installation.run("restore", str(backup.dump))
    async with installation.connected() as conn:
        (change,) = await select_changes(conn, after=9 * 10**17, limit=10)

    assert change.key == EVERYTHING


STEPS = ["checking", "restoring", "comparing", "migrating", "exchanging", "the database as it was", "the cache"]


@pytest.mark.parametrize("step", STEPS)
async def test_kill_leaves_one_or_the_other(installation: Installation, step: str) -> None:
    """Killed at any step, the old or the new database is in place, whole; the next restore works."""
    await installation.add_links(LINKS)
    new = await installation.digest()
    backup = await installation.back_up()
    await installation.execute("UPDATE links SET url = url || 'lost'")
    old = await installation.digest()
    process = await installation.start("restore", str(backup.dump), "--replace")
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while not (await process.stdout.readline()).startswith(step.encode()):
            assert not process.stdout.at_eof()
    # The last step may be over by now.
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await finish(process)

    assert await installation.digest() == (new if step in STEPS[-2:] else old) or step == "exchanging"
    assert await installation.digest() in (old, new)
    done = await installation.run("restore", str(backup.dump), "--replace")
    assert (done.code, done.errors) == (0, "")
    assert await installation.digest() == new
    assert await installation.databases() == {"", "_before_restore"}


async def wait_for_row(conn: Connection, statement: str) -> None:
    while not await conn.fetchval(statement):
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_kill_within_the_exchange(installation: Installation, number: signal.Signals) -> None:
    """Killed while the databases are being renamed, the old one is in place and can be used."""
    await installation.add_links(3)
    backup = await installation.back_up()
    await installation.add_links(1, "kept")
    # The superuser's session holds the exchange up, because the owner may not end it.
    async with installation.connected() as conn:
        process = await installation.start("restore", str(backup.dump), "--replace")
        async with asyncio.timeout(60):
            await wait_for_row(conn, "SELECT true FROM pg_stat_activity WHERE query LIKE 'ALTER DATABASE%RENAME%'")
        process.send_signal(number)
        await finish(process)

    assert "kept1" in await installation.links()
    await installation.run("restore", str(backup.dump), "--replace")
    assert "kept1" not in await installation.links()


async def test_session_that_comes_within_the_exchange(installation: Installation) -> None:
    """A service that connects at that moment waits, and is told what means `503`: try again, nothing is wrong with you."""
    backup = await installation.back_up()
    async with installation.connected("postgres") as admin, asyncio.timeout(60):
        async with installation.connected():
            restoring = await installation.start("restore", str(backup.dump))
            await wait_for_row(admin, "SELECT true FROM pg_stat_activity WHERE query LIKE 'ALTER DATABASE%RENAME%'")
            connecting = asyncio.create_task(asyncpg.connect(installation.database.links_url, timeout=30))
            await wait_for_row(
                admin, "SELECT true FROM pg_locks WHERE NOT granted AND classid = 'pg_database'::regclass"
            )
        with pytest.raises(UNAVAILABLE):
            await connecting

    assert (await finish(restoring)).code == 0


async def test_session_that_cannot_be_ended_is_said(installation: Installation) -> None:
    """A superuser who stays connected prevents the exchange; nothing is changed, nothing is left."""
    await installation.add_links(3)
    backup = await installation.back_up()
    async with installation.connected():
        done = await installation.run("restore", str(backup.dump), "--replace")

    assert "someone stays connected" in done.reason
    assert await installation.databases() == {""}


async def test_two_restores_do_not_run_at_once(installation: Installation) -> None:
    """The second one is refused, and does not disturb the first."""
    backup = await installation.back_up()
    async with installation.connected():
        first = await installation.start("restore", str(backup.dump), "--replace")
        assert first.stdout is not None
        async with asyncio.timeout(60):
            while not (await first.stdout.readline()).startswith(b"exchanging"):
                pass
        second = await installation.run("restore", str(backup.dump), "--replace")

    assert "another restore" in second.reason
    assert (await finish(first)).code == 0


async def test_missing_rights_are_said(installation: Installation) -> None:
    """A role that may not create databases, or not end sessions, is told what to grant."""
    backup = await installation.back_up()
    weak = await installation.run("restore", str(backup.dump), OWNER_DATABASE_URL=installation.database.links_url)
    async with installation.connected("postgres") as admin:
        await admin.execute(f"REVOKE pg_signal_backend FROM {OWNER}")
        try:
            deaf = await installation.run("restore", str(backup.dump))
        finally:
            await admin.execute(f"GRANT pg_signal_backend TO {OWNER}")

    assert weak.reason.endswith("ALTER ROLE tinyurl_links CREATEDB")
    assert deaf.reason.endswith("GRANT pg_signal_backend TO tinyurl")


async def test_name_that_would_be_cut_off_is_refused(installation: Installation) -> None:
    """The databases beside it would have the same name: no restore is tried."""
    backup = await installation.back_up()
    for name in ("x" * 49, ""):
        url = with_database(installation.database.owner_url, name)
        done = await installation.run("restore", str(backup.dump), OWNER_DATABASE_URL=url)
        assert "must name a database" in done.reason


async def test_cache_is_emptied(installation: Installation, valkey: Valkey, valkey_url: str) -> None:
    """With REDIS_ADMIN_URL the cache is emptied; a cache that is away does not keep the restore from succeeding."""
    backup = await installation.back_up()
    with Redis.from_url(valkey.admin_url) as redis:
        redis.set("link:1:sho.rt/a", b"old")
        emptied = await installation.run("restore", str(backup.dump), REDIS_ADMIN_URL=valkey.admin_url)
        left = redis.dbsize()
    away = await installation.run("restore", str(backup.dump), REDIS_ADMIN_URL="unix:///nonexistent/redis.sock")

    assert "emptied the cache" in emptied.output
    assert left == 0
    assert away.code == 0
    assert "the cache was not emptied" in away.output


@pytest.fixture
async def new_server(socket_folder: Path) -> AsyncIterator[Postgres]:
    """Another server, which has never seen this project: its superuser only."""
    folder = socket_folder / secrets.token_hex(4)
    folder.mkdir()
    folder.chmod(0o777)
    passwords = {role: secrets.token_urlsafe(16) for role in (SUPERUSER, *ROLES)}
    server = Postgres(folder / "data", folder, passwords, durable=False)
    await asyncio.to_thread(server.init)
    with running(server.program(), folder / "postgres.log"):
        yield server


async def test_restore_on_a_new_server(installation: Installation, new_server: Postgres) -> None:
    """Where neither the database nor the roles exist both are made; the services' roles may do what they did before."""
    await installation.add_links(LINKS)
    backup = await installation.back_up()
    done = await installation.run("restore", str(backup.dump), OWNER_DATABASE_URL=new_server.url(SUPERUSER))
    assert (done.code, done.errors) == (0, "")
    assert "made the role tinyurl_links, which has no password yet" in done.output

    admin = await asyncpg.connect(new_server.url(SUPERUSER))
    for role in ROLES:
        await set_password(admin, role, new_server.passwords[role])
    await admin.close()
    redirect = await asyncpg.connect(new_server.url("tinyurl_redirect"))
    found = await select_records(redirect, [("sho.rt", "link7")])
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await redirect.fetch("SELECT hash FROM api_keys")
    await redirect.close()
    links = await asyncpg.connect(new_server.url("tinyurl_links"))
    async with links.transaction():
        await links.execute("INSERT INTO links (domain, code, owner, url) VALUES ('sho.rt', 'new', 'o', 'u')")
        await insert_change(links, ("sho.rt", "new"))
    await links.close()
    assert found["sho.rt", "link7"].url.startswith("https://www.example.com/7?")
